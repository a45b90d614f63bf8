"""Measure how fast workers claim and read the trials of one SQLite study.

    python -m benchmarks.storage_claims [--rounds 5] [--trials 80] [--epoch-seconds 0.5]

Two ways of locking are compared in alternating rounds, so that other load of the machine affects both:

    all lock       every transaction takes the write lock at its beginning (as before 2026-11-30)
    writers lock   only transactions that write take it (search/storage/sqlite.py)

A round is a new study with queued trials and 16 workers. These are processes with their own storage that only pretend
to train: they claim a trial, wait for five epochs, report each, and then read the finished trials, as a pruner does.
One more process reads all trials again and again, as the dashboard does. With --epoch-seconds 0 no worker waits, and
the processors limit the speed. Afterwards every queued trial must have been claimed once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import optuna
from optuna.trial import TrialState
from sqlalchemy import Connection, event

from search.storage.open import SQLITE_BUSY_SECONDS, open_storage
from search.storage.sqlite import FileStorage
from search.storage.url import sqlite_url
from search.study.study import load_study

N_WORKERS, N_EPOCHS = 16, 5
ALL, WRITERS = "all lock", "writers lock"
STUDY, QUEUED = "claims", "queued"


@dataclass
class Seconds:
    """Durations of all claims and reads of the workers, and of the reads of all trials by the other process."""

    claims: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    full_reads: list[float] = field(default_factory=list)


def open_as(way: str, path: Path) -> optuna.Study:
    """Open the study with a way of locking, ALL or WRITERS."""
    open_storage(sqlite_url(path))
    storage = FileStorage(sqlite_url(path), SQLITE_BUSY_SECONDS)
    if way == ALL:

        @event.listens_for(storage.engine, "before_cursor_execute", retval=True)
        def lock(
            _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
        ) -> tuple[str, Any]:
            return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters

    return load_study(storage, STUDY)


def timed(seconds: list[float], call: Callable[[], Any]) -> Any:
    """Call a function, append its duration to `seconds`, and return its result."""
    began = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - began)
    return result


def work(way: str, path: Path, epoch_seconds: float, gate: Any, pipe: Any) -> None:
    """Claim trials and pretend to train until the queue is empty, then send the durations and the claimed indices."""
    study, seconds = open_as(way, path), Seconds()
    claimed: list[int] = []
    gate.wait()
    while True:
        trial = timed(seconds.claims, study.ask)
        index = trial.user_attrs.get(QUEUED)
        for epoch in range(N_EPOCHS if index is not None else 0):
            time.sleep(epoch_seconds)
            trial.report(0.5, epoch)
            timed(seconds.reads, lambda: study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        study.tell(trial, 0.5)
        if index is None:
            pipe.send((seconds, claimed))
            return
        claimed.append(index)


def read_all(way: str, path: Path, epoch_seconds: float, gate: Any, pipe: Any) -> None:
    """Read all trials ten times an epoch until all are finished, then send the durations."""
    study, seconds = open_as(way, path), Seconds()
    gate.wait()
    while True:
        trials = timed(seconds.full_reads, lambda: study.get_trials(deepcopy=False))
        if all(trial.state.is_finished() for trial in trials):
            pipe.send((seconds, []))
            return
        time.sleep(epoch_seconds / 10)


def run_round(way: str, n_trials: int, epoch_seconds: float) -> tuple[Seconds, float]:
    """Run one round; return its durations and its length in seconds.

    Raises RuntimeError if a trial was not claimed exactly once.
    """
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([__name__])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "studies.db"
        study = optuna.create_study(storage=open_storage(sqlite_url(path)), study_name=STUDY)
        for i in range(n_trials):
            study.enqueue_trial({}, user_attrs={QUEUED: i})
        gate = context.Barrier(N_WORKERS + 2)
        pipes, processes = [], []
        for target in (*[work] * N_WORKERS, read_all):
            receiver, sender = context.Pipe()
            processes.append(context.Process(target=target, args=(way, path, epoch_seconds, gate, sender)))
            processes[-1].start()
            pipes.append(receiver)
        gate.wait()
        began = time.perf_counter()
        results = [pipe.recv() for pipe in pipes]
        wall = time.perf_counter() - began
        for process in processes:
            process.join()
    indices = sorted(index for _, claimed in results for index in claimed)
    if indices != list(range(n_trials)):
        raise RuntimeError(f"{way}: {n_trials} trials were queued, and these were claimed: {indices}")
    total = Seconds()
    for seconds, _ in results:
        total.claims += seconds.claims
        total.reads += seconds.reads
        total.full_reads += seconds.full_reads
    return total, wall


def _percentile(seconds: Sequence[float], share: float) -> float:
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def main() -> int:
    """Measure both ways of locking, and print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=80, help="queued trials of a round (default: 80)")
    parser.add_argument("--epoch-seconds", type=float, default=0.5, help="length of a pretended epoch (default: 0.5)")
    args = parser.parse_args()
    rounds: dict[str, list[tuple[Seconds, float]]] = {ALL: [], WRITERS: []}
    for i in range(args.rounds):
        for way in (ALL, WRITERS) if i % 2 == 0 else (WRITERS, ALL):
            rounds[way].append(run_round(way, args.trials, args.epoch_seconds))
    print(f"{N_WORKERS} workers, {args.trials} queued trials, epochs of {args.epoch_seconds} s")
    print(f"medians of {args.rounds} rounds (least to most)\n")
    print(f"{'':24}{ALL:>25}{WRITERS:>25}  ratio")
    for label, measure in _measures():
        values = {way: [measure(*result) for result in rounds[way]] for way in (ALL, WRITERS)}
        cells = [f"{median(figures):.1f} ({min(figures):.1f} to {max(figures):.1f})" for figures in values.values()]
        ratio = median(values[WRITERS]) / median(values[ALL])
        print(f"{label:24}{cells[0]:>25}{cells[1]:>25}{ratio:7.2f}")
    return 0


def _measures() -> Iterator[tuple[str, Callable[[Seconds, float], float]]]:
    """Yield the label of each line of the table, and a function of a round's durations and length for its value."""

    def rate(field_name: str) -> Callable[[Seconds, float], float]:
        return lambda seconds, wall: len(getattr(seconds, field_name)) / wall

    def milliseconds(field_name: str, share: float) -> Callable[[Seconds, float], float]:
        return lambda seconds, _wall: _percentile(getattr(seconds, field_name), share)

    for name, field_name in (("claims", "claims"), ("workers' reads", "reads"), ("looks", "full_reads")):
        yield f"{name} a second", rate(field_name)
        yield "  median, ms", milliseconds(field_name, 0.5)
        yield "  95 % within, ms", milliseconds(field_name, 0.95)


if __name__ == "__main__":
    sys.exit(main())
