"""Implement `search.py report`, which writes the reports of a study again from its database."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from search.cli.arguments import add_study, existing_study

if TYPE_CHECKING:
    from search.study.location import StudyLocation

HELP = "write and print the report of a study again from its database"
EXAMPLE = "report reference"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    add_study(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the figures as JSON, with the keys of card.json, and write no file (default: print the report)",
    )


def run(args: Namespace) -> int:
    """Write the report of a search or of the hand-designed networks, without changing the database."""
    location = existing_study(args.study, args.storage)

    from search.cli.baselines import report_baselines
    from search.cli.conclude import write_reports
    from search.study.load import config_of, kind_of, load_existing
    from search.study.location import hold_folder
    from search.study.read_only import is_writable, readable

    with readable(location) as location:
        if args.json:
            print(json.dumps(_figures(location), indent=1))
            return 0
        if kind_of(location) == "baselines":
            return report_baselines(location)
        study = load_existing(location)
        with hold_folder(location) if is_writable(location.folder) else nullcontext():
            write_reports(study, config_of(study), location, with_export=False)
    return 0


def _figures(location: StudyLocation) -> dict[str, Any]:
    """Return the figures of a study in JSON types."""
    from search.cli.baselines import baselines_figures
    from search.cli.figures import study_figures_json
    from search.report.summary import summary_of
    from search.study.load import config_of, kind_of, load_existing
    from search.study.trials import read_trials

    if kind_of(location) == "baselines":
        return baselines_figures(location)
    study = load_existing(location)
    records = read_trials(study.get_trials(deepcopy=False))
    return study_figures_json(summary_of(study, config_of(study), location, records), location)
