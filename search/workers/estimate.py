"""Estimate the remaining time of the trainings of a study, from their work and their speed so far.

The work of a training is its epochs times the multiply-adds of its network and of the rest of a step. The speed is that
of the running trainings and of the last ones that ended, so it is known a second after the first training has begun.
The times of the trainings are then laid out side by side, in as many rows as there are workers.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from models.recipe import RecipeConfig
from search.study.attributes import CURVE, ORIGIN, RECIPE, SECONDS
from search.study.training_report import TrainingReport
from search.study.trials import FINISHED, TRAINED, outcome_of

# What a step computes beside the convolutions (augmentation, batch norm, optimizer) takes as long as this many
# multiply-adds for each value of an image: a linear fit to the trials of studies/tpe, which have 28x28 values.
OVERHEAD_MACS = 640
# Number of trainings, the last ones that ended, from which the speed is taken. The machine may be busier than before.
N_RECENT = 10
# The own speed of a training counts as much as the mean speed once this share of it is done.
TRUSTED_SHARE = 0.1

# Returns the work of a trial, in any unit, or None if it is not known.
WorkOf = Callable[[FrozenTrial], float | None]


def work_of_training(macs: int, n_values: int, n_epochs: int) -> float:
    """Return the work of a training with a network of `macs` on images of `n_values` values, in multiply-adds."""
    return n_epochs * (macs + OVERHEAD_MACS * n_values)


class Times:
    """Times of the trainings of a study, by the speed so far.

    trials        all trials of the study
    reports       last reports of the trainings in progress, by number of the trial
    work_of       function that returns the work of a trial
    default_rate  prior for the seconds of each unit of work, which the first steps of the running trainings outweigh;
                  None: no prior
    """

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        reports: Mapping[int, TrainingReport],
        work_of: WorkOf,
        default_rate: float | None = None,
    ) -> None:
        self._work_of = work_of
        self.running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        self._reports = {trial.number: reports[trial.number] for trial in self.running if trial.number in reports}
        ended = [trial for trial in trials if outcome_of(trial) in TRAINED and ORIGIN not in trial.user_attrs]
        recent = ended[-N_RECENT:]
        measured = [_measured(trial, work_of) for trial in recent] + list(map(self._measured_now, self.running))
        known = [(work, seconds) for work, seconds in measured if work > 0]
        if default_rate is not None:
            trusted = TRUSTED_SHARE * sum(work_of(trial) or 0.0 for trial in self.running) or 1.0
            known.append((trusted, default_rate * trusted))
        self.rate = sum(seconds for _, seconds in known) / sum(work for work, _ in known) if known else None
        # Proposing and saving; the least, because the first trial of a worker loads the data.
        self.seconds_beside = min(map(_seconds_beside, recent), default=0.0)

    def _measured_now(self, trial: FrozenTrial) -> tuple[float, float]:
        report = self._reports.get(trial.number)
        share, seconds = report.measured if report else (0.0, 0.0)
        return share * (self._work_of(trial) or 0.0), seconds

    def seconds(self, work: float) -> float:
        """Return the seconds of a training that has not begun; 0 while no speed is known."""
        return work * (self.rate or 0.0) + self.seconds_beside

    def remaining(self, trial: FrozenTrial, default_work: float, end: float = 1.0) -> float:
        """Return the remaining seconds of a running trial.

        default_work  its work if that is not known
        end           expected share of its work at its end
        """
        work = self._work_of(trial) or default_work
        report = self._reports.get(trial.number)
        if report is None:  # it has just begun, or runs on another machine
            elapsed = (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0
            return max(0.0, self.seconds(end * work) - elapsed)
        trusted = TRUSTED_SHARE * work
        share, seconds = report.measured
        own_rate = (seconds + (self.rate or 0.0) * trusted) / (share * work + trusted)
        return max(0.0, end - report.share) * work * own_rate


def _measured(trial: FrozenTrial, work_of: WorkOf) -> tuple[float, float]:
    """Return the work that an ended training has done and the seconds that it took, both 0 if they are not known."""
    seconds = trial.user_attrs.get(SECONDS) or sum(epoch["seconds"] for epoch in trial.user_attrs.get(CURVE, ()))
    work = share_trained(trial) * (work_of(trial) or 0.0)
    return (work, seconds) if seconds else (0.0, 0.0)


def share_trained(trial: FrozenTrial) -> float:
    """Return the share of its epochs that an ended trial of a search was trained for; 1 for one that finished."""
    if outcome_of(trial) == FINISHED:
        return 1.0
    n_epochs: int = trial.user_attrs.get(RECIPE, {}).get("epochs", RecipeConfig.epochs)  # a default is left out
    return len(trial.user_attrs.get(CURVE, ())) / n_epochs


def _seconds_beside(trial: FrozenTrial) -> float:
    """Return the seconds of an ended trial during which it was not in training."""
    whole = trial.duration.total_seconds() if trial.duration else 0.0
    return max(0.0, whole - float(trial.user_attrs.get(SECONDS, whole)))


def time_left(running: Iterable[float], queue: Iterable[float], n_workers: int, n_needed: int | None = None) -> float:
    """Return the seconds until all workers have ended.

    running   remaining seconds of the trainings that run; the other workers are free
    queue     seconds of the trainings that follow, in their order
    n_needed  number of trainings after whose end no further one begins; None: the whole queue is trained
    """
    ends, following = list(running), iter(queue)
    if n_needed is None or n_needed > 0:
        ends += itertools.islice(following, max(0, n_workers - len(ends)))
    heapq.heapify(ends)
    now, n_ended = 0.0, 0
    while ends:
        now, n_ended = heapq.heappop(ends), n_ended + 1
        seconds = next(following, None) if n_needed is None or n_ended < n_needed else None
        if seconds is not None:
            heapq.heappush(ends, now + seconds)
    return now
