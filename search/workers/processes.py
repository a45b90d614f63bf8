"""Worker processes: how they start, and that they end with the process that started them.

On Linux they are forked from a server that has imported what they need, once. So they start at once, share the memory
that it takes (figures in benchmarks/README.md), and run the code that was there when the first of them started,
whatever is edited while a study runs. Elsewhere, and where there can be no server, each is an interpreter of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 30.0
# What multiprocessing says of a process whose end its server, having been killed, could not report.
UNREPORTED = 255
_NEEDED = ("objective", "search.workers.pool")


def spawn(work: Callable[..., None], *arguments: object) -> Any:
    """Start a process that Ctrl-C does not reach: it goes to the whole group, and the main process ends the others."""
    if sys.platform == "linux":
        # No server, as where the folder of temporary files has too long a name for a socket.
        with suppress(OSError, EOFError):
            return _forked(work, arguments)
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    with _deaf():
        process.start()
    return process


def _forked(work: Callable[..., None], arguments: tuple[object, ...]) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_NEEDED))
    with _deaf(), _where_this_project_is():
        forkserver.ensure_running()
    process = context.Process(target=work, args=arguments)
    process.start()  # waits until the server has imported all that
    return process


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that start here ignore Ctrl-C from birth, and all that they start."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _where_this_project_is() -> Iterator[None]:
    """Let processes that start here find the project's modules, and take no file of the working folder for one."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    ours = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    before = {name: os.environ[name] for name in ours if name in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(before)


def make_sure(process: Any) -> None:
    """See that a process that is taken for dead is: where the server was killed nobody knows."""
    if process.exitcode == UNREPORTED:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def stop(processes: list[Any]) -> None:
    """Ask them to end, and see that they do."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
