"""Implement `search.py dashboard`, which shows studies in optuna-dashboard."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from search.cli.arguments import add_address, add_data_dir, existing_study, location_of

HELP = "browse the studies with optuna-dashboard"
EXAMPLE = "dashboard reference --port 8081"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "study",
        nargs="?",
        metavar="STUDY",
        help="name of a study, or path of its folder (default: all studies of the storage)",
    )
    parser.add_argument(
        "--storage", metavar="URL", help="storage of the studies (default: the SQLite file under studies/)"
    )
    add_address(parser, 8080)
    add_data_dir(parser)


def run(args: Namespace) -> int:
    """Serve the studies until the command is interrupted."""
    from search.storage.address import check_address

    location = existing_study(args.study, args.storage) if args.study else location_of(None, args.storage)
    check_address(args.host, args.port)

    from search.dashboard.server import dashboard

    return dashboard(location, args.host, args.port, args.data_dir)
