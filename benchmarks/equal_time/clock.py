"""Count the processor time that the trainings of a study take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeUpError(Exception):
    """Error raised when a study has used its time. It ends the training in progress and the study."""


class TrainingClock:
    """Clock of the trainings of one study.

    It counts processor time, so that other programs on the machine do not change what a study gets.

    limit  seconds that the study may use
    now    returns the seconds on a running clock, by default the processor time of this process
    """

    def __init__(self, limit: float, now: Callable[[], float] = time.process_time) -> None:
        self.limit = limit
        self._now = now
        self._counted = 0.0
        self._started: float | None = None

    @property
    def spent(self) -> float:
        """Return the seconds counted so far."""
        return self._counted + (0.0 if self._started is None else self._now() - self._started)

    def check(self) -> None:
        """Raise TimeUpError if more than the limit was spent."""
        if self.spent > self.limit:
            raise TimeUpError

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time within the context."""
        self._started = self._now()
        try:
            yield
        finally:
            self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time within the context, which lies in one that is counted."""
        self._stop()
        try:
            yield
        finally:
            self._started = self._now()

    def _stop(self) -> None:
        self._counted, self._started = self.spent, None
