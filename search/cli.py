"""The command line: arguments to settings, and the one place that wires the parts together.

Heavy imports wait inside the commands, so that --help and a mistyped flag answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from models.record import RecordError
from search.config import (
    ENGINES,
    PRUNERS,
    SAMPLERS,
    SCORES,
    SELECT_ON,
    DataConfig,
    FailureError,
    InputError,
    SearchConfig,
)

if TYPE_CHECKING:
    from search.place import Place

DEFAULT_OUT = "studies"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # `python search.py --budget 8000` is short for `python search.py run --budget 8000`.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "run")
    args = _parser().parse_args(arguments)
    try:
        status: int = args.command(args)
    except (InputError, RecordError) as error:
        return _fail(str(error), 2)
    except FailureError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return status


def _fail(message: str, status: int) -> int:
    print(f"search.py: {' '.join(message.split())}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # An abbreviation that is right today is another option's name tomorrow.
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """One line instead of argparse's usage block."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="search.py",
        description="Finds the most accurate small convolutional network within a budget of parameters.",
        epilog="`search.py --budget 8000 --trials 100` is short for `search.py run ...`: see search.py run --help",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    run = commands.add_parser("run", help="search (the default: `search.py --budget 8000 --trials 100`)")
    run.set_defaults(command=_run)
    _add_search_options(run)

    describe = commands.add_parser("describe", help="layer table of a hand-designed network or a spec file")
    describe.add_argument(
        "network", metavar="ID|FILE", help="id of a hand-designed network, or a JSON file with a spec"
    )
    describe.add_argument("--json", action="store_true", help="for programs")
    describe.set_defaults(command=_describe)

    report = commands.add_parser("report", help="a study's report again, from disk")
    report.set_defaults(command=_report)
    export = commands.add_parser("export", help="a study's winner, or another finished trial, as a stand-alone file")
    export.add_argument("--trial", type=int, metavar="N", help="a finished trial instead of the winner")
    export.add_argument("--out", metavar="DIR", help="folder to write (default: winner/ or trial-N/ beside the report)")
    export.add_argument("--data-dir", metavar="DIR", help="where data sets lie (default: $DATA_DIR, else data)")
    export.set_defaults(command=_export)
    for command in (report, export):
        command.add_argument("study", metavar="STUDY", help="name of a study under studies/, or path of its folder")
        command.add_argument("--storage", metavar="URL", help="the storage it was run with, if not the default")

    space = commands.add_parser("space", help="the searched dimensions, and how much of the space fits a budget")
    space.add_argument("--budget", type=_positive, default=8000, metavar="N", help="parameters (default: 8000)")
    space.set_defaults(command=_space)

    bench = commands.add_parser("bench", help="the engine against the usual training loop, side by side")
    bench.add_argument("--json", action="store_true", help="for programs")
    bench.add_argument("--repeats", type=_positive, default=3, metavar="N", help="medians of so many (default: 3)")
    bench.add_argument(
        "--network", action="append", metavar="NAME", help="s004_net3, s000_net or separable; repeatable"
    )
    bench.add_argument("--images", type=_positive, default=60_000, metavar="N", help="training images in an epoch")
    bench.add_argument("--data-dir", metavar="DIR", help="where MNIST lies; without it the images are made up")
    bench.set_defaults(command=_bench)

    dashboard = commands.add_parser("dashboard", help="browse the studies with optuna-dashboard")
    dashboard.add_argument("study", nargs="?", metavar="STUDY", help="a study with a database of its own")
    dashboard.add_argument("--storage", metavar="URL", help="default: the SQLite file under studies/")
    dashboard.add_argument("--port", type=_positive, default=8080, metavar="N", help="default: 8080")
    dashboard.set_defaults(command=_dashboard)
    return parser


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--budget", type=_positive, required=True, metavar="N", help="largest number of parameters")
    add("--trials", type=_positive, default=100, metavar="N", help="networks to train, in total over all restarts")
    add("--epochs", type=_positive, default=15, metavar="N", help="most epochs a network is trained (default: 15)")
    add("--dataset", default="auto", metavar="NAME", help="mnist, digits, or auto: mnist, else digits with a notice")
    add("--data-dir", metavar="DIR", help="where data sets lie or are downloaded to (default: $DATA_DIR, else data)")
    add("--study", metavar="NAME", help="default: data set and budget; the same name goes on with the same study")
    add("--storage", metavar="URL", help="SQLAlchemy URL (default: the SQLite file studies.db under --out)")
    add("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    add("--jobs", type=_jobs, default=0, metavar="N", help="networks trained side by side, one core each, or auto")
    add("--seed", type=int, default=0, metavar="N", help="same seed and one job: same trials, same values (default: 0)")
    add("--select-on", choices=SELECT_ON, default="test", help="images the search is scored on (default: test)")
    add("--score", choices=SCORES, default="last", help="a trial's value: accuracy of which epochs (default: last)")
    add("--max-macs", type=_positive, metavar="N", help="largest number of multiply-adds")
    add("--max-memory", type=_positive, metavar="BYTES", help="largest peak of activations, in float32")
    add("--timeout", type=_positive, metavar="SECONDS", help="start no further trial after this time")
    add("--sampler", choices=SAMPLERS, default="tpe", help="default: tpe")
    add("--pruner", choices=PRUNERS, default="median", help="default: median")
    add("--engine", choices=ENGINES, default="auto", help="kernels compiled here, or PyTorch's operators")


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def _jobs(text: str) -> int:
    return 0 if text == "auto" else _positive(text)


def _data_dir(given: str | None) -> str:
    return given or os.environ.get("DATA_DIR") or "data"


def _search_config(args: argparse.Namespace) -> SearchConfig:
    return SearchConfig(
        data=DataConfig(args.dataset, _data_dir(args.data_dir), args.select_on),
        max_params=args.budget,
        max_macs=args.max_macs,
        max_memory=args.max_memory,
        epochs=args.epochs,
        score=args.score,
        seed=args.seed,
        sampler=args.sampler,
        pruner=args.pruner,
    )


def _n_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(args: argparse.Namespace) -> int:
    from search.place import Place
    from search.run import run

    place = Place(Path(args.out), args.study, args.storage)
    return run(
        _search_config(args),
        place,
        n_trials=args.trials,
        n_workers=args.jobs or _n_cores(),
        timeout=args.timeout,
        engine=args.engine,
    )


def _describe(args: argparse.Namespace) -> int:
    from search import commands

    return commands.describe(args.network, as_json=args.json)


def _report(args: argparse.Namespace) -> int:
    from search import commands

    return commands.report(_place(args))


def _export(args: argparse.Namespace) -> int:
    from search import commands

    target = Path(args.out) if args.out else None
    return commands.export(_place(args), _data_dir(args.data_dir), args.trial, target)


def _space(args: argparse.Namespace) -> int:
    from search import commands

    data = DataConfig("mnist", _data_dir(None))
    return commands.show_space(SearchConfig(data, max_params=args.budget))


def _bench(args: argparse.Namespace) -> int:
    from benchmarks.engine import Images, bench

    images = Images(_data_dir(args.data_dir), args.images)
    return bench(images, args.network, args.repeats, _n_cores(), as_json=args.json)


def _dashboard(args: argparse.Namespace) -> int:
    from search import commands

    return commands.dashboard(_place(args), args.port)


def _place(args: argparse.Namespace) -> Place:
    """Where a study lies that is given by name or by the path of its folder."""
    from search.place import Place

    path = Path(args.study or ".")
    if args.study and path.is_dir() and (path.parent != Path() or path.is_absolute()):
        return Place(path.parent, path.name, args.storage)
    return Place(Path(DEFAULT_OUT), args.study, args.storage)
