"""Measure how many workers one PostgreSQL server serves, behind PgBouncer or without it.

    python -m benchmarks.many_workers --storage postgresql://USER@HOST:PORT/DATABASE [--workers 120] [--trials 600]

Starts so many workers as a search has them, but for the training: each trial suggests twenty numbers and waits through
five epochs. Each worker is a thread with a storage of its own, in one of eight processes. One of those is killed
(kill -9) when each of its workers is amid a training, which the others are to notice. Then the study is checked:
numbers without a gap, every place decided once, every lost trial queued again once, and the total as asked for.

The connections are those of the server to that database, also where PORT is PgBouncer's. The study stays in the
database; name one that may be filled.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import optuna
from sqlalchemy import NullPool, create_engine, text

from search.storage.open import open_storage
from search.study.attributes import INDEX, OUTCOME, RETRY_OF
from search.study.loop import StopRule, n_trained, run_trials
from search.study.study import load_study, open_study
from search.study.trials import FINISHED, outcome_of
from search.workers.recovery import Recovery, requeue_with_lock

N_PROCESSES = 8
N_EPOCHS = 5
_LOOK_SECONDS = 0.5
_N_CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
)


@dataclass(frozen=True)
class Crowd:
    """Workers that only pretend to train. n_killed of them share a process, which is killed; grace: in seconds."""

    n_workers: int
    n_killed: int
    n_trials: int
    n_processes: int = N_PROCESSES
    n_suggestions: int = 20
    epoch_seconds: float = 1.0
    grace: int = 15

    def sizes(self) -> list[int]:
        """Return the number of workers of each process that is not killed."""
        left, n_left = self.n_workers - self.n_killed, self.n_processes - 1
        return [left // n_left + (i < left % n_left) for i in range(n_left)]


@dataclass(frozen=True)
class Outcome:
    """Result of a crowd's study. The numbers of trials and connections are the most that were seen at a time."""

    study: optuna.Study
    faults: list[str]
    seconds: float
    n_at_once: int
    n_connections: int


def pretend(trial: optuna.Trial, crowd: Crowd) -> float:
    """Tell the storage what a trial tells it, without the training."""
    _suggest(trial, crowd)
    for epoch in range(1, N_EPOCHS + 1):
        time.sleep(crowd.epoch_seconds)
        trial.report(epoch / N_EPOCHS, epoch)
        trial.should_prune()
    trial.set_user_attr(OUTCOME, FINISHED)
    return 1.0


def _suggest(trial: optuna.Trial, crowd: Crowd) -> None:
    for i in range(crowd.n_suggestions):
        trial.suggest_float(f"x{i}", 0.0, 1.0)


def work(url: str, name: str, n_threads: int, crowd: Crowd) -> None:
    """Run so many workers, each with a storage of its own."""
    _side_by_side(n_threads, lambda seed: _run(url, name, crowd, lambda trial: pretend(trial, crowd), seed))


def never_end(url: str, name: str, n_threads: int, crowd: Crowd, told: Any) -> None:
    """Run so many workers that stay in their first training; each tells its trial's number."""

    def train(trial: optuna.Trial) -> float:
        _suggest(trial, crowd)
        trial.report(0.5, 1)
        told.send(trial.number)
        threading.Event().wait()
        return 0.0

    _side_by_side(n_threads, lambda seed: _run(url, name, crowd, train, seed))


def _run(url: str, name: str, crowd: Crowd, objective: Callable[[optuna.Trial], float], seed: int) -> None:
    study = load_study(open_storage(url, crowd.grace, requeue_with_lock), name)
    study.sampler = optuna.samplers.RandomSampler(seed)
    worker = f"{os.getpid()}-{secrets.token_hex(4)}"
    run_trials(study, objective, 0, StopRule(crowd.n_trials), worker=worker)


def _side_by_side(n_threads: int, one: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=one, args=(os.getpid() * 1000 + i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_crowd(url: str, crowd: Crowd) -> Outcome:
    """Run one study through `url` and check it."""
    name = f"many-{secrets.token_hex(3)}"
    study = open_study(open_storage(url, crowd.grace, requeue_with_lock), name, {"workers": crowd.n_workers})
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([__name__])
    ours: Any
    ours, theirs = context.Pipe()
    victim = context.Process(target=never_end, args=(url, name, crowd.n_killed, crowd, theirs))
    others = [context.Process(target=work, args=(url, name, size, crowd)) for size in crowd.sizes()]
    recovery = Recovery(study, is_shared=True, grace=crowd.grace)
    watcher = create_engine(url, poolclass=NullPool, connect_args={"prepare_threshold": None})
    n_connections = n_at_once = n_told = 0
    began = time.monotonic()
    for process in (victim, *others):
        process.start()
    while waited := [process.sentinel for process in (victim, *others) if process.is_alive()]:
        for ready in wait([*waited, ours], timeout=_LOOK_SECONDS):
            if isinstance(ready, Connection):
                ready.recv()
                n_told += 1
        if n_told == crowd.n_killed:
            victim.kill()
        recovery()
        with watcher.connect() as connection:
            n_connections = max(n_connections, connection.execute(_N_CONNECTIONS).scalar_one())
        trials = study.get_trials(deepcopy=False)
        n_at_once = max(n_at_once, sum(trial.state.name == "RUNNING" for trial in trials))
    seconds = time.monotonic() - began
    recovery.wait_for_others(lambda _study: None)
    found = _faults(study, crowd)
    found += [f"{process.name} ended with {process.exitcode}" for process in others if process.exitcode]
    return Outcome(study, found, seconds, n_at_once, n_connections)


def _faults(study: optuna.Study, crowd: Crowd) -> list[str]:
    """Return what does not hold of the study."""
    trials = study.get_trials(deepcopy=False)
    places = Counter(trial.user_attrs[INDEX] for trial in trials if outcome_of(trial))
    lost = sorted(trial.number for trial in trials if trial.state.name == "FAIL")
    retried = sorted(trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs)
    n_running = sum(trial.state.name == "RUNNING" for trial in trials)
    checks = {
        "numbers have gaps": [trial.number for trial in trials] != list(range(len(trials))),
        "places decided more than once": any(n > 1 for n in places.values()),
        f"lost {lost}, queued again {retried}": lost != retried or len(lost) < crowd.n_killed,
        f"{n_trained(trials)} trained": not crowd.n_trials <= n_trained(trials) < crowd.n_trials + crowd.n_workers,
        f"left running: {n_running}": n_running > 0,
    }
    return [words for words, is_fault in checks.items() if is_fault]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True, help="postgresql://... of a server, or of PgBouncer before it")
    parser.add_argument("--workers", type=int, default=120)
    parser.add_argument("--trials", type=int, default=600)
    args = parser.parse_args()
    crowd = Crowd(args.workers, -(-args.workers // N_PROCESSES), args.trials)
    outcome = run_crowd(args.storage, crowd)
    trials = outcome.study.get_trials(deepcopy=False)
    print(f"{args.workers} workers in {N_PROCESSES} processes, at most {outcome.n_at_once} trials at the same time")
    print(
        f"{n_trained(trials)} trials of {N_EPOCHS} epochs in {outcome.seconds:.0f} s, {crowd.n_killed} workers killed"
    )
    print(f"{sum(RETRY_OF in trial.user_attrs for trial in trials)} trials lost and queued again")
    print(f"connections of the PostgreSQL server: at most {outcome.n_connections}")
    print("faults:", "; ".join(outcome.faults) or "none")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
