"""Implement `search.py report`, which writes the reports of a study again from its database."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import nullcontext

from search.cli.arguments import add_study, location_of

HELP = "write and print the report of a study again from its database"
EXAMPLE = "report reference"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    add_study(parser)


def run(args: Namespace) -> int:
    """Write the report of a search or of the hand-designed networks, without changing the database."""
    from search.cli.baselines import report_baselines
    from search.cli.conclude import write_reports
    from search.study.load import config_of, kind_of, load_existing
    from search.study.location import hold_folder
    from search.study.read_only import is_writable, readable

    with readable(location_of(args.study, args.storage)) as location:
        if kind_of(location) == "baselines":
            return report_baselines(location)
        study = load_existing(location)
        with hold_folder(location) if is_writable(location.folder) else nullcontext():
            write_reports(study, config_of(study), location, with_export=False)
    return 0
