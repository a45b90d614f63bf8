"""Start worker processes, and stop them.

On Linux workers are forked from a server process that has imported their modules once. So they start at once, share the
memory of those modules (figures in benchmarks/README.md), and run the code of the moment when the server started,
even if files are edited while a study runs. On other systems, and where no server can start, every worker is a new
interpreter.
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
# The exit code that multiprocessing reports for a process whose fork server was killed before the process ended.
UNREPORTED = 255
_PRELOADED = ("objective", "search.workers.pool")


def spawn(work: Callable[..., None], *arguments: object) -> Any:
    """Start a process that ignores Ctrl-C, and return it.

    A terminal sends Ctrl-C to the whole process group. The main process handles it, and stops its workers itself.
    """
    if sys.platform == "linux":
        # There is no server where, for example, the path of the temporary folder is too long for a socket.
        with suppress(OSError, EOFError):
            return _start_forked(work, arguments)
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    with _ignoring_ctrl_c():
        process.start()
    return process


def prepare() -> None:
    """Start the server that workers are forked from, so that it imports its modules while this process goes on."""
    if sys.platform == "linux":
        with suppress(OSError, EOFError):
            _start_server()


def _start_server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    with _ignoring_ctrl_c(), _importing_this_project():
        forkserver.ensure_running()
    return context


def _start_forked(work: Callable[..., None], arguments: tuple[object, ...]) -> Any:
    context = _start_server()
    process = context.Process(target=work, args=arguments)
    process.start()  # waits until the server has imported the modules
    return process


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """Make processes that start in this context, and their own children, ignore Ctrl-C from the beginning."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _importing_this_project() -> Iterator[None]:
    """Make processes that start in this context import the project's modules, and none from the working folder."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    variables = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    previous = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(previous)


def kill_unreported(process: Any) -> None:
    """Kill a process that is reported as ended only because its fork server was killed; it may still run."""
    if process.exitcode == UNREPORTED:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def stop(processes: list[Any]) -> None:
    """Terminate processes, and kill those that are still alive after STOP_SECONDS."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
