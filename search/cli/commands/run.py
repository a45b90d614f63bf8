"""Implement `search.py run`, which runs or resumes a search."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.cli import values
from search.cli.arguments import add_search_options, dimensions_of, limits_of, location_of, n_jobs
from search.config import DataConfig, SearchConfig, data_directory
from search.errors import InputError
from search.limits import LIMITS

if TYPE_CHECKING:
    from models.spec import ArchSpec
    from search.cli.job import Job

HELP = "run or resume a search (the default command)"
EXAMPLE = "run --budget 8000 --trials 100"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--budget", type=values.count, required=True, metavar="N", help=LIMITS[0].help)
    parser.add_argument(
        "--study", metavar="NAME", help="name of the study; an existing one is resumed (default: data set and budget)"
    )
    parser.add_argument(
        "--warm",
        action="append",
        default=[],
        metavar="STUDY",
        help="existing study whose trials are adopted if they fit; repeatable",
    )
    add_search_options(parser)


def run(args: Namespace) -> int:
    """Run or resume a search, then confirm, report and export the winner; return the exit status."""
    from search.cli.job import run_job
    from search.study.location import StudyLocation

    return run_job(search_config(args, args.budget), StudyLocation(Path(args.out), args.study, args.storage), job(args))


def search_config(args: Namespace, budget: int) -> SearchConfig:
    """Return the settings of a search with the given budget."""
    from search.search_space.augmentations import choose_augmentations
    from space import WHOLE

    config = SearchConfig(
        data=DataConfig.named(args.dataset, data_directory(args.data_dir), args.select_on, args.image_size),
        max_params=budget,
        **limits_of(args),
        max_latency=args.max_latency,
        dimensions=dimensions_of(args),
        epochs=args.epochs,
        score=args.score,
        seed=args.seed,
        sampler=args.sampler,
        pruner=args.pruner,
        metric=args.metric,
        share_weights=args.share_weights,
    )
    return choose_augmentations(config, args.augment, args.no_augment, WHOLE)


def job(args: Namespace) -> Job:
    """Return the settings of a run that do not change the values of trials."""
    from search.cli.job import Job

    return Job(
        args.trials,
        n_jobs(args),
        args.timeout,
        args.engine,
        args.confirm,
        tuple(location_of(name) for name in args.warm),
        _user_networks(args.baseline),
        args.grace,
        args.changed_code,
    )


def _user_networks(names: Sequence[str]) -> dict[str, ArchSpec]:
    from search.search_space.network_file import read_network

    networks: dict[str, ArchSpec] = {}
    for name, spec in map(read_network, names):
        if networks.setdefault(name, spec) != spec:
            raise InputError(f"two networks are named {name}; rename one of the files")
    return networks
