"""Mark trials that no process works on any more as failed, and requeue each of them once, with the same index.

On one machine the main process sees its workers die. On a server the trials of all workers send heartbeats. A trial
that was silent for the grace period is abandoned, and the first process that notices it marks it as failed. Only the
process that holds the lock of the study requeues trials, so that a trial that several machines notice is requeued once.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Container, Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from search.storage.open import study_lock
from search.storage.optuna_internals import fixed_params, storage_of, trial_id_of
from search.study.attributes import INDEX, INTERRUPTED, KEPT_ON_RETRY, RESTARTS, RETRIES, RETRY_OF, WORKER
from search.study.seeds import ProposalIndices
from search.study.trials import outcome_of

# A trial during which that many workers died may itself be the cause. A restart of the whole command says less about
# the trial that was in training.
MAX_RETRIES = 3
MAX_RESTARTS = 10
# Longest accepted time between the moment when a worker takes a trial and the moment when it records its name in the
# trial; usually a few milliseconds.
UNCLAIMED_SECONDS = 30
WATCH_SECONDS = 1.0
_LIMITS = {RETRIES: MAX_RETRIES, RESTARTS: MAX_RESTARTS}


def requeue_abandoned(study: optuna.Study, *, running_are_abandoned: bool) -> int:
    """Requeue every trial that was interrupted or whose process died, and return their number.

    No other process may call this for the same study at the same time: see `requeue_with_lock`.

    running_are_abandoned: nobody works on this study, so the trials that are marked as running are abandoned too.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if running_are_abandoned else []
    for trial in running:
        _mark_failed(study, trial)
    restarted = {trial.number for trial in running}
    trials = study.get_trials(deepcopy=False)
    indices = ProposalIndices()
    abandoned = _abandoned_trials(trials)
    for trial in abandoned:
        attributes = {RETRY_OF: trial.number, INDEX: indices.index(trial, trials), **_count_deaths(trial, restarted)}
        attributes |= {name: trial.user_attrs[name] for name in KEPT_ON_RETRY if name in trial.user_attrs}
        study.enqueue_trial(_params_to_repeat(trial, trials), user_attrs=attributes)
    return len(abandoned)


def _count_deaths(trial: FrozenTrial, restarted: Container[int]) -> dict[str, int]:
    """Return how often a trial was begun and not ended, this time included, for each cause that has a limit."""
    counts = {name: trial.user_attrs.get(name, 0) for name in _LIMITS}
    if INTERRUPTED not in trial.user_attrs:
        counts[RESTARTS if trial.number in restarted else RETRIES] += 1
    return counts


def _abandoned_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have to be run again and are not requeued yet."""
    requeued = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and outcome_of(trial) is None
        and trial.number not in requeued
        and (
            INTERRUPTED in trial.user_attrs
            or all(trial.user_attrs.get(name, 0) < limit for name, limit in _LIMITS.items())
        )
    ]


def _params_to_repeat(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the parameters to try again; an incomplete set is left to the sampler, which has the same seed again."""
    decided = (TrialState.COMPLETE, TrialState.PRUNED)
    n_dimensions = max((len(other.params) for other in trials if other.state in decided), default=None)
    if len(trial.params) == n_dimensions:
        return dict(trial.params)
    return fixed_params(trial) or {}


def _mark_failed(study: optuna.Study, trial: FrozenTrial) -> None:
    """Mark a running trial as failed, unless it has ended meanwhile."""
    try:
        storage_of(study).set_trial_state_values(trial_id_of(trial), TrialState.FAIL)
    except UpdateFinishedTrialError:
        return


def requeue_with_lock(study: optuna.Study, _trial: FrozenTrial | None = None) -> None:
    """Requeue the abandoned trials of all machines while holding the lock of the study."""
    if _abandoned_trials(study.get_trials(deepcopy=False)):
        with study_lock(storage_of(study), study.study_name):
            requeue_abandoned(study, running_are_abandoned=False)


class Recovery:
    """Callable that marks abandoned trials as failed and requeues them; the main process calls it every second.

    is_shared: other machines may work on the study as well. grace: how long, in seconds, they may be silent.
    """

    def __init__(self, study: optuna.Study, *, is_shared: bool, grace: float) -> None:
        self._study = study
        self._is_shared = is_shared
        self._grace = grace
        self._dead_workers: set[str] = set()
        self._unclaimed_since: dict[int, float] = {}
        self._last_check = -float("inf")

    def worker_died(self, worker: str) -> None:
        """Record that a worker of this process has died."""
        self._dead_workers.add(worker)
        self._last_check = -float("inf")

    def __call__(self) -> None:
        """Requeue abandoned trials; on a server this looks for them at most ten times per grace period."""
        now = time.monotonic()
        if self._is_shared and now - self._last_check < self._grace / 10:
            return
        self._last_check = now
        if self._is_shared:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                fail_stale_trials(self._study)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(WORKER) in self._dead_workers or self._is_unclaimed(trial, now):
                _mark_failed(self._study, trial)
        requeue_with_lock(self._study)

    def _is_unclaimed(self, trial: FrozenTrial, now: float) -> bool:
        """Return whether a trial has run without the name of its worker for too long, by the clock of this process."""
        if WORKER in trial.user_attrs:
            return False
        patience = max(UNCLAIMED_SECONDS, self._grace) if self._is_shared else UNCLAIMED_SECONDS
        return now - self._unclaimed_since.setdefault(trial.number, now) > patience

    def finish(self) -> None:
        """Requeue the trials that are left at the end.

        Unless other machines work on the study, trials that are marked as running are abandoned as well.
        """
        if not self._is_shared:
            requeue_abandoned(self._study, running_are_abandoned=True)
        else:
            self._last_check = -float("inf")
            self()

    def wait_for_others(self, watch: Callable[[optuna.Study], None]) -> None:
        """Wait until the running trials of other workers have ended or were abandoned; call `watch` meanwhile."""
        awaited = {trial.number for trial in self._running_trials()}
        if awaited:
            print(f"\nwaiting for {len(awaited)} trials that other workers are training", file=sys.stderr)
        while awaited & {trial.number for trial in self._running_trials()}:
            time.sleep(WATCH_SECONDS)
            self()
            watch(self._study)

    def _running_trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if self._is_shared else []
