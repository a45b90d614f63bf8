"""Run a study in this process or in several side by side; replace workers that die, and requeue their trials."""

from __future__ import annotations

import os
import platform
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn, Protocol

import optuna

from search.config import SearchConfig
from search.cores import n_cores
from search.engine.process import end_with_parent
from search.errors import FailureError, InputError, explanation
from search.sampling.exhaustion import Exhaustion
from search.sampling.proposals import Start
from search.sampling.samplers import make_sampler
from search.storage.open import GRACE_SECONDS, open_storage
from search.storage.url import is_server
from search.study.loop import Stop, n_trained, run_trials
from search.study.pruner import make_pruner
from search.study.study import load_study
from search.study.training import RecordedTraining
from search.study.training_report import OnReport, TrainingReport, ignore_report
from search.workers.cores import CoresEach
from search.workers.processes import UNREPORTED, kill_unreported, spawn, stop
from search.workers.recovery import WATCH_SECONDS, Recovery, requeue_with_lock

# Deaths in a row, with no trial finished in between.
MAX_DEATHS = 10
# Exit codes of a worker that has printed why it cannot continue.
INPUT_ERROR, SYSTEM_ERROR = 2, 3

Watch = Callable[[optuna.Study], None]


class Objective(Protocol):
    """Protocol of the objective of a task, whose `training` reports the state of a training in progress."""

    training: RecordedTraining

    def __call__(self, trial: optuna.Trial) -> float:
        """Train the candidate of a trial, and return its value."""


@dataclass(frozen=True)
class Task:
    """Settings with which a worker process joins a study.

    stop        when enough trials are trained; no worker begins another trial then
    start       as in search.sampling.samplers.make_sampler
    grace       as in search.storage.open.open_storage
    exhaustion  called after every trial, to end a search whose candidates are all tried
    """

    storage_url: str
    study_name: str
    objective: Objective
    config: SearchConfig
    stop: Stop
    timeout: float | None = None
    start: Start | None = None
    grace: int = GRACE_SECONDS
    exhaustion: Exhaustion | None = None

    @property
    def is_shared(self) -> bool:
        """Return whether other machines may work on the same study."""
        return is_server(self.storage_url)

    def join_study(self) -> optuna.Study:
        """Open the study with its sampler and pruner."""
        study = load_study(open_storage(self.storage_url, self.grace, requeue_with_lock), self.study_name)
        study.sampler = make_sampler(self.config.sampler, self.config.seed, self.start)
        study.pruner = make_pruner(self.config.pruner, self.config.epochs)
        return study

    def work(
        self,
        study: optuna.Study,
        worker: str,
        on_report: OnReport,
        n_threads: Callable[[], int],
        watch: Watch | None = None,
    ) -> None:
        """Run trials in this process. Call `watch` after each of them, and `on_report` during their trainings.

        n_threads: returns the number of threads that a training may use at the moment
        """
        self.objective.training.on_report = on_report
        self.objective.training.n_threads = n_threads

        def after_trial(study: optuna.Study) -> None:
            if self.exhaustion:
                self.exhaustion(study)
            if watch:
                watch(study)

        run_trials(study, self.objective, self.config.seed, self.stop, self.timeout, after_trial, worker)


@dataclass(frozen=True)
class Worker:
    """Worker process with its name, which its trials record, and the pipe of its reports."""

    name: str
    process: Any
    pipe: Connection

    def pass_on_reports(self, on_report: OnReport) -> None:
        """Call `on_report` with the reports that have arrived."""
        with suppress(EOFError, OSError):  # the worker has ended
            while self.pipe.poll():
                on_report(self.pipe.recv())


class WorkersDiedError(FailureError):
    """Raised after MAX_DEATHS deaths of workers in a row."""


def carry_out(task: Task, n_workers: int, watch: Watch, on_report: OnReport = ignore_report) -> None:
    """Run a study in `n_workers` processes side by side; a single worker runs in this process.

    The trainings share the cores: one that is alone, as the last one of a study, uses all of them.

    `watch` is called about every second, by a single worker after every trial, and `on_report` with the reports of the
    trainings. On a server, wait at the end for the trials of other machines. Interrupted trials are requeued.
    """
    study = task.join_study()
    recovery = Recovery(study, is_shared=task.is_shared, grace=task.grace)
    try:
        if n_workers == 1:
            run_here(task, study, recovery, watch, on_report)
        else:
            run_side_by_side(task, n_workers, study, recovery, watch, on_report)
        if task.stop.is_reached(study):
            recovery.wait_for_others(watch)
    except KeyboardInterrupt:
        recovery.finish()
        raise
    recovery.finish()


def run_here(task: Task, study: optuna.Study, recovery: Recovery, watch: Watch, on_report: OnReport) -> None:
    """Run a study in this process; see carry_out."""

    def recover_and_watch(study: optuna.Study) -> None:
        recovery()
        watch(study)

    cores = n_cores()
    name = worker_name(task, os.getpid(), secrets.token_hex(4))
    task.work(study, name, on_report, lambda: cores, recover_and_watch)


def run_side_by_side(
    task: Task, n_workers: int, study: optuna.Study, recovery: Recovery, watch: Watch, on_report: OnReport
) -> None:
    """Run a study in `n_workers` processes; see carry_out.

    Raises InputError if the input of a worker is unusable, or if its database or disk failed. On a server the latter
    is raised after MAX_DEATHS failures in a row, because one connection may fail alone. Raises WorkersDiedError after
    MAX_DEATHS deaths in a row.
    """
    workers: list[Worker] = []
    cores_each = CoresEach()
    cores_each.divide_among(n_workers)
    n_deaths = n_done = 0
    try:
        for _ in range(n_workers):
            workers.append(_start_worker(task, cores_each))
        while workers:
            wait([worker.process.sentinel for worker in workers], timeout=WATCH_SECONDS)
            for worker in workers:
                worker.pass_on_reports(on_report)
            watch(study)
            ended = [worker for worker in workers if not worker.process.is_alive()]
            workers = [worker for worker in workers if worker not in ended]
            for worker in ended:
                worker.pipe.close()
            dead = [worker for worker in ended if worker.process.exitcode]
            for worker in dead:
                _check_exit_code(worker.process.exitcode, may_retry=task.is_shared and n_deaths < MAX_DEATHS - 1)
                kill_unreported(worker.process)
                recovery.worker_died(worker.name)
            if dead:
                # Workers that end together, for example because their fork server was killed, count as one death.
                trained = n_trained(study.get_trials(deepcopy=False))
                n_deaths = n_deaths + 1 if trained == n_done else 1
                n_done = trained
                if n_deaths >= MAX_DEATHS:
                    raise WorkersDiedError(_deaths_message(n_deaths, dead[-1].process.exitcode))
            workers += [_start_worker(task, cores_each) for _ in dead]
            cores_each.divide_among(len(workers))
            recovery()
    finally:
        stop([worker.process for worker in workers])
    watch(study)


def _check_exit_code(exit_code: int, *, may_retry: bool) -> None:
    """Raise InputError for an exit code that a new worker would have as well."""
    if exit_code == INPUT_ERROR or (exit_code == SYSTEM_ERROR and not may_retry):
        raise InputError("a worker could not continue, for the reason printed above; finished trials are kept")


def _deaths_message(n_deaths: int, exit_code: int) -> str:
    is_killed = exit_code in (-signal.SIGKILL, UNREPORTED)
    memory = " (killed, perhaps for lack of memory: try fewer --jobs)" if is_killed else ""
    return f"workers died {n_deaths} times in a row, the last one with exit code {exit_code}{memory}"


def worker_name(task: Task, pid: int, token: str) -> str:
    """Return a unique name for a worker; on a server it begins with the name of the machine."""
    return f"{platform.node()}/{pid}-{token}" if task.is_shared else f"{pid}-{token}"


def _start_worker(task: Task, cores_each: CoresEach) -> Worker:
    # The token is made here, so that the name is known even if the worker dies before it has recorded it.
    token = secrets.token_hex(4)
    receiver, sender = Pipe(duplex=False)
    process = spawn(_run_worker, task, token, sender, cores_each)
    sender.close()  # the worker has a copy
    return Worker(worker_name(task, process.pid, token), process, receiver)


def _run_worker(task: Task, token: str, pipe: Connection, cores_each: CoresEach) -> None:
    """Run trials in a worker process until the study is done."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        task.work(task.join_study(), worker_name(task, os.getpid(), token), sender_of(pipe), cores_each)
    except KeyboardInterrupt:
        sys.exit(130)
    except InputError as error:
        _exit(str(error), INPUT_ERROR)
    except Exception as error:
        message = explanation(error)
        if message is None:
            raise
        _exit(message, SYSTEM_ERROR)


def sender_of(pipe: Connection) -> OnReport:
    """Return a function that sends reports through a pipe, and drops those for which there is no room."""
    if os.name == "posix":
        os.set_blocking(pipe.fileno(), False)  # a pipe takes a message of this size as a whole or not at all

    def send(report: TrainingReport) -> None:
        with suppress(OSError):  # the main process is too busy to read, or has ended
            pipe.send(report)

    return send


def _exit(message: str, exit_code: int) -> NoReturn:
    print(f"search.py: {message}", file=sys.stderr)
    sys.exit(exit_code)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
