"""Implement `search.py export`, which writes a trained network as files that run without this program."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from search.cli import values
from search.cli.arguments import add_study, location_of
from search.config import FORMATS, DataConfig, data_directory

HELP = "export a trained network as files that run without this program"
EXAMPLE = "export reference --format onnx,c --out winner"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument(
        "--trial", type=values.whole_number, metavar="N", help="number of a finished trial (default: the winner)"
    )
    selection.add_argument("--budget", type=values.count, metavar="N", help="best network with at most N parameters")
    selection.add_argument("--network", metavar="ID", help="id of a hand-designed network that the study trained")
    parser.add_argument(
        "--out", metavar="DIR", help="folder to write (default: winner/ or trial-N/ in the folder of the study)"
    )
    parser.add_argument(
        "--format",
        type=values.formats,
        action="extend",
        default=[],
        metavar="F,F,...",
        help=f"formats to write beside model.py and weights.pt: {', '.join(FORMATS[1:])}, or all",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing export in that folder")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of the data sets, or new location of a folder of images"
    )
    add_study(parser)


def run(args: Namespace) -> int:
    """Export a network of a study to a folder, and print where it is."""
    from search.evidence.repeats import read_results
    from search.export.request import ExportRequest, export_baseline, export_from_search, exported_line
    from search.report.summary import summary_of
    from search.study.attributes import SETTINGS
    from search.study.load import config_of, is_there, kind_of, load_existing
    from search.study.read_only import readable
    from search.study.trials import read_trials

    target = Path(args.out) if args.out else None
    request = ExportRequest(args.trial, args.budget, args.network, args.format, args.force, target)
    with readable(location_of(args.study, args.storage)) as location:
        if args.budget is not None and not is_there(location):
            frontier_location = replace(location, name=f"{location.name}-{args.budget}")
            location = frontier_location if is_there(frontier_location) else location
        study = load_existing(location)
        trials = study.get_trials(deepcopy=False)
        if kind_of(location) == "baselines":
            data = DataConfig(study.user_attrs[SETTINGS]["dataset"], data_directory(args.data_dir))
            source, target = export_baseline(request, read_results(trials), data, location)
        else:
            config, records = config_of(study, args.data_dir), read_trials(trials)
            source, target = export_from_search(
                request, summary_of(study, config, location, records), records, location
            )
        print(exported_line(source, target))
    return 0
