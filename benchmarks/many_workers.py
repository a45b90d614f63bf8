"""Measure how many workers one PostgreSQL server serves, behind PgBouncer or without it.

    python -m benchmarks.many_workers --storage postgresql://USER@HOST:PORT/DATABASE [--workers 120] [--trials 600]

The workers do everything that those of a search do, except the training: each trial suggests twenty numbers and waits
for five epochs. A worker is a thread with its own storage, in one of eight processes. One of these processes is killed
(kill -9) while all its workers are in a training, and the others must notice it. Then the study is checked: numbers
have no gap, every index is decided once, every abandoned trial is requeued once, and the total is as requested.

The connections that are printed are those of the server to the database, also if PORT is that of PgBouncer. The study
stays in the database, so name one that may be filled.
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

from search.sampling.samplers import make_sampler
from search.storage.open import open_storage
from search.study.attributes import INDEX, OUTCOME, RETRY_OF
from search.study.loop import StopRule, n_trained, run_trials
from search.study.study import load_study, open_study
from search.study.trials import FINISHED, outcome_of
from search.workers.recovery import Recovery, requeue_with_lock

N_PROCESSES = 8
N_EPOCHS = 5
_POLL_SECONDS = 0.5
_N_CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
)


@dataclass(frozen=True)
class Crowd:
    """Workers that only pretend to train; `n_killed` of them share a process that is killed. grace: in seconds."""

    n_workers: int
    n_killed: int
    n_trials: int
    n_processes: int = N_PROCESSES
    n_suggestions: int = 20
    epoch_seconds: float = 1.0
    grace: int = 15

    def sizes(self) -> list[int]:
        """Return the number of workers of each process that is not killed."""
        n_workers, n_processes = self.n_workers - self.n_killed, self.n_processes - 1
        return [n_workers // n_processes + (i < n_workers % n_processes) for i in range(n_processes)]


@dataclass(frozen=True)
class Outcome:
    """Result of a crowd's study; numbers of trials and connections are the largest at any time."""

    study: optuna.Study
    errors: list[str]
    seconds: float
    n_at_once: int
    n_connections: int


def pretend(trial: optuna.Trial, crowd: Crowd) -> float:
    """Make the same requests to the storage as the objective of a search, without a training."""
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
    """Run `n_threads` workers, each with its own storage, until the study has its trials."""
    _side_by_side(n_threads, lambda: _run(url, name, crowd, lambda trial: pretend(trial, crowd)))


def never_end(url: str, name: str, n_threads: int, crowd: Crowd, pipe: Any) -> None:
    """Run `n_threads` workers that never end their first training, and send the numbers of their trials."""

    def train(trial: optuna.Trial) -> float:
        _suggest(trial, crowd)
        trial.report(0.5, 1)
        pipe.send(trial.number)
        threading.Event().wait()
        return 0.0

    _side_by_side(n_threads, lambda: _run(url, name, crowd, train))


def _run(url: str, name: str, crowd: Crowd, objective: Callable[[optuna.Trial], float]) -> None:
    study = load_study(open_storage(url, crowd.grace, requeue_with_lock), name)
    study.sampler = make_sampler("random", 0)
    worker = f"{os.getpid()}-{secrets.token_hex(4)}"
    run_trials(study, objective, 0, StopRule(crowd.n_trials), worker=worker)


def _side_by_side(n_threads: int, run: Callable[[], None]) -> None:
    threads = [threading.Thread(target=run) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_crowd(url: str, crowd: Crowd) -> Outcome:
    """Run one study in the storage at `url`, and check it."""
    name = f"many-{secrets.token_hex(3)}"
    study = open_study(open_storage(url, crowd.grace, requeue_with_lock), name, {"workers": crowd.n_workers})
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([__name__])
    receiver: Any
    receiver, sender = context.Pipe()
    victim = context.Process(target=never_end, args=(url, name, crowd.n_killed, crowd, sender))
    others = [context.Process(target=work, args=(url, name, size, crowd)) for size in crowd.sizes()]
    recovery = Recovery(study, is_shared=True, grace=crowd.grace)
    watcher = create_engine(url, poolclass=NullPool, connect_args={"prepare_threshold": None})
    n_connections = n_at_once = n_in_training = 0
    began = time.monotonic()
    for process in (victim, *others):
        process.start()
    while sentinels := [process.sentinel for process in (victim, *others) if process.is_alive()]:
        for ready in wait([*sentinels, receiver], timeout=_POLL_SECONDS):
            if isinstance(ready, Connection):
                ready.recv()
                n_in_training += 1
        if n_in_training == crowd.n_killed:
            victim.kill()
        recovery()
        with watcher.connect() as connection:
            n_connections = max(n_connections, connection.execute(_N_CONNECTIONS).scalar_one())
        trials = study.get_trials(deepcopy=False)
        n_at_once = max(n_at_once, sum(trial.state.name == "RUNNING" for trial in trials))
    seconds = time.monotonic() - began
    recovery.wait_for_others(lambda _study: None)
    errors = _errors(study, crowd)
    errors += [f"{process.name} ended with {process.exitcode}" for process in others if process.exitcode]
    return Outcome(study, errors, seconds, n_at_once, n_connections)


def _errors(study: optuna.Study, crowd: Crowd) -> list[str]:
    """Return messages about the properties of the study that do not hold."""
    trials = study.get_trials(deepcopy=False)
    index_counts = Counter(trial.user_attrs[INDEX] for trial in trials if outcome_of(trial))
    abandoned = sorted(trial.number for trial in trials if trial.state.name == "FAIL")
    requeued = sorted(trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs)
    n_running = sum(trial.state.name == "RUNNING" for trial in trials)
    checks = {
        "numbers have gaps": [trial.number for trial in trials] != list(range(len(trials))),
        "indices decided more than once": any(n > 1 for n in index_counts.values()),
        f"abandoned {abandoned}, requeued {requeued}": abandoned != requeued or len(abandoned) < crowd.n_killed,
        f"{n_trained(trials)} trained": not crowd.n_trials <= n_trained(trials) < crowd.n_trials + crowd.n_workers,
        f"left running: {n_running}": n_running > 0,
    }
    return [message for message, is_error in checks.items() if is_error]


def main() -> int:
    """Run one study, and print the measurements; return the exit status."""
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
    print(f"{sum(RETRY_OF in trial.user_attrs for trial in trials)} trials abandoned and requeued")
    print(f"connections of the PostgreSQL server: at most {outcome.n_connections}")
    print("errors:", "; ".join(outcome.errors) or "none")
    return 1 if outcome.errors else 0


if __name__ == "__main__":
    sys.exit(main())
