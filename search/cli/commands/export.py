"""Implement `search.py export`, which writes a trained network as files that run without this program."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from search.cli import values
from search.cli.arguments import add_data_dir, add_study, existing_study
from search.config import FORMATS, DataConfig
from search.errors import InputError

if TYPE_CHECKING:
    from search.study.location import StudyLocation

HELP = "export a trained network as files that run without this program"
EXAMPLE = "export reference --format onnx,c --out winner"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument(
        "--trial", type=values.whole_number, metavar="N", help="number of a finished trial (default: the winner)"
    )
    selection.add_argument(
        "--budget", type=values.count, metavar="N", help="best network with at most N parameters (default: the winner)"
    )
    selection.add_argument(
        "--network", metavar="ID", help="id of a hand-designed network that the study trained (default: the winner)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder to write (default: winner/ or trial-N/ in the folder of the study)"
    )
    parser.add_argument(
        "--format",
        type=values.formats,
        action="extend",
        default=[],
        metavar="F,F,...",
        help=f"formats to write beside model.py and weights.pt: {', '.join(FORMATS[1:])}, or all (default: none)",
    )
    parser.add_argument(
        "--onnx-batch",
        type=values.batch,
        metavar="N",
        help="number of images that the files of formats onnx and onnx-int8 take at once (default: any number)",
    )
    parser.add_argument(
        "--prefix",
        type=values.prefix,
        metavar="NAME",
        help="beginning of the names of files, functions and, in capitals, macros of format c (default: model)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace an existing export in that folder (default: keep it)"
    )
    add_data_dir(parser)
    add_study(parser)


def run(args: Namespace) -> int:
    """Export a network of a study to a folder, and print where it is."""
    if args.onnx_batch is not None and not {"onnx", "onnx-int8"} & set(args.format):
        raise InputError(f"--onnx-batch {args.onnx_batch} needs format onnx or onnx-int8; add --format onnx")
    if args.prefix is not None and "c" not in args.format:
        raise InputError(f"--prefix {args.prefix} needs format c; add --format c")
    study_location = _location(args)

    from search.evidence.repeats import read_results
    from search.export.formats.format import DEFAULT_OPTIONS, FormatOptions
    from search.export.request import ExportRequest, export_baseline, export_from_search, exported_line
    from search.report.summary import summary_of
    from search.study.attributes import SETTINGS
    from search.study.load import config_of, kind_of, load_existing, locate_data
    from search.study.read_only import readable
    from search.study.trials import read_trials
    from search.workers.progress import print_line

    target = Path(args.out) if args.out else None
    options = FormatOptions(args.onnx_batch, args.prefix or DEFAULT_OPTIONS.prefix)
    request = ExportRequest(args.trial, args.budget, args.network, args.format, args.force, target, print_line, options)
    with readable(study_location) as location:
        study = load_existing(location)
        trials = study.get_trials(deepcopy=False)
        if kind_of(location) == "baselines":
            data = locate_data(DataConfig(study.user_attrs[SETTINGS]["dataset"], ""), study, args.data_dir)
            source, target = export_baseline(request, read_results(trials), data, location)
        else:
            config, records = config_of(study, args.data_dir), read_trials(trials)
            source, target = export_from_search(
                request, summary_of(study, config, location, records), records, location
            )
        print(exported_line(source, target))
    return 0


def _location(args: Namespace) -> StudyLocation:
    """Return the location of the study or, for --budget, of the study of a frontier with that budget."""
    if args.budget is not None:
        try:
            return existing_study(f"{args.study}-{args.budget}", args.storage)
        except InputError:
            pass
    return existing_study(args.study, args.storage)
