"""Options of the commands that search, in groups, and the settings that they stand for."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.cli import values
from search.cli.arguments import DEFAULT_OUT, add_confirm_option, add_training_options
from search.config import (
    AUGMENTATIONS,
    METRICS,
    NUMBER_BYTES,
    PRUNERS,
    SAMPLERS,
    SCORES,
    SELECT_ON,
    STARTS,
    DataConfig,
)
from search.limits import BYTES, LIMITS


def add_search_options(parser: argparse.ArgumentParser, study: argparse._ActionsContainer) -> None:
    """Add the options of commands that search, run and frontier; `study` is the group of the options of a study."""
    _add_study_options(study)
    data = parser.add_argument_group("data")
    add_data_options(data, "auto", "; auto is mnist, or digits with a notice where mnist is missing")
    data.add_argument(
        "--select-on",
        choices=SELECT_ON,
        default="test",
        help="images that trials are scored on: the test set or held-out training images (default: test)",
    )
    add_augment_options(data)
    limits = parser.add_argument_group("limits")
    add_limit_options(limits)
    limits.add_argument(
        "--max-latency",
        type=values.milliseconds,
        metavar="MS",
        help="largest latency for one image on one thread of this machine; measured, so noisy (default: no limit)",
    )
    _add_space_options(parser)
    training = parser.add_argument_group("training")
    training.add_argument(
        "--epochs",
        type=values.positive,
        default=15,
        metavar="N",
        help="largest number of epochs of a training (default: 15)",
    )
    training.add_argument(
        "--score",
        choices=SCORES,
        default="last",
        help="value of a trial: of the last epoch, the best, or the mean of the last three (default: last)",
    )
    training.add_argument(
        "--metric",
        choices=METRICS,
        default="accuracy",
        help="metric to maximise; balanced_accuracy is the mean accuracy over the classes (default: accuracy)",
    )
    add_training_options(training)
    add_confirm_option(parser.add_argument_group("confirmation"))


def _add_study_options(study: argparse._ActionsContainer) -> None:
    add = study.add_argument
    add(
        "--trials",
        type=values.positive,
        default=100,
        metavar="N",
        help="number of networks to train, in total over all restarts (default: 100)",
    )
    add(
        "--storage",
        metavar="URL",
        help="sqlite:///FILE, or postgresql://... for several machines (default: studies.db in --out)",
    )
    add("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    add(
        "--timeout",
        type=values.positive,
        metavar="SECONDS",
        help="start no trial after this time (default: no limit of time)",
    )
    add(
        "--grace",
        type=values.positive,
        default=180,
        metavar="SECONDS",
        help="time after which the trial of a silent worker on another machine is requeued (default: 180)",
    )


def _add_space_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("space and sampler")
    add = group.add_argument
    add(
        "--space",
        metavar="FILE",
        help="TOML file that narrows, widens or fixes searched dimensions (default: the whole space)",
    )
    add_share_weights(group)
    add(
        "--baseline",
        action="append",
        default=[],
        metavar="ID|FILE",
        help="network to train as well: id of a hand-designed one, or a spec in a JSON or TOML file; repeatable "
        "(default: none)",
    )
    add("--starts", choices=STARTS, default="stored", help=f"{_described(STARTS)} (default: stored)")
    add("--sampler", choices=SAMPLERS, default="tpe", help=f"{_described(SAMPLERS)} (default: tpe)")
    add("--pruner", choices=PRUNERS, default="median", help=f"{_described(PRUNERS)} (default: median)")
    add(
        "--seed",
        type=values.whole_number,
        default=0,
        metavar="N",
        help="random seed; with one job, the same seed gives the same trials and values (default: 0)",
    )


def _described(choices: Mapping[str, str]) -> str:
    """Return the choices of an option with their descriptions, for its help."""
    return "; ".join(f"{name}: {description}" for name, description in choices.items())


def add_data_options(parser: argparse._ActionsContainer, default: str, auto: str) -> None:
    """Add the options that select the data set and the size of its images.

    default: of --dataset; auto: text for the help about the value "auto".
    """
    parser.add_argument(
        "--dataset",
        default=default,
        metavar="NAME",
        help="mnist, digits, fashion, kmnist, emnist-letters (or another split), qmnist, usps, cifar10, cifar100, "
        "svhn, folder:PATH, a folder with one folder of images for each class, or npz:FILE, a NumPy archive with "
        f"x_train, y_train, x_test and y_test{auto} (default: {default})",
    )
    parser.add_argument(
        "--image-size",
        type=values.size,
        default=(),
        metavar="N|HxW",
        help="height and width to resize images to (default: original size; for a folder the commonest size, up to 64)",
    )


def add_augment_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that select the augmentations of a search."""
    parser.add_argument(
        "--augment",
        type=values.augmentations,
        action="extend",
        default=[],
        metavar="A,A,...",
        help=f"augmentations to search in addition: {', '.join(AUGMENTATIONS)} (default: none)",
    )
    parser.add_argument(
        "--no-augment",
        type=values.switched_off,
        action="extend",
        default=[],
        metavar="A,A,...",
        help="augmentations to leave out, or all (default: those that do not suit the data set)",
    )


def add_share_weights(parser: argparse._ActionsContainer) -> None:
    """Add the option that lets layers share weights."""
    parser.add_argument(
        "--share-weights",
        action="store_true",
        help="let convolutions share weights; the budget then counts these once, which other counters do not "
        "(default: no sharing)",
    )


def add_limit_options(parser: argparse._ActionsContainer) -> None:
    """Add the options of all limits except the budget; their destinations are the fields of SearchConfig."""
    for limit in LIMITS[1:]:
        parse = values.number_of_bytes if limit.unit is BYTES else values.count
        text = f"{limit.help} (default: no limit)"
        parser.add_argument(limit.flag, dest=limit.name, type=parse, metavar=limit.unit.metavar, help=text)
    parser.add_argument(
        "--bytes-in",
        choices=tuple(NUMBER_BYTES),
        default="float32",
        help="type of the numbers whose bytes are counted by limits (default: float32)",
    )


def limits_of(args: Namespace) -> dict[str, Any]:
    """Return the values of all limits except the budget, by the names of their fields in SearchConfig."""
    return {limit.name: getattr(args, limit.name) for limit in LIMITS[1:]} | {"bytes_in": args.bytes_in}


def dimensions_of(args: Namespace, data: DataConfig) -> tuple[str, ...]:
    """Return the changes that a --space file makes to the search space of `data`, of which a folder is read."""
    if not args.space:
        return ()
    from search.search_space.space_file import read_changes
    from space import shape_of, whole_space

    return read_changes(Path(args.space), whole_space(shape_of(data), AUGMENTATIONS))
