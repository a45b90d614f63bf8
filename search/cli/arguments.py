"""What the command line accepts: commands, options and their values. Which function answers, cli.py says."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from search.cli import values
from search.config import (
    AUGMENTATIONS,
    ENGINES,
    FORMATS,
    METRICS,
    NUMBER_BYTES,
    PRUNERS,
    SAMPLERS,
    SCORES,
    SELECT_ON,
    ConfirmConfig,
)
from search.limits import BYTES, LIMITS

DEFAULT_OUT = "studies"
# Nobody but the users of this machine reaches it.
LOOPBACK = "127.0.0.1"
MAX_MESSAGE = 600
BUDGETS = (1000, 2000, 4000, 6000, 8000)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # An abbreviation that is right today is another option's name tomorrow.
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """One line instead of argparse's usage block, whatever was given."""
        self.exit(2, f"{self.prog}: {' '.join(message.split()):.{MAX_MESSAGE}} (see {self.prog} --help)\n")


class _Command(_Parser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, values.text)  # of options that name no other


def make_parser() -> argparse.ArgumentParser:
    """The parser; `args.name` is the command."""
    parser = _Parser(
        prog="search.py",
        description="Finds the most accurate small convolutional network within a budget of parameters.",
        epilog="`search.py --budget 8000 --trials 100` is short for `search.py run ...`: see search.py run --help",
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="name", required=True, parser_class=_Command
    )

    run = commands.add_parser("run", help="search (the default: `search.py --budget 8000 --trials 100`)")
    run.add_argument("--budget", type=values.count, required=True, metavar="N", help=LIMITS[0].help)
    run.add_argument("--study", metavar="NAME", help="default: data set and budget; the same name goes on with it")
    run.add_argument("--warm", action="append", default=[], metavar="STUDY", help="start with its trials that fit")
    _add_search_options(run)

    frontier = commands.add_parser("frontier", help="a study for each of several budgets: accuracy against parameters")
    frontier.add_argument(
        "--budgets",
        type=values.budgets,
        default=BUDGETS,
        metavar="N,N,...",
        help=f"default: {','.join(map(str, BUDGETS))}",
    )
    frontier.add_argument("--study", default="frontier", metavar="NAME", help="first part of the names of its studies")
    frontier.add_argument("--warm", action="append", default=[], metavar="STUDY", help="one more study to start from")
    _add_search_options(frontier)

    baselines = commands.add_parser("baselines", help="train the hand-designed networks by their own recipes")
    baselines.add_argument("ids", nargs="*", metavar="ID", help="default: all fourteen")
    baselines.add_argument(
        "--seeds", type=values.repeats, metavar="N", help="default: 3 within 8,000 parameters, else 1"
    )
    baselines.add_argument("--dataset", default="mnist", metavar="NAME", help="default: mnist")
    baselines.add_argument("--study", default="baselines", metavar="NAME", help="default: baselines")
    baselines.add_argument(
        "--recipe-of", metavar="STUDY", help="study whose winner's recipe all get as well (default: reference)"
    )
    baselines.add_argument("--storage", metavar="URL", help="default: as of a search")
    baselines.add_argument("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    _add_training_options(baselines)

    describe = commands.add_parser("describe", help="layer table of a hand-designed network or a spec file")
    describe.add_argument(
        "network", metavar="ID|FILE", help="id of a hand-designed network, or a spec in a JSON or TOML file"
    )
    describe.add_argument("--json", action="store_true", help="for programs")

    report = commands.add_parser("report", help="a study's report again, from disk")
    export = commands.add_parser("export", help="a trained network as files that stand alone")
    which = export.add_mutually_exclusive_group()
    which.add_argument("--trial", type=values.whole, metavar="N", help="a finished trial instead of the winner")
    which.add_argument("--budget", type=values.count, metavar="N", help="the best with at most N parameters")
    which.add_argument("--network", metavar="ID", help="a hand-designed network that the study trained")
    export.add_argument("--out", metavar="DIR", help="folder to write (default: winner/ or trial-N/ beside the report)")
    export.add_argument(
        "--format",
        type=values.formats,
        action="extend",
        default=[],
        metavar="F,F,...",
        help=f"beside model.py and weights.pt: {', '.join(FORMATS[1:])}, or all",
    )
    export.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    export.add_argument("--data-dir", metavar="DIR", help="where data sets lie, or a folder of images now does")
    confirm = commands.add_parser("confirm", help="the best trials of a study again, on fresh seeds")
    _add_confirm_option(confirm)
    null = commands.add_parser("null", help="a study's noise floor: one configuration trained again and again")
    null.add_argument("--runs", type=values.repeats, default=10, metavar="N", help="trainings (default: 10)")
    null.add_argument(
        "--trial", type=values.whole, metavar="N", help="of this trial (default: the best hand-designed network)"
    )
    rerun = commands.add_parser(
        "rerun", help="one training again, alone: is its value the recorded one? Weights that were lost come back"
    )
    rerun.add_argument("--trial", type=values.whole, metavar="N", help="number of the trial (default: the winner)")
    rerun.add_argument("--data-dir", metavar="DIR", help="where data sets lie (default: $DATA_DIR, else data)")
    for command in (confirm, null):
        _add_training_options(command)
    for command in (report, export, confirm, null, rerun):
        command.add_argument("study", metavar="STUDY", help="name of a study under studies/, or path of its folder")
        command.add_argument("--storage", metavar="URL", help="the storage it was run with, if not the default")

    space = commands.add_parser("space", help="the searched dimensions, and how much of the space fits a budget")
    space.add_argument("--budget", type=values.count, default=8000, metavar="N", help="parameters (default: 8000)")
    space.add_argument("--space", metavar="FILE", help="TOML file that narrows, widens or fixes dimensions")
    _add_data_options(space, "mnist", "")
    _add_limit_options(space)

    bench = commands.add_parser("bench", help="the engine against the usual training loop, side by side")
    bench.add_argument("--json", action="store_true", help="for programs")
    bench.add_argument("--repeats", type=values.repeats, default=3, metavar="N", help="medians of so many (default: 3)")
    bench.add_argument(
        "--network", action="append", metavar="NAME", help="s004_net3, s000_net or separable; repeatable"
    )
    bench.add_argument(
        "--images", type=values.positive, default=60_000, metavar="N", help="training images in an epoch"
    )
    bench.add_argument("--data-dir", metavar="DIR", help="where MNIST lies; without it the images are made up")

    dashboard = commands.add_parser("dashboard", help="browse the studies with optuna-dashboard")
    dashboard.add_argument("study", nargs="?", metavar="STUDY", help="default: all of the storage")
    dashboard.add_argument("--storage", metavar="URL", help="default: the SQLite file under studies/")
    dashboard.add_argument("--port", type=values.port, default=8080, metavar="N", help="default: 8080")
    dashboard.add_argument(
        "--host", default=LOOPBACK, metavar="ADDRESS", help=f"address to listen on (default: {LOOPBACK}, this machine)"
    )
    dashboard.add_argument("--data-dir", metavar="DIR", help="where data sets lie, or a folder of images now does")
    return parser


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--trials", type=values.positive, default=100, metavar="N", help="networks to train, in total over all restarts"
    )
    add(
        "--epochs", type=values.positive, default=15, metavar="N", help="most epochs a network is trained (default: 15)"
    )
    _add_data_options(parser, "auto", "; auto: mnist, else digits with a notice")
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
    _add_limit_options(parser)
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
    add("--sampler", choices=SAMPLERS, default="tpe", help="evolve: explores, then changes the best (default: tpe)")
    add("--pruner", choices=PRUNERS, default="median", help="default: median")
    _add_confirm_option(parser)
    _add_training_options(parser)


def _add_data_options(parser: argparse.ArgumentParser, default: str, auto: str) -> None:
    """Which images."""
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


def _add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Every limit but the budget, under the names of SearchConfig."""
    for limit in LIMITS[1:]:
        read = values.number_of_bytes if limit.unit is BYTES else values.count
        parser.add_argument(limit.flag, dest=limit.name, type=read, metavar=limit.unit.metavar, help=limit.help)
    parser.add_argument(
        "--bytes-in", choices=tuple(NUMBER_BYTES), default="float32", help="numbers that bytes are counted in (float32)"
    )


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    """For every command that trains."""
    parser.add_argument(
        "--changed-code", action="store_true", help="go on although versions have changed since the study was made"
    )
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="where data sets lie or are downloaded to (default: $DATA_DIR, else data)")
    add(
        "--jobs", type=values.jobs, default=0, metavar="N", help="networks trained side by side, one core each, or auto"
    )
    add("--engine", choices=ENGINES, default="auto", help="kernels compiled here, or PyTorch's operators")


def _add_confirm_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confirm",
        type=values.confirming,
        default=ConfirmConfig(),
        metavar="K:SEEDS",
        help="train the K best trials again, SEEDS fresh seeds each, then the winner on as many further ones, or on so "
        "many: K:SEEDS:FURTHER (default: 5:5); or none",
    )
