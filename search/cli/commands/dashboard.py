"""Implement `search.py dashboard`, which shows studies in optuna-dashboard."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from search.cli.arguments import add_address, add_data_dir, existing_study, location_of
from search.errors import InputError

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
    from search.storage.open import open_storage
    from search.storage.url import is_new
    from search.study.read_only import readable

    location = existing_study(args.study, args.storage) if args.study else location_of(None, args.storage)
    path = location.sqlite_path
    if path is not None and (not path.is_file() or is_new(path)):
        raise InputError(f"there is nothing to browse yet: no database {path}; name one with --storage")
    with readable(location) as readable_location:
        open_storage(readable_location.url)
    check_address(args.host, args.port)
    studies = f"study {location.name}" if location.name else f"the studies in {location.shown_url}"
    print(f"search.py: drawing the notes and figures of {studies}, then the address follows", file=sys.stderr)

    from search.dashboard.server import dashboard

    return dashboard(location, args.host, args.port, args.data_dir)
