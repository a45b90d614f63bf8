"""Handle Ctrl-C: the first one ends a command after it has saved its results, the second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130
# Batch systems, and machines that shut down, send SIGTERM.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal, and end the process at once at the second.

    Worker processes end with this one, and everything that was written to the database is kept. Outside the main thread
    this does nothing. A signal that the process was started to ignore, or that other code handles, is not changed.
    """
    defaults: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    in_main_thread = threading.current_thread() is threading.main_thread()
    handled = [number for number in _SIGNALS if in_main_thread and signal.getsignal(number) == defaults[number]]
    for number in handled:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, defaults[number])


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    for number in _SIGNALS:
        if signal.getsignal(number) == _interrupt:
            signal.signal(number, _exit_at_once)
    raise KeyboardInterrupt


def _exit_at_once(_signal: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)
