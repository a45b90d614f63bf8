"""Run the studies that have no result yet, a few at a time, each in a process of its own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from benchmarks.equal_time.results import StudyResult, append, missing, opened_results, read_results
from benchmarks.equal_time.study import StudyPlan, run_study
from search.engine.process import end_with_parent
from search.errors import FailureError
from search.text import counted, duration
from search.workers.processes import spawn, stop

RunStudy = Callable[[StudyPlan], StudyResult]


def run_missing(plans: Sequence[StudyPlan], path: Path, n_jobs: int, run: RunStudy = run_study) -> None:
    """Run the plans that have no result in the file at `path`, `n_jobs` at a time, and append their results to it.

    Raises InputError as `opened_results` and `read_results` do, and FailureError if a study ends without a result.
    """
    with opened_results(path) as file:
        names = missing([plan.name for plan in plans], read_results(path))
        waiting = [plan for plan in plans if plan.name in names]
        n_missing, n_done, started = len(waiting), 0, time.monotonic()
        running: dict[Any, tuple[StudyPlan, Any]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < n_jobs:
                    plan = waiting.pop(0)
                    receiver, sender = Pipe(duplex=False)
                    running[receiver] = plan, spawn(_work, run, plan, sender)
                    sender.close()  # so that the end of the process is the end of its messages
                for ended in wait(list(running)):
                    plan, process = running[ended]
                    append(file, _received(ended, plan, process))
                    del running[ended]
                    process.join()
                    n_done += 1
                    _report(plan, n_done, n_missing, time.monotonic() - started)
        finally:
            stop([process for _, process in running.values()])


def _received(receiver: Any, plan: StudyPlan, process: Any) -> StudyResult:
    try:
        result: StudyResult = receiver.recv()
    except EOFError as error:
        process.join()
        raise FailureError(
            f"{' '.join(map(str, plan.name))} ended without a result, with exit status {process.exitcode}; the results "
            "of other studies are kept: repeat the command to go on"
        ) from error
    return result


def _report(plan: StudyPlan, n_done: int, n_missing: int, seconds: float) -> None:
    rest = duration(seconds / n_done * (n_missing - n_done))
    print(
        f"{duration(seconds)}  {n_done} of {counted(n_missing, 'study', 'studies')}  {' '.join(map(str, plan.name))}  "
        f"{rest} left",
        file=sys.stderr,
        flush=True,
    )


def _work(run: RunStudy, plan: StudyPlan, sender: Connection) -> None:
    """Run a study in a process that ends with its parent, and send its result."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    sender.send(run(plan))
