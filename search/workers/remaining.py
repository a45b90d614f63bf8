"""Estimate how long a search or a round of a confirmation will still take, and how long the rounds after it."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from models.cost import compute_cost
from models.spec import ArchSpec
from search.config import ConfirmConfig, SearchConfig
from search.data.load import form_of
from search.storage.optuna_internals import fixed_params
from search.study.attributes import BASELINE, MACS, ORIGIN, START, USER_NETWORK
from search.study.loop import n_trained
from search.study.pruner import KINDS
from search.study.training_report import TrainingReport
from search.study.trials import FINISHED, TRAINED, outcome_of
from search.text import duration
from search.workers.estimate import Times, WorkOf, share_trained, time_left, work_of_training
from space import assemble, space_of

Reports = Mapping[int, TrainingReport]
# The prior for proposals counts as much as this many of them. It is the mean size of the networks that fit, and the
# pruner's share of the epochs.
N_PRIOR = 3
_QUEUED_DESIGNS = (BASELINE, START, USER_NETWORK)


@dataclass(frozen=True)
class Remaining:
    """Estimate of the remaining seconds of the present trainings, and of the confirmation after a search."""

    seconds: float
    confirmation: float = 0.0

    @property
    def total(self) -> str:
        """Return the remaining time in words."""
        return f"{duration(self.seconds + self.confirmation)} left"

    @property
    def parts(self) -> str:
        """Return the remaining time in words, with that of search and confirmation if both are to come."""
        if not self.confirmation:
            return self.total
        return f"{self.total} (search {duration(self.seconds)}, confirmation {duration(self.confirmation)})"


class SearchRemaining:
    """Estimate of the remaining time of a search and of the confirmation that follows.

    n_trials      as in search.study.loop.StopRule
    n_workers     number of networks that are trained side by side, in the search and in the confirmation
    mean_macs     mean multiply-adds of the networks that fit
    confirmation  sizes of the confirmation; None without one
    timeout       seconds after which no trial begins, and nothing is confirmed; None: not limited
    """

    def __init__(
        self,
        config: SearchConfig,
        n_trials: int,
        n_workers: int,
        mean_macs: float,
        confirmation: ConfirmConfig | None = None,
        timeout: float | None = None,
    ) -> None:
        self._n_trials, self._n_workers, self._confirmation = n_trials, n_workers, confirmation
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._n_epochs = config.epochs
        self._form = form_of(config.data)
        self._space = space_of(config)
        self._prior = self._work(round(mean_macs))
        self._prior_share = KINDS[config.pruner].share
        self._queued_work: dict[int, float | None] = {}
        # A confirmation scores the last epoch of a training only.
        self._share_of_scoring = 0.0

    def __call__(self, trials: Sequence[FrozenTrial], reports: Reports) -> Remaining | None:
        """Return the estimate, or None while no speed is known."""
        times = Times(trials, reports, self.work_of)
        if times.rate is None:
            return None
        scored = [report for report in reports.values() if report.scoring]
        if scored:
            seconds = sum(report.seconds for report in scored)
            self._share_of_scoring = sum(report.scoring for report in scored) / seconds
        whole, share = self._work_of_proposal(trials)
        typical = whole * share
        running = [
            times.remaining(trial, whole, share if self._may_be_stopped(trial, reports) else 1.0)
            for trial in times.running
        ]
        waiting = (self.work_of(trial) or typical for trial in trials if trial.state == TrialState.WAITING)
        queue = map(times.seconds, itertools.chain(waiting, itertools.repeat(typical)))
        n_workers = min(self._n_workers, self._n_trials)
        seconds = time_left(running, queue, n_workers, self._n_trials - n_trained(trials))
        time_limit = max(0.0, self._deadline - time.monotonic())
        if seconds > time_limit:
            return Remaining(max([time_limit, *running]))
        return Remaining(seconds, self._confirmation_seconds(trials, times, whole))

    def work_of(self, trial: FrozenTrial) -> float | None:
        """Return the work of a trial, or None before its network is known."""
        if MACS in trial.user_attrs:
            return self._work(trial.user_attrs[MACS])
        if trial.number not in self._queued_work:
            arch = self._queued_arch(trial)
            self._queued_work[trial.number] = self._work(compute_cost(arch).macs) if arch else None
        return self._queued_work[trial.number]

    def _work(self, macs: int) -> float:
        return work_of_training(macs, math.prod(self._form.input_shape), self._n_epochs)

    def _queued_arch(self, trial: FrozenTrial) -> ArchSpec | None:
        """Return the network of a queued trial, or None if a sampler chooses values or the trial will be refused."""
        if USER_NETWORK in trial.user_attrs:
            return ArchSpec.from_dict(trial.user_attrs[USER_NETWORK])
        params = fixed_params(trial) or {}
        if self._space.objection_to(params):
            return None
        try:
            return assemble(params, self._form.input_shape, self._form.n_classes).arch
        except (KeyError, ValueError):
            return None

    def _work_of_proposal(self, trials: Iterable[FrozenTrial]) -> tuple[float, float]:
        """Return the mean work of a proposal that is trained to the end, and the mean share of it that is done."""
        works, shares = [self._prior] * N_PRIOR, [self._prior_share] * N_PRIOR
        for trial in trials:
            is_proposal = ORIGIN not in trial.user_attrs and not trial.user_attrs.keys() & set(_QUEUED_DESIGNS)
            is_running = trial.state == TrialState.RUNNING
            if is_proposal and (is_running or outcome_of(trial) in TRAINED) and (work := self.work_of(trial)):
                works.append(work)
                shares += [] if is_running else [share_trained(trial)]
        return fmean(works), fmean(shares)

    def _may_be_stopped(self, trial: FrozenTrial, reports: Reports) -> bool:
        """Return whether a running trial has not yet reached the epoch from which the pruner stops trials."""
        report = reports.get(trial.number)
        return BASELINE not in trial.user_attrs and (report is None or 3 * report.epoch <= report.n_epochs)

    def _confirmation_seconds(self, trials: Sequence[FrozenTrial], times: Times, whole: float) -> float:
        settings = self._confirmation
        if settings is None:
            return 0.0
        finished = [trial for trial in trials if outcome_of(trial) == FINISHED and trial.value is not None]
        finished.sort(key=lambda trial: -(trial.value or 0.0))
        candidates = [self.work_of(trial) or whole for trial in finished[: settings.top]]
        candidates += [whole] * (min(settings.top, self._n_trials) - len(candidates))
        baselines = [trial for trial in (*finished, *trials) if BASELINE in trial.user_attrs]
        compared = [fmean(candidates), *[self.work_of(trial) or whole for trial in baselines[:1]]]
        rounds = [candidates * settings.seeds] if len(candidates) > 1 else []
        rounds.append(compared * (settings.further or settings.seeds))
        seconds = sum(time_left((), map(times.seconds, works), self._n_workers) for works in rounds)
        return (1 - self._share_of_scoring) * seconds


class RepeatsRemaining:
    """Estimate of the remaining time of trainings that are all queued, and of those of later rounds.

    work_of       function that returns the work of a queued training
    later         work of the trainings of later rounds
    default_rate  as in Times
    """

    def __init__(
        self, work_of: WorkOf, n_workers: int, later: Sequence[float] = (), default_rate: float | None = None
    ) -> None:
        self._work_of, self._n_workers, self._later, self._default_rate = work_of, n_workers, later, default_rate

    def __call__(self, trials: Sequence[FrozenTrial], reports: Reports) -> Remaining | None:
        """Return the estimate, or None while no speed is known."""
        times = Times(trials, reports, self._work_of, self._default_rate)
        if times.rate is None:
            return None
        known = [work for trial in trials if (work := self._work_of(trial))]
        typical = fmean(known) if known else 0.0
        running = [times.remaining(trial, typical) for trial in times.running]
        waiting = [self._work_of(trial) or typical for trial in trials if trial.state == TrialState.WAITING]
        seconds = time_left(running, map(times.seconds, waiting), self._n_workers)
        return Remaining(seconds + time_left((), map(times.seconds, self._later), self._n_workers))
