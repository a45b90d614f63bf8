"""Measure how fast workers claim and read the trials of one SQLite study.

    python -m benchmarks.storage_claims [--rounds 5] [--trials 80] [--epoch-seconds 0.5]

Two ways of locking side by side, round by round in turn, so that what else the machine does meets both:

    all lock       every transaction takes the write lock at its beginning (as before 2026-11-30)
    writers lock   only those that write do (search/storage/sqlite.py)

A round is a new study with queued trials and 16 workers, processes with a storage of their own that only pretend to
train: they claim a trial, wait through five epochs, report each, and then read the trials that are done, as a pruner
does. One more process reads all trials again and again, as the dashboard does. With --epoch-seconds 0 nobody waits, and
the processors are what there is too little of. Afterwards every queued trial must have been claimed
once.
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
    """Durations of each claim and each read."""

    claims: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)


def open_as(way: str, path: Path) -> optuna.Study:
    """Open the study with that way of locking."""
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
    """Call, and note how long it took."""
    began = time.perf_counter()
    found = call()
    seconds.append(time.perf_counter() - began)
    return found


def work(way: str, path: Path, epoch_seconds: float, gate: Any, told: Any) -> None:
    """Claim and pretend until the queue is empty."""
    study, seconds = open_as(way, path), Seconds()
    places: list[int] = []
    gate.wait()
    while True:
        trial = timed(seconds.claims, study.ask)
        place = trial.user_attrs.get(QUEUED)
        for epoch in range(N_EPOCHS if place is not None else 0):
            time.sleep(epoch_seconds)
            trial.report(0.5, epoch)
            timed(seconds.reads, lambda: study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        study.tell(trial, 0.5)
        if place is None:
            told.send((seconds, places))
            return
        places.append(place)


def look(way: str, path: Path, epoch_seconds: float, gate: Any, told: Any) -> None:
    """Read everything, ten times an epoch, until everybody else is done."""
    study, seconds = open_as(way, path), Seconds()
    gate.wait()
    while True:
        trials = timed(seconds.looks, lambda: study.get_trials(deepcopy=False))
        if all(trial.state.is_finished() for trial in trials):
            told.send((seconds, []))
            return
        time.sleep(epoch_seconds / 10)


def run_round(way: str, n_trials: int, epoch_seconds: float) -> tuple[Seconds, float]:
    """Run one round; its seconds, and how long it took."""
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([__name__])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "studies.db"
        study = optuna.create_study(storage=open_storage(sqlite_url(path)), study_name=STUDY)
        for i in range(n_trials):
            study.enqueue_trial({}, user_attrs={QUEUED: i})
        gate = context.Barrier(N_WORKERS + 2)
        pipes, processes = [], []
        for target in (*[work] * N_WORKERS, look):
            ours, theirs = context.Pipe()
            processes.append(context.Process(target=target, args=(way, path, epoch_seconds, gate, theirs)))
            processes[-1].start()
            pipes.append(ours)
        gate.wait()
        began = time.perf_counter()
        answers = [pipe.recv() for pipe in pipes]
        took = time.perf_counter() - began
        for process in processes:
            process.join()
    places = sorted(place for _, claimed in answers for place in claimed)
    if places != list(range(n_trials)):
        raise RuntimeError(f"{way}: {n_trials} trials were queued, and these were claimed: {places}")
    found = Seconds()
    for seconds, _ in answers:
        found.claims += seconds.claims
        found.reads += seconds.reads
        found.looks += seconds.looks
    return found, took


def _percentile(seconds: Sequence[float], share: float) -> float:
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=80, help="queued in a round (default: 80)")
    parser.add_argument("--epoch-seconds", type=float, default=0.5, help="of a pretended training (default: 0.5)")
    args = parser.parse_args()
    rounds: dict[str, list[tuple[Seconds, float]]] = {ALL: [], WRITERS: []}
    for i in range(args.rounds):
        for way in (ALL, WRITERS) if i % 2 == 0 else (WRITERS, ALL):
            rounds[way].append(run_round(way, args.trials, args.epoch_seconds))
    print(f"{N_WORKERS} workers, {args.trials} queued trials, epochs of {args.epoch_seconds} s")
    print(f"medians of {args.rounds} rounds (least to most)\n")
    print(f"{'':24}{ALL:>25}{WRITERS:>25}  ratio")
    for label, measure in _measures():
        values = {way: [measure(*one) for one in rounds[way]] for way in (ALL, WRITERS)}
        cells = [f"{median(one):.1f} ({min(one):.1f} to {max(one):.1f})" for one in values.values()]
        ratio = median(values[WRITERS]) / median(values[ALL])
        print(f"{label:24}{cells[0]:>25}{cells[1]:>25}{ratio:7.2f}")
    return 0


def _measures() -> Iterator[tuple[str, Callable[[Seconds, float], float]]]:
    """Yield what each line shows, and how it is found from a round's seconds and its length."""
    for name, of in (("claims", "claims"), ("workers' reads", "reads"), ("looks", "looks")):
        yield f"{name} a second", lambda seconds, took, of=of: len(getattr(seconds, of)) / took  # type: ignore[misc]
        yield "  median, ms", lambda seconds, _, of=of: _percentile(getattr(seconds, of), 0.5)  # type: ignore[misc]
        yield "  95 % within, ms", lambda seconds, _, of=of: _percentile(getattr(seconds, of), 0.95)  # type: ignore[misc]


if __name__ == "__main__":
    sys.exit(main())
