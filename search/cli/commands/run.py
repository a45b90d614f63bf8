"""Implement `search.py run`, which runs or resumes a search."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from search.cli import values
from search.cli.arguments import announce, existing_study, n_jobs
from search.cli.search_options import add_search_options, dimensions_of, limits_of
from search.config import DataConfig, SearchConfig, data_directory
from search.errors import InputError
from search.limits import LIMITS

if TYPE_CHECKING:
    from models.spec import ArchSpec
    from search.cli.job import Job
    from search.study.location import StudyLocation

HELP = "run or resume a search (the default command)"
EXAMPLE = "run --budget 8000 --trials 100"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    study = parser.add_argument_group("study")
    study.add_argument(
        "--budget", type=values.count, required=True, metavar="N", help=f"{LIMITS[0].help} (required, for example 8000)"
    )
    study.add_argument(
        "--study", metavar="NAME", help="name of the study; an existing one is resumed (default: data set and budget)"
    )
    study.add_argument(
        "--warm",
        action="append",
        default=[],
        metavar="STUDY",
        help="existing study whose trials are adopted if they fit, in --storage or below studies/; repeatable "
        "(default: none)",
    )
    add_search_options(parser, study)


def run(args: Namespace) -> int:
    """Run or resume a search, then confirm, report and export the winner; return the exit status."""
    from search.study.location import StudyLocation, check_name

    location = StudyLocation(Path(args.out), args.study, args.storage)
    if args.study:
        check_name(location)
    config, sources, networks = search_config(args, args.budget), warm_starts(args), user_networks(args)
    announce(f"start    {args.dataset}, budget of {args.budget:,} parameters; loading PyTorch and the data")

    from search.cli.job import run_job

    return run_job(config, location, job(args, sources, networks))


def search_config(args: Namespace, budget: int) -> SearchConfig:
    """Return the settings of a search with the given budget."""
    from search.search_space.augmentations import choose_augmentations
    from space import LARGEST

    data = DataConfig.named(args.dataset, data_directory(args.data_dir), args.select_on, args.image_size)
    config = SearchConfig(
        data=data,
        max_params=budget,
        **limits_of(args),
        max_latency=args.max_latency,
        dimensions=dimensions_of(args, data),
        epochs=args.epochs,
        score=args.score,
        seed=args.seed,
        sampler=args.sampler,
        pruner=args.pruner,
        metric=args.metric,
        share_weights=args.share_weights,
        starts=args.starts,
    )
    return choose_augmentations(config, args.augment, args.no_augment, LARGEST)


def job(args: Namespace, sources: Sequence[StudyLocation], networks: Mapping[str, ArchSpec]) -> Job:
    """Return the settings of a run that do not change the values of trials.

    sources: studies to start from. networks: user networks, by name
    """
    from search.cli.job import Job

    return Job(
        args.trials,
        n_jobs(args),
        args.timeout,
        args.engine,
        args.confirm,
        tuple(sources),
        networks,
        args.grace,
        args.changed_code,
    )


def warm_starts(args: Namespace) -> list[StudyLocation]:
    """Return the locations of the studies to start from. Raises InputError for a missing study."""
    return [_warm_start(name, args.storage) for name in args.warm]


def _warm_start(name: str, storage: str | None) -> StudyLocation:
    """Return the location of a study in the storage of the search, or else in the folder of the studies."""
    if storage is None:
        return existing_study(name)
    try:
        return existing_study(name, storage)
    except InputError as error:
        with suppress(InputError):
            return existing_study(name)
        raise error


def user_networks(args: Namespace) -> dict[str, ArchSpec]:
    """Return the networks of --baseline by name. Raises InputError for two networks of one name."""
    from search.search_space.network_file import read_network

    networks: dict[str, ArchSpec] = {}
    for name, spec in map(read_network, args.baseline):
        if networks.setdefault(name, spec) != spec:
            raise InputError(f"two networks are named {name}; rename one of the files")
    return networks
