"""Implement `search.py frontier`, which runs a study for each of several budgets."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from search.cli import values
from search.cli.arguments import add_search_options
from search.cli.commands.run import job, search_config

HELP = "search for each of several budgets, and compare accuracy with parameters"
EXAMPLE = "frontier --budgets 2000,4000,8000 --trials 40"
BUDGETS = (1000, 2000, 4000, 6000, 8000)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--budgets",
        type=values.budgets,
        default=BUDGETS,
        metavar="N,N,...",
        help=f"numbers of parameters (default: {','.join(map(str, BUDGETS))})",
    )
    parser.add_argument(
        "--study", default="frontier", metavar="NAME", help="first part of the names of the studies (default: frontier)"
    )
    parser.add_argument(
        "--warm", action="append", default=[], metavar="STUDY", help="existing study to start from as well; repeatable"
    )
    add_search_options(parser)


def run(args: Namespace) -> int:
    """Search for every budget, and write table and plot; return the exit status."""
    from search.cli.frontier import Frontier, search_frontier

    settings = job(args)
    frontier = Frontier(args.budgets, args.study, settings.warm_starts)
    config = search_config(args, max(args.budgets))
    return search_frontier(config, frontier, Path(args.out), args.storage, settings)
