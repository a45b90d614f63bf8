"""Report how far a training is, about twice a second, for the display of its progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# A training reports at most once in this time.
REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class TrainingReport:
    """State of a training in progress.

    trial     number of its trial
    epoch     epoch that it is in, counted from 1
    n_epochs  number of its epochs
    share     share of its steps that are done, in (0, 1]
    seconds   seconds since it began
    value     metric of the search after the last scored epoch, in [0, 1]; None before
    scoring   seconds of these that the scoring of epochs took
    """

    trial: int
    epoch: int
    n_epochs: int
    share: float
    seconds: float
    value: float | None = None
    scoring: float = 0.0


OnReport = Callable[[TrainingReport], None]


def ignore_report(_report: TrainingReport) -> None:
    """Do nothing, where no progress is shown."""


class Reporter:
    """Reporter of one training, which is told of its steps and epochs."""

    def __init__(self, trial: int, n_epochs: int, send: OnReport) -> None:
        self._trial, self._n_epochs, self._send = trial, n_epochs, send
        self._started = self._last_sent = self._last_step = time.perf_counter()
        self._value: float | None = None
        self._scoring = 0.0

    def on_batch(self, epoch: int, share: float) -> None:
        """Report the state after a step if a report is due; `share` is that of the images of `epoch` trained on."""
        self._last_step = now = time.perf_counter()
        if now - self._last_sent < REPORT_SECONDS:
            return
        self._last_sent = now
        share_of_all = (epoch - 1 + share) / self._n_epochs
        times = {"seconds": now - self._started, "scoring": self._scoring}
        self._send(TrainingReport(self._trial, epoch, self._n_epochs, share_of_all, value=self._value, **times))

    def on_epoch(self, value: float) -> None:
        """Remember the metric of an epoch that was just scored for the next report."""
        self._value = value
        self._scoring += time.perf_counter() - self._last_step
