"""Implement `search.py studies`, which lists the studies."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from search.cli.arguments import DEFAULT_OUT

HELP = "list the studies with their data, budget, trials, best value and confirmed accuracy"
EXAMPLE = "studies --json"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table (default: a table)")
    parser.add_argument("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    parser.add_argument("--storage", metavar="URL", help="storage of the studies (default: SQLite files below --out)")


def run(args: Namespace) -> int:
    """Print a row for every study; baselines and studies of other programs have no budget and no accuracy.

    Studies and databases that cannot be read are reported on standard error; the status is 2 if there are only such.
    """
    from search.cli.studies import read_studies, studies_table

    rows, errors = read_studies(Path(args.out), args.storage)
    for error in errors:
        print(f"search.py: {error}", file=sys.stderr)
    if args.json:
        print(json.dumps(rows, indent=2))
    elif rows or not errors:
        print(studies_table(rows) if rows else f"there is no study in {args.storage or args.out} yet")
    return 2 if errors and not rows else 0
