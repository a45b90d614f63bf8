"""Implement `search.py frontier`, which runs a study for each of several budgets."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from search.cli import values
from search.cli.arguments import announce
from search.cli.commands.run import job, search_config, user_networks, warm_starts
from search.cli.search_options import add_search_options

HELP = "search for each of several budgets, and compare accuracy with parameters"
EXAMPLE = "frontier --budgets 2000,4000,8000 --trials 40"
BUDGETS = (1000, 2000, 4000, 6000, 8000)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    study = parser.add_argument_group("study")
    study.add_argument(
        "--budgets",
        type=values.budgets,
        default=BUDGETS,
        metavar="N,N,...",
        help=f"numbers of parameters (default: {','.join(map(str, BUDGETS))})",
    )
    study.add_argument(
        "--study",
        metavar="NAME",
        help="first part of the names of the studies; existing ones are resumed (default: data set and -frontier)",
    )
    study.add_argument(
        "--warm",
        action="append",
        default=[],
        metavar="STUDY",
        help="existing study to start from as well; repeatable (default: none)",
    )
    add_search_options(parser, study)


def run(args: Namespace) -> int:
    """Search for every budget, and write table and plot; return the exit status."""
    from search.study.location import StudyLocation, check_name

    if args.study:
        check_name(StudyLocation(Path(args.out), f"{args.study}-{max(args.budgets)}"))
    config = search_config(args, max(args.budgets))
    sources, networks = warm_starts(args), user_networks(args)
    budgets = ", ".join(f"{budget:,}" for budget in args.budgets)
    announce(f"start    {args.dataset}, budgets of {budgets} parameters; loading PyTorch and the data")

    from search.cli.frontier import Frontier, search_frontier

    frontier = Frontier(args.budgets, args.study, tuple(sources))
    return search_frontier(config, frontier, Path(args.out), args.storage, job(args, sources, networks))
