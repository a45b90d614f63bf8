"""Implement `search.py bench`, which compares the training engine with the usual training loop."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from search.cli import values
from search.config import data_directory
from search.cores import n_cores

HELP = "compare the training engine with the usual training loop, side by side"
EXAMPLE = "bench --network separable --repeats 3"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("--json", action="store_true", help="print JSON instead of a table (default: a table)")
    add(
        "--repeats",
        type=values.repeats,
        default=3,
        metavar="N",
        help="measurements; their medians are printed (default: 3)",
    )
    add(
        "--network", action="append", metavar="NAME", help="s004_net3, s000_net or separable; repeatable (default: all)"
    )
    add(
        "--images",
        type=values.positive,
        default=6_000,
        metavar="N",
        help="training images in an epoch (default: 6000, of which all takes about four minutes on two idle cores)",
    )
    add(
        "--data-dir",
        metavar="DIR",
        help="folder of MNIST; without it random images are used (default: $DATA_DIR, else data)",
    )


def run(args: Namespace) -> int:
    """Measure both, and print the results."""
    from search.cli.bench import bench
    from search.engine.benchmark import Images

    images = Images(data_directory(args.data_dir), args.images)
    return bench(images, args.network, args.repeats, n_cores(), as_json=args.json)
