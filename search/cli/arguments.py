"""Parsers of the command line, and options that several commands share."""

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
# Only users of this machine reach this address.
LOOPBACK = "127.0.0.1"
MAX_MESSAGE = 600


class Parser(argparse.ArgumentParser):
    """Argument parser that reports an error on one line and accepts no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        # An abbreviation that is unique now may match a new option later.
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print an error on one line, without argparse's usage block, and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split()):.{MAX_MESSAGE}} (see {self.prog} --help)\n")


class CommandParser(Parser):
    """Parser of one command, which checks the values of options without a type as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, values.text)


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that search: run and frontier."""
    add = parser.add_argument
    add(
        "--trials",
        type=values.positive,
        default=100,
        metavar="N",
        help="number of networks to train, in total over all restarts (default: 100)",
    )
    add(
        "--epochs",
        type=values.positive,
        default=15,
        metavar="N",
        help="largest number of epochs of a training (default: 15)",
    )
    add_data_options(parser, "auto", "; auto is mnist, or digits with a notice where mnist is missing")
    add(
        "--storage",
        metavar="URL",
        help="sqlite:///FILE, or postgresql://... for several machines (default: studies.db in --out)",
    )
    add(
        "--grace",
        type=values.positive,
        default=180,
        metavar="SECONDS",
        help="time after which the trial of a silent worker on another machine is requeued (default: 180)",
    )
    add("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    add(
        "--seed",
        type=values.whole_number,
        default=0,
        metavar="N",
        help="random seed; with one job, the same seed gives the same trials and values (default: 0)",
    )
    add(
        "--select-on",
        choices=SELECT_ON,
        default="test",
        help="images that trials are scored on: the test set or held-out training images (default: test)",
    )
    add(
        "--score",
        choices=SCORES,
        default="last",
        help="value of a trial: of the last epoch, the best, or the mean of the last three (default: last)",
    )
    add(
        "--metric",
        choices=METRICS,
        default="accuracy",
        help="metric to maximise; balanced_accuracy is the mean accuracy over the classes (default: accuracy)",
    )
    names = ", ".join(AUGMENTATIONS)
    add(
        "--augment",
        type=values.augmentations,
        action="extend",
        default=[],
        metavar="A,A,...",
        help=f"augmentations to use in addition: {names}",
    )
    add(
        "--no-augment",
        type=values.switched_off,
        action="extend",
        default=[],
        metavar="A,A,...",
        help="augmentations to leave out, or all (default: those that do not suit the data set)",
    )
    add_share_weights(parser)
    add_limit_options(parser)
    add(
        "--max-latency",
        type=values.milliseconds,
        metavar="MS",
        help="largest latency for one image on one thread of this machine; measured, so noisy",
    )
    add("--space", metavar="FILE", help="TOML file that narrows, widens or fixes searched dimensions")
    add(
        "--baseline",
        action="append",
        default=[],
        metavar="ID|FILE",
        help="network to train as well: id of a hand-designed one, or a spec in a JSON or TOML file; repeatable",
    )
    add("--timeout", type=values.positive, metavar="SECONDS", help="start no trial after this time")
    add("--sampler", choices=SAMPLERS, default="tpe", help=f"{_described(SAMPLERS)} (default: tpe)")
    add("--pruner", choices=PRUNERS, default="median", help=f"{_described(PRUNERS)} (default: median)")
    add_confirm_option(parser)
    add_training_options(parser)


def _described(choices: Mapping[str, str]) -> str:
    """Return the choices of an option with their descriptions, for its help."""
    return "; ".join(f"{name}: {description}" for name, description in choices.items())


def add_data_options(parser: argparse.ArgumentParser, default: str, auto: str) -> None:
    """Add the options that select the data set and the size of its images.

    default: of --dataset; auto: text for the help about the value "auto".
    """
    parser.add_argument(
        "--dataset",
        default=default,
        metavar="NAME",
        help="mnist, digits, fashion, kmnist, emnist-letters (or another split), qmnist, usps, cifar10, cifar100, svhn "
        f"or folder:PATH, a folder with one folder of images for each class{auto} (default: {default})",
    )
    parser.add_argument(
        "--image-size",
        type=values.size,
        default=(),
        metavar="N|HxW",
        help="height and width to resize images to (default: original size; for a folder the commonest size, up to 64)",
    )


def add_share_weights(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets layers share weights."""
    parser.add_argument(
        "--share-weights",
        action="store_true",
        help="let convolutions share weights; the budget then counts these once, which other counters do not",
    )


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all limits except the budget; their destinations are the fields of SearchConfig."""
    for limit in LIMITS[1:]:
        parse = values.number_of_bytes if limit.unit is BYTES else values.count
        parser.add_argument(limit.flag, dest=limit.name, type=parse, metavar=limit.unit.metavar, help=limit.help)
    parser.add_argument(
        "--bytes-in",
        choices=tuple(NUMBER_BYTES),
        default="float32",
        help="type of the numbers whose bytes are counted by limits (default: float32)",
    )


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that train."""
    parser.add_argument(
        "--changed-code",
        action="store_true",
        help="continue although code or packages have changed since the study was made",
    )
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="folder of the data sets, also for downloads (default: $DATA_DIR, else data)")
    add(
        "--jobs",
        type=values.jobs,
        default=0,
        metavar="N",
        help="number of networks to train side by side, on one core each, or auto (default: auto, all cores)",
    )
    add(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="native: kernels compiled on this machine; torch: PyTorch's operators (default: auto)",
    )


def add_confirm_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that sets the sizes of the confirmation."""
    parser.add_argument(
        "--confirm",
        type=values.confirmation,
        default=ConfirmConfig(),
        metavar="K:SEEDS",
        help="train the K best trials again with SEEDS fresh seeds each, then the winner with SEEDS further ones, or "
        "with FURTHER ones for K:SEEDS:FURTHER; none: do not confirm (default: 5:5)",
    )


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select an existing study."""
    parser.add_argument("study", metavar="STUDY", help="name of a study under studies/, or path of its folder")
    parser.add_argument("--storage", metavar="URL", help="storage that the study was made with, if not the default")


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the options for the address that a server listens on."""
    parser.add_argument(
        "--port", type=values.port, default=port, metavar="N", help=f"port to listen on (default: {port})"
    )
    parser.add_argument(
        "--host", default=LOOPBACK, metavar="ADDRESS", help=f"address to listen on (default: {LOOPBACK}, this machine)"
    )


def limits_of(args: Namespace) -> dict[str, Any]:
    """Return the values of all limits except the budget, by the names of their fields in SearchConfig."""
    return {limit.name: getattr(args, limit.name) for limit in LIMITS[1:]} | {"bytes_in": args.bytes_in}


def dimensions_of(args: Namespace) -> tuple[str, ...]:
    """Return the changes that a --space file makes to the search space."""
    from search.search_space.space_file import read_changes
    from space import WHOLE

    return read_changes(Path(args.space), WHOLE) if args.space else ()


def location_of(study: str | None, storage: str | None = None) -> StudyLocation:
    """Return the location of a study, from its name or from the path of its folder."""
    from search.study.location import StudyLocation

    path = Path(study or ".")
    # Text without a separator is a name; StudyLocation refuses names that no folder can have.
    if study and (path.parent != Path() or path.is_absolute()) and path.is_dir():
        return StudyLocation(path.parent, path.name, storage)
    return StudyLocation(Path(DEFAULT_OUT), study, storage)


def n_jobs(args: Namespace) -> int:
    """Return the number of networks to train side by side."""
    return args.jobs or n_cores()


def n_cores() -> int:
    """Return the number of cores that this process may use, which in a container may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
