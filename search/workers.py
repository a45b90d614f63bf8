"""Run a study in this process or in several side by side; a worker that dies is replaced and its trial queued again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, NoReturn

import optuna
from optuna.trial import TrialState

from search.config import FailureError, InputError, SearchConfig
from search.samplers import Start, make_sampler
from search.study import (
    Objective,
    Stop,
    load_study,
    make_pruner,
    open_storage,
    requeue_lost,
    run_trials,
)

WATCH_SECONDS = 1.0
WORKER_STOP_SECONDS = 30.0
MAX_DEATHS = 10

Watch = Callable[[optuna.Study], None]


@dataclass(frozen=True)
class Task:
    """What a worker needs to join a study; travels to its process. start: as in make_sampler."""

    storage_url: str
    study_name: str
    objective: Objective
    config: SearchConfig
    stop: Stop
    timeout: float | None = None
    start: Start | None = None

    def join_study(self) -> optuna.Study:
        """Open the study with its sampler and pruner."""
        study = load_study(open_storage(self.storage_url), self.study_name)
        study.sampler = make_sampler(self.config.sampler, self.config.seed, self.start)
        study.pruner = make_pruner(self.config.pruner, self.config.epochs)
        return study


class WorkersDiedError(FailureError):
    """Workers died again and again."""


def carry_out(task: Task, n_workers: int, watch: Watch) -> None:
    """Run the study in `n_workers` processes side by side, or in this one if that is all."""
    if n_workers == 1:
        run_here(task, watch)
    else:
        run_side_by_side(task, n_workers, watch)


def run_here(task: Task, watch: Watch) -> None:
    """Run the study in this process; `watch` is called after every trial."""
    study = task.join_study()
    run_trials(study, task.objective, task.config.seed, task.stop, task.timeout, on_trial=watch)


def run_side_by_side(task: Task, n_workers: int, watch: Watch) -> None:
    """Run the study in `n_workers` processes; `watch` is called about every second.

    Raises InputError if a worker found its input unusable, WorkersDiedError after MAX_DEATHS deaths.
    """
    study = task.join_study()
    workers = [spawn(_work, task) for _ in range(n_workers)]
    n_deaths = 0
    try:
        while workers:
            wait([worker.sentinel for worker in workers], timeout=WATCH_SECONDS)
            watch(study)
            for worker in [worker for worker in workers if not worker.is_alive()]:
                workers.remove(worker)
                if worker.exitcode == 2:
                    raise InputError("a worker could not go on (its reason stands above)")
                if worker.exitcode != 0:
                    n_deaths += 1
                    _bury(study, worker.pid)
                    if n_deaths >= MAX_DEATHS:
                        raise WorkersDiedError(f"{n_deaths} workers died; the last with exit code {worker.exitcode}")
                    workers.append(spawn(_work, task))
    finally:
        _stop(workers)
    watch(study)


def spawn(work: Callable[..., None], *arguments: object) -> Any:
    """Start a process that Ctrl-C does not reach: it goes to the whole group, and the main process ends the others.

    It must be deaf from birth: it inherits that.
    """
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, previous)
    return process


def _work(task: Task) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        run_trials(task.join_study(), task.objective, task.config.seed, task.stop, task.timeout)
    except KeyboardInterrupt:
        sys.exit(130)
    except InputError as error:
        print(f"search.py: {error}", file=sys.stderr)
        sys.exit(2)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def end_with_parent() -> None:
    """A worker whose main process was killed must not train on unseen."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _bury(study: optuna.Study, pid: int | None) -> None:
    """Mark the trial of a dead worker as failed and queue it again."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get("worker") == pid:
            study.tell(trial.number, state=TrialState.FAIL)
    requeue_lost(study, running_are_lost=False)


def _stop(workers: list[Any]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(WORKER_STOP_SECONDS)
        if worker.is_alive():
            worker.kill()
            worker.join()
