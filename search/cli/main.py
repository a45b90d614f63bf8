"""The command line: arguments to settings, and the one place that wires the parts together.

Heavy imports wait inside the commands, so that --help and a mistyped flag answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.record import RecordError
from search.cli.arguments import DEFAULT_OUT, make_parser
from search.cli.signals import INTERRUPTED, interruptible
from search.config import DataConfig, SearchConfig, data_directory
from search.errors import FailureError, InputError, explained
from search.limits import LIMITS

if TYPE_CHECKING:
    from argparse import Namespace

    from models.spec import ArchSpec
    from search.cli.commands import Trainer
    from search.cli.run import Job
    from search.study.location import Place

# Whose winner's recipe all hand-designed networks get, where there is one.
RECIPE_OF = "reference"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # `python search.py --budget 8000` is short for `python search.py run --budget 8000`.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "run")
    args = make_parser().parse_args(arguments)
    try:
        with interruptible():
            status = COMMANDS[args.name](args)
            if sys.stdout:  # there is none where it was closed
                sys.stdout.flush()
    except (InputError, RecordError) as error:
        return _fail(str(error), 2)
    except FailureError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        _let_go_of_output()
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
        message = explained(error)
        if message is None:
            raise
        _let_go_of_output()
        return _fail(message, 2)
    return status


def _let_go_of_output() -> None:
    """What could not be written must not be tried again, and complained of, at the end of Python."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int) -> int:
    print(f"search.py: {' '.join(message.split())}", file=sys.stderr)
    return status


def _search_config(args: Namespace, budget: int) -> SearchConfig:
    from search.search_space.augmentations import choose_augmentations

    config = SearchConfig(
        data=DataConfig.named(args.dataset, data_directory(args.data_dir), args.select_on, args.image_size),
        max_params=budget,
        **_limits(args),
        max_latency=args.max_latency,
        dimensions=_dimensions(args.space),
        epochs=args.epochs,
        score=args.score,
        seed=args.seed,
        sampler=args.sampler,
        pruner=args.pruner,
        metric=args.metric,
    )
    return choose_augmentations(config, args.augment, args.no_augment)


def _limits(args: Namespace) -> dict[str, Any]:
    """The limits but the budget, by their fields of SearchConfig."""
    return {limit.name: getattr(args, limit.name) for limit in LIMITS[1:]} | {"bytes_in": args.bytes_in}


def _dimensions(path: str | None) -> tuple[str, ...]:
    """What a --space file changes."""
    from search.search_space.space_file import read_changes

    return read_changes(Path(path)) if path else ()


def _baselines_given(names: Sequence[str]) -> dict[str, ArchSpec]:
    from search.search_space.network_file import read_network

    found: dict[str, ArchSpec] = {}
    for name, spec in map(read_network, names):
        if found.setdefault(name, spec) != spec:
            raise InputError(f"two networks are named {name}; rename one of the files")
    return found


def _job(args: Namespace) -> Job:
    from search.cli.run import Job

    warm = tuple(_place(name) for name in args.warm)
    return Job(
        args.trials,
        args.jobs or _n_cores(),
        args.timeout,
        args.engine,
        args.confirm,
        warm,
        _baselines_given(args.baseline),
        args.grace,
        args.changed_code,
    )


def _n_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(args: Namespace) -> int:
    from search.cli.run import run
    from search.study.location import Place

    return run(_search_config(args, args.budget), Place(Path(args.out), args.study, args.storage), _job(args))


def _frontier(args: Namespace) -> int:
    from search.cli.frontier import Frontier, search_frontier

    job = _job(args)
    frontier = Frontier(args.budgets, args.study, job.warm)
    return search_frontier(_search_config(args, max(args.budgets)), frontier, Path(args.out), args.storage, job)


def _baselines(args: Namespace) -> int:
    from search.cli.baselines import train_baselines
    from search.study.location import Place

    place = Place(Path(args.out), args.study, args.storage)
    card = _place(args.recipe_of or RECIPE_OF).folder / "winner" / "card.json"
    if args.recipe_of and not card.is_file():
        raise InputError(f"there is no {card}: study {args.recipe_of!r:.120} has no winner; name another --recipe-of")
    data = DataConfig.named(args.dataset, data_directory(args.data_dir))
    return train_baselines(place, data, args.ids, args.seeds, _trainer(args), card)


def _confirm(args: Namespace) -> int:
    from search.cli import commands

    if args.confirm is None:
        raise InputError("nothing to confirm with --confirm none; give K:SEEDS")
    return commands.confirm(_place(args.study, args.storage), args.data_dir, args.confirm, _trainer(args))


def _null(args: Namespace) -> int:
    from search.cli import commands

    return commands.null(_place(args.study, args.storage), args.data_dir, args.trial, args.runs, _trainer(args))


def _trainer(args: Namespace) -> Trainer:
    from search.cli.commands import Trainer

    return Trainer(args.engine, args.jobs or _n_cores(), args.changed_code)


def _rerun(args: Namespace) -> int:
    from search.cli.rerun import rerun

    return rerun(_place(args.study, args.storage), args.data_dir, args.trial)


def _describe(args: Namespace) -> int:
    from search.cli import commands

    return commands.describe(args.network, as_json=args.json)


def _report(args: Namespace) -> int:
    from search.cli import commands
    from search.study.load import kind_of

    place = _place(args.study, args.storage)
    if kind_of(place) == "baselines":
        from search.cli.baselines import report_baselines

        return report_baselines(place)
    return commands.report(place)


def _export(args: Namespace) -> int:
    from search.cli import commands
    from search.export.request import Wanted

    target = Path(args.out) if args.out else None
    wanted = Wanted(args.trial, args.budget, args.network, args.format, args.force, target)
    return commands.export(_place(args.study, args.storage), args.data_dir, wanted)


def _space(args: Namespace) -> int:
    from search.cli import commands

    data = DataConfig.named(args.dataset, data_directory(None), image_size=args.image_size)
    config = SearchConfig(data, args.budget, **_limits(args), dimensions=_dimensions(args.space))
    return commands.show_space(config)


def _bench(args: Namespace) -> int:
    from search.engine.benchmark import Images, bench

    images = Images(data_directory(args.data_dir), args.images)
    return bench(images, args.network, args.repeats, _n_cores(), as_json=args.json)


def _dashboard(args: Namespace) -> int:
    from search.dashboard.server import dashboard

    return dashboard(_place(args.study, args.storage), args.host, args.port, args.data_dir)


def _place(study: str | None, storage: str | None = None) -> Place:
    """Where a study lies that is given by name or by the path of its folder."""
    from search.study.location import Place

    path = Path(study or ".")
    # A name is no path: one that no folder could have is refused as a name.
    if study and (path.parent != Path() or path.is_absolute()) and path.is_dir():
        return Place(path.parent, path.name, storage)
    return Place(Path(DEFAULT_OUT), study, storage)


COMMANDS = {
    "run": _run,
    "frontier": _frontier,
    "baselines": _baselines,
    "describe": _describe,
    "report": _report,
    "export": _export,
    "confirm": _confirm,
    "null": _null,
    "rerun": _rerun,
    "space": _space,
    "bench": _bench,
    "dashboard": _dashboard,
}
