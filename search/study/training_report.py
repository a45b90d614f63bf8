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

    trial          number of its trial
    epoch          epoch that it is in, counted from 1
    n_epochs       number of its epochs
    share          share of its steps that are done, in (0, 1]
    seconds        seconds since it began
    value          metric of the search after the last scored epoch, in [0, 1]; None before
    scoring        seconds of these that the scoring of epochs took
    first_share    share of its steps that the first step is
    first_seconds  seconds until the end of the first step, which in a new process takes many times as long as others
    """

    trial: int
    epoch: int
    n_epochs: int
    share: float
    seconds: float
    value: float | None = None
    scoring: float = 0.0
    first_share: float = 0.0
    first_seconds: float = 0.0

    @property
    def measured(self) -> tuple[float, float]:
        """Return the share of the steps after the first one that are done, and the seconds that they took."""
        return self.share - self.first_share, self.seconds - self.first_seconds


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
        self._first: dict[str, float] | None = None

    def on_batch(self, epoch: int, share: float) -> None:
        """Report the state after a step if a report is due; `share` is that of the images of `epoch` trained on.

        The first step is not reported, because it says nothing about the speed of the others.
        """
        self._last_step = now = time.perf_counter()
        share_of_all = (epoch - 1 + share) / self._n_epochs
        if self._first is None:
            self._first = {"first_share": share_of_all, "first_seconds": now - self._started}
            self._last_sent = now
            return
        if now - self._last_sent < REPORT_SECONDS:
            return
        self._last_sent = now
        times = {"seconds": now - self._started, "scoring": self._scoring, **self._first}
        self._send(TrainingReport(self._trial, epoch, self._n_epochs, share_of_all, value=self._value, **times))

    def on_epoch(self, value: float) -> None:
        """Remember the metric of an epoch that was just scored for the next report."""
        self._value = value
        self._scoring += time.perf_counter() - self._last_step
