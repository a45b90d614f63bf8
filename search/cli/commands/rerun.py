"""Implement `search.py rerun`, which repeats one training and compares its value with the recorded one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from search.cli import values
from search.cli.arguments import add_data_dir, add_study, announce, existing_study

HELP = "repeat one training and compare its value with the recorded one; missing weights are saved again"
EXAMPLE = "rerun reference"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--trial", type=values.whole_number, metavar="N", help="number of the trial (default: the winner)"
    )
    add_data_dir(parser)
    add_study(parser)


def run(args: Namespace) -> int:
    """Repeat the training; return 0 if it has the recorded value, else 1."""
    location = existing_study(args.study, args.storage)
    announce(f"rerun    study {location.name}; loading PyTorch")

    from search.cli.verify import verify

    return verify(location, args.data_dir, args.trial)
