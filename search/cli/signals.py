"""Ctrl-C: once ends a command after what there is was saved, again at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130
# With SIGTERM a batch system, or the machine that shuts down, asks for the same.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first such signal; end the process where it stands at the second.

    Worker processes end with this one, and what the database was told before is safe in it. Does nothing outside the
    main thread, and leaves a signal alone that this process was started to ignore, or that somebody else handles.
    """
    usual: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    in_main = threading.current_thread() is threading.main_thread()
    ours = [one for one in _SIGNALS if in_main and signal.getsignal(one) == usual[one]]
    for one in ours:
        signal.signal(one, _first)
    try:
        yield
    finally:
        for one in ours:
            signal.signal(one, usual[one])


def _first(_signal: int, _frame: FrameType | None) -> NoReturn:
    for one in _SIGNALS:
        if signal.getsignal(one) == _first:
            signal.signal(one, _second)
    raise KeyboardInterrupt


def _second(_signal: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)
