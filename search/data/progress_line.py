"""Show on a terminal how far long work is that a command does before anything else."""

from __future__ import annotations

import sys
import time
from typing import Self

_REFRESH_SECONDS = 0.2


class ProgressLine:
    """Line on a terminal that counts what is done, from the second second on."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._began = self._shown = time.monotonic()
        self._is_terminal = bool(sys.stderr) and sys.stderr.isatty()
        self._width = 0
        self.restart(total)

    def restart(self, total: int) -> None:
        """Begin to count anew."""
        self._total, self._done = total, 0

    def advance(self, n: int) -> None:
        """Count what has been done since."""
        self._done += n
        now = time.monotonic()
        if self._is_terminal and now - self._began > 1 and now - self._shown > _REFRESH_SECONDS:
            self._shown = now
            self._write(f"{self._what}: {self._done:,} of {self._total:,}")

    def _write(self, line: str) -> None:
        print(f"\r{line:{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            self._write("")
            print("\r", end="", file=sys.stderr, flush=True)
