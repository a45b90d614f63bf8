"""Parsers, and the options that several commands share."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from search.cli import values
from search.config import (
    AUGMENTATIONS,
    ENGINES,
    METRICS,
    NUMBER_BYTES,
    PRUNERS,
    SAMPLERS,
    SCORES,
    SELECT_ON,
    ConfirmConfig,
)
from search.limits import BYTES, LIMITS

if TYPE_CHECKING:
    from search.study.location import StudyLocation

DEFAULT_OUT = "studies"
# Nobody but the users of this machine reaches it.
LOOPBACK = "127.0.0.1"
MAX_MESSAGE = 600


class Parser(argparse.ArgumentParser):
    """Parser that answers a wrong command line with one line, and takes no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        # An abbreviation that is right today is another option's name tomorrow.
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print one line instead of argparse's usage block, and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split()):.{MAX_MESSAGE}} (see {self.prog} --help)\n")


class CommandParser(Parser):
    """Parser of one command; the values of options that name no type of their own are checked as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, values.text)


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add what a search is made with: run and frontier."""
    add = parser.add_argument
    add(
        "--trials", type=values.positive, default=100, metavar="N", help="networks to train, in total over all restarts"
    )
    add(
        "--epochs", type=values.positive, default=15, metavar="N", help="most epochs a network is trained (default: 15)"
    )
    add_data_options(parser, "auto", "; auto: mnist, else digits with a notice")
    add(
        "--storage",
        metavar="URL",
        help="postgresql://... for several machines (default: SQLite, studies.db in --out)",
    )
    add(
        "--grace",
        type=values.positive,
        default=180,
        metavar="SECONDS",
        help="a worker elsewhere silent for so long is dead",
    )
    add("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    add(
        "--seed",
        type=values.whole,
        default=0,
        metavar="N",
        help="same seed and one job: same trials, same values (default: 0)",
    )
    add("--select-on", choices=SELECT_ON, default="test", help="images the search is scored on (default: test)")
    add("--score", choices=SCORES, default="last", help="a trial's value: accuracy of which epochs (default: last)")
    add("--metric", choices=METRICS, default="accuracy", help="what is maximised; balanced: the mean over the classes")
    names = ", ".join(AUGMENTATIONS)
    add(
        "--augment",
        type=values.augmentations,
        action="extend",
        default=[],
        metavar="A,A,...",
        help=f"use as well: {names}",
    )
    add(
        "--no-augment",
        type=values.switched_off,
        action="extend",
        default=[],
        metavar="A,A,...",
        help="do not use these, or all (default: what makes sense for the data set)",
    )
    add_limit_options(parser)
    add(
        "--max-latency",
        type=values.milliseconds,
        metavar="MS",
        help="for one image on one thread here; measured, so noisy",
    )
    add("--space", metavar="FILE", help="TOML file that narrows, widens or fixes searched dimensions")
    add(
        "--baseline",
        action="append",
        default=[],
        metavar="ID|FILE",
        help="train this network as well: a hand-designed one, or a spec in a JSON or TOML file; repeatable",
    )
    add("--timeout", type=values.positive, metavar="SECONDS", help="start no further trial after this time")
    add("--sampler", choices=SAMPLERS, default="tpe", help=f"{_described(SAMPLERS)} (default: tpe)")
    add("--pruner", choices=PRUNERS, default="median", help=f"{_described(PRUNERS)} (default: median)")
    add_confirm_option(parser)
    add_training_options(parser)


def _described(choices: Mapping[str, str]) -> str:
    """List the choices of an option with the sentence that describes each."""
    return "; ".join(f"{name}: {description}" for name, description in choices.items())


def add_data_options(parser: argparse.ArgumentParser, default: str, auto: str) -> None:
    """Add which images are read."""
    parser.add_argument(
        "--dataset",
        default=default,
        metavar="NAME",
        help="mnist, digits, fashion, kmnist, emnist-letters (or another split), qmnist, usps, cifar10, cifar100, svhn "
        f"or folder:PATH, a folder with a folder of images for each class{auto} (default: {default})",
    )
    parser.add_argument(
        "--image-size",
        type=values.size,
        default=(),
        metavar="N|HxW",
        help="bring images to this height and width (default: as they are; of a folder the commonest size, up to 64)",
    )


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Add every limit but the budget, under the names of SearchConfig."""
    for limit in LIMITS[1:]:
        read = values.number_of_bytes if limit.unit is BYTES else values.count
        parser.add_argument(limit.flag, dest=limit.name, type=read, metavar=limit.unit.metavar, help=limit.help)
    parser.add_argument(
        "--bytes-in", choices=tuple(NUMBER_BYTES), default="float32", help="numbers that bytes are counted in (float32)"
    )


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command that trains takes."""
    parser.add_argument(
        "--changed-code", action="store_true", help="go on although versions have changed since the study was made"
    )
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="where data sets lie or are downloaded to (default: $DATA_DIR, else data)")
    add(
        "--jobs", type=values.jobs, default=0, metavar="N", help="networks trained side by side, one core each, or auto"
    )
    add("--engine", choices=ENGINES, default="auto", help="kernels compiled here, or PyTorch's operators")


def add_confirm_option(parser: argparse.ArgumentParser) -> None:
    """Add how the winner is confirmed."""
    parser.add_argument(
        "--confirm",
        type=values.confirming,
        default=ConfirmConfig(),
        metavar="K:SEEDS",
        help="train the K best trials again, SEEDS fresh seeds each, then the winner on as many further ones, or on so "
        "many: K:SEEDS:FURTHER (default: 5:5); or none",
    )


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the study that a command is about."""
    parser.add_argument("study", metavar="STUDY", help="name of a study under studies/, or path of its folder")
    parser.add_argument("--storage", metavar="URL", help="the storage it was run with, if not the default")


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the address that a server listens on."""
    parser.add_argument("--port", type=values.port, default=port, metavar="N", help=f"default: {port}")
    parser.add_argument(
        "--host", default=LOOPBACK, metavar="ADDRESS", help=f"address to listen on (default: {LOOPBACK}, this machine)"
    )


def limits_of(args: Namespace) -> dict[str, Any]:
    """Return the limits except the budget, by their fields of SearchConfig."""
    return {limit.name: getattr(args, limit.name) for limit in LIMITS[1:]} | {"bytes_in": args.bytes_in}


def dimensions_of(args: Namespace) -> tuple[str, ...]:
    """Return the changes that the --space file makes to the space."""
    from search.search_space.space_file import read_changes
    from space import WHOLE

    return read_changes(Path(args.space), WHOLE) if args.space else ()


def location_of(study: str | None, storage: str | None = None) -> StudyLocation:
    """Return the location of a study that is given by its name or by the path of its folder."""
    from search.study.location import StudyLocation

    path = Path(study or ".")
    # A name is no path: one that no folder could have is refused as a name.
    if study and (path.parent != Path() or path.is_absolute()) and path.is_dir():
        return StudyLocation(path.parent, path.name, storage)
    return StudyLocation(Path(DEFAULT_OUT), study, storage)


def n_jobs(args: Namespace) -> int:
    """Return how many networks are trained side by side."""
    return args.jobs or n_cores()


def n_cores() -> int:
    """Return the number of cores that this process may use; in a container these are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
