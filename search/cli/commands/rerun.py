"""`search.py rerun`: one training of a study again, compared with what was recorded."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from search.cli import values
from search.cli.arguments import add_study, location_of

HELP = "repeat one training and compare its value with the recorded one; lost weights come back"
EXAMPLE = "rerun mnist-8000 --trial 12"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--trial", type=values.whole, metavar="N", help="number of the trial (default: the winner)")
    parser.add_argument("--data-dir", metavar="DIR", help="where data sets lie (default: $DATA_DIR, else data)")
    add_study(parser)


def run(args: Namespace) -> int:
    """Return 0 if the training has the recorded value again, else 1."""
    from search.cli.verify import verify

    return verify(location_of(args.study, args.storage), args.data_dir, args.trial)
