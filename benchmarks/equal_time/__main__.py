"""Compare ways to search at equal training time.

    python -m benchmarks.equal_time plan
    python -m benchmarks.equal_time costs  [--tasks ...] [--candidates 12]
    python -m benchmarks.equal_time run    [--tasks ...] [--arms ...] [--seeds 10] [--jobs 2]
    python -m benchmarks.equal_time report [--plots FOLDER]

`plan` prints the tasks and arms of benchmarks/equal_time/plan.md, `costs` measures what trainings cost, `run` runs the
studies that have no result yet, and `report` shows the results. `run` may be interrupted at any time; repeated, it goes
on. Without --cifar10, a folder with CIFAR-10's pictures in the folders train/CLASS and test/CLASS, its original files
are read from the data directory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.equal_time.arms import ARMS
from benchmarks.equal_time.costs import cost_table, measure
from benchmarks.equal_time.report import as_svg, as_text
from benchmarks.equal_time.results import read_results
from benchmarks.equal_time.runner import run_missing
from benchmarks.equal_time.study import StudyPlan
from benchmarks.equal_time.tables import plan_tables
from benchmarks.equal_time.tasks import N_SEEDS, TASKS, Sources, images_of
from search.config import data_directory
from search.engine.train import engine_for, training_device
from search.errors import FailureError, InputError
from search.files import make_folder, write_whole

RESULTS = Path(__file__).with_name("results.jsonl")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except InputError as error:
        print(f"equal_time: {error}", file=sys.stderr)
        return 2
    except FailureError as error:
        print(f"equal_time: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("equal_time: interrupted; finished studies are kept, repeat the command to go on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.equal_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plan = commands.add_parser("plan", help="print the tasks and arms")
    plan.set_defaults(run=lambda _args: print(plan_tables()))
    costs = commands.add_parser("costs", help="measure what trainings cost")
    costs.add_argument("--candidates", type=_positive, default=12, metavar="N", help="random candidates a task")
    costs.set_defaults(run=_costs)
    run = commands.add_parser("run", help="run the studies that have no result yet")
    run.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    run.add_argument("--seeds", type=_positive, default=N_SEEDS, metavar="N", help="study seeds, counted from 0")
    run.add_argument("--jobs", type=_positive, default=2, metavar="N", help="studies at a time, one a core")
    run.set_defaults(run=_run)
    report = commands.add_parser("report", help="show the results")
    report.add_argument("--plots", type=Path, metavar="FOLDER", help="folder for a curve of every task, as SVG")
    report.set_defaults(run=_report)
    for command in (costs, run):
        command.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
        command.add_argument("--data-dir", metavar="DIR", help="directory of the data sets; default: $DATA_DIR or data")
        command.add_argument("--cifar10", type=Path, metavar="FOLDER", help="folder of CIFAR-10's pictures")
    for command in (run, report):
        command.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="file of the results")
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r:.80}")
    return number


def _sources(args: argparse.Namespace) -> Sources:
    return Sources(data_directory(args.data_dir), args.cifar10)


def _costs(args: argparse.Namespace) -> None:
    print(cost_table({TASKS[name]: measure(TASKS[name], _sources(args), args.candidates) for name in args.tasks}))


def _run(args: argparse.Namespace) -> None:
    sources = _sources(args)
    # Done here once, so that no two processes download the images or compile the kernels at the same time, and so that
    # a missing data set is noticed before the first study.
    for name in args.tasks:
        images_of(TASKS[name], sources, seed=0)
    engine_for(training_device(), "auto")
    # All arms and tasks of a seed before the next seed, so that an interrupted run compares them with as many seeds.
    plans = [
        StudyPlan(task, arm, seed, sources) for seed in range(args.seeds) for task in args.tasks for arm in args.arms
    ]
    run_missing(plans, args.results, args.jobs)


def _report(args: argparse.Namespace) -> None:
    results = read_results(args.results)
    if not results:
        raise InputError(f"{args.results} has no results yet; run: python -m benchmarks.equal_time run")
    print(as_text(results))
    if args.plots:
        make_folder(args.plots)
        for task in TASKS:
            if any(result.task.name == task for result in results):
                write_whole(args.plots / f"{task}.svg", as_svg(results, task))


if __name__ == "__main__":
    sys.exit(main())
