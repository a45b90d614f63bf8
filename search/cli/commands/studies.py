"""Implement `search.py studies`, which lists the studies."""

from __future__ import annotations

import json
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
    """Print a row for every study; baselines and studies of other programs have no budget and no accuracy."""
    from search.cli.studies import studies_table, study_rows

    rows = list(study_rows(Path(args.out), args.storage))
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(studies_table(rows) if rows else f"there is no study in {args.storage or args.out} yet")
    return 0
