"""Run a study in this process or in several side by side; a worker that dies is replaced and its trial queued again."""

from __future__ import annotations

import os
import platform
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, NoReturn

import optuna

from search.config import SearchConfig
from search.engine.process import end_with_parent
from search.errors import FailureError, InputError, explained
from search.sampling.samplers import Start, make_sampler
from search.storage.open import GRACE_SECONDS, open_storage
from search.storage.url import is_server
from search.study.loop import Objective, Stop, n_trained, run_trials
from search.study.pruner import make_pruner
from search.study.study import load_study
from search.workers.processes import UNREPORTED, make_sure, spawn, stop
from search.workers.recovery import WATCH_SECONDS, Recovery, queue_again

# With no trial finished in between.
MAX_DEATHS = 10
# How a worker ends that has said why it cannot go on.
UNUSABLE_INPUT, FAULT = 2, 3

Watch = Callable[[optuna.Study], None]


@dataclass(frozen=True)
class Task:
    """Settings with which a worker process joins a study. start as in make_sampler, grace as in open_storage."""

    storage_url: str
    study_name: str
    objective: Objective
    config: SearchConfig
    stop: Stop
    timeout: float | None = None
    start: Start | None = None
    grace: int = GRACE_SECONDS

    @property
    def is_shared(self) -> bool:
        """Return whether other machines may work on the same study."""
        return is_server(self.storage_url)

    def join_study(self) -> optuna.Study:
        """Open the study with its sampler and pruner."""
        study = load_study(open_storage(self.storage_url, self.grace, queue_again), self.study_name)
        study.sampler = make_sampler(self.config.sampler, self.config.seed, self.start)
        study.pruner = make_pruner(self.config.pruner, self.config.epochs)
        return study

    def work(self, study: optuna.Study, worker: str, watch: Watch | None = None) -> None:
        """Run trials in this process; `watch` is called after every one."""
        run_trials(study, self.objective, self.config.seed, self.stop, self.timeout, watch, worker)


@dataclass(frozen=True)
class _Worker:
    name: str
    process: Any


class WorkersDiedError(FailureError):
    """Workers died again and again."""


def carry_out(task: Task, n_workers: int, watch: Watch) -> None:
    """Run the study in `n_workers` processes side by side, or in this one if that is all.

    Where other machines work on it too, wait at its end for those. What was interrupted is queued again.
    """
    study = task.join_study()
    recovery = Recovery(study, is_shared=task.is_shared, grace=task.grace)
    try:
        if n_workers == 1:
            run_here(task, study, recovery, watch)
        else:
            run_side_by_side(task, n_workers, study, recovery, watch)
        if task.stop.is_reached(study):
            recovery.wait_for_others(watch)
    except KeyboardInterrupt:
        recovery.finish()
        raise
    recovery.finish()


def run_here(task: Task, study: optuna.Study, recovery: Recovery, watch: Watch) -> None:
    """Run the study in this process; `watch` is called after every trial."""

    def after(study: optuna.Study) -> None:
        recovery()
        watch(study)

    task.work(study, worker_name(task, os.getpid(), secrets.token_hex(4)), after)


def run_side_by_side(task: Task, n_workers: int, study: optuna.Study, recovery: Recovery, watch: Watch) -> None:
    """Run the study in `n_workers` processes; `watch` is called about every second.

    Raises InputError if a worker found its input unusable, or if the database or the disk failed it (on a server after
    MAX_DEATHS in a row, as one connection may fail alone), WorkersDiedError after as many deaths.
    """
    workers: list[_Worker] = []
    n_deaths = n_done = 0
    try:
        for _ in range(n_workers):
            workers.append(_hire(task))
        while workers:
            wait([worker.process.sentinel for worker in workers], timeout=WATCH_SECONDS)
            watch(study)
            ended = [worker for worker in workers if not worker.process.is_alive()]
            workers = [worker for worker in workers if worker not in ended]
            dead = [worker for worker in ended if worker.process.exitcode]
            for worker in dead:
                _check(worker.process.exitcode, may_pass=task.is_shared and n_deaths < MAX_DEATHS - 1)
                make_sure(worker.process)
                recovery.worker_died(worker.name)
            if dead:
                # Those that end together, as with the server that they were forked from, are one death.
                trained = n_trained(study.get_trials(deepcopy=False))
                n_deaths = n_deaths + 1 if trained == n_done else 1
                n_done = trained
                if n_deaths >= MAX_DEATHS:
                    raise WorkersDiedError(_dead(n_deaths, dead[-1].process.exitcode))
            workers += [_hire(task) for _ in dead]
            recovery()
    finally:
        stop([worker.process for worker in workers])
    watch(study)


def _check(exitcode: int, *, may_pass: bool) -> None:
    if exitcode == UNUSABLE_INPUT or (exitcode == FAULT and not may_pass):
        raise InputError("a worker could not go on (its reason stands above); what is done is kept")


def _dead(n_deaths: int, exitcode: int) -> str:
    is_killed = exitcode in (-signal.SIGKILL, UNREPORTED)
    memory = "; killed, perhaps for want of memory: try fewer --jobs" if is_killed else ""
    return f"workers died {n_deaths} times in a row; the last with exit code {exitcode}{memory}"


def worker_name(task: Task, pid: int, token: str) -> str:
    """Return a name that no other worker has; on a server it begins with the name of the machine."""
    return f"{platform.node()}/{pid}-{token}" if task.is_shared else f"{pid}-{token}"


def _hire(task: Task) -> _Worker:
    # The token is made here, so that the name is known of one that dies before it has said anything.
    token = secrets.token_hex(4)
    process = spawn(_work, task, token)
    return _Worker(worker_name(task, process.pid, token), process)


def _work(task: Task, token: str) -> None:
    """Run trials in a worker process until the study is done."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        task.work(task.join_study(), worker_name(task, os.getpid(), token))
    except KeyboardInterrupt:
        sys.exit(130)
    except InputError as error:
        _give_up(str(error), UNUSABLE_INPUT)
    except Exception as error:
        message = explained(error)
        if message is None:
            raise
        _give_up(message, FAULT)


def _give_up(message: str, exitcode: int) -> NoReturn:
    print(f"search.py: {message}", file=sys.stderr)
    sys.exit(exitcode)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
