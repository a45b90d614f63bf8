"""Trials that no one works on any more: found, marked as failed, and queued again, once and with the same place.

On one machine the main process sees its workers die. On a server every worker's trial tells that it is alive, and one
that was silent for the grace period is given up by whoever notices first. Queued again it is by the one who holds the
study's lock, so that of several machines which see the same loss, one does it.
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

from search.storage.open import alone
from search.storage.optuna_internals import fixed_params, storage_of, trial_id_of
from search.study.attributes import INDEX, INTERRUPTED, KEPT_ON_RETRY, RESTARTS, RETRIES, RETRY_OF, WORKER
from search.study.seeds import ProposalIndices
from search.study.trials import outcome_of

# A trial that so many workers died of may be why. That a whole command was killed says less of what it trained.
MAX_RETRIES = 3
MAX_RESTARTS = 10
# From the moment that a worker takes a trial to that when it says that it has it, which is no time at all.
UNCLAIMED_SECONDS = 30
WATCH_SECONDS = 1.0
_LIMITS = {RETRIES: MAX_RETRIES, RESTARTS: MAX_RESTARTS}


def requeue_lost(study: optuna.Study, *, running_are_lost: bool) -> int:
    """Queue again every trial that was interrupted or whose process died; how many. Nobody else may do so meanwhile.

    running_are_lost: nobody works on this study, so a trial marked running has no one left to finish it.
    """
    left_behind = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if running_are_lost else []
    for trial in left_behind:
        _fail(study, trial)
    restarted = {trial.number for trial in left_behind}
    trials = study.get_trials(deepcopy=False)
    indices = ProposalIndices()
    lost = _lost(trials)
    for trial in lost:
        facts = {RETRY_OF: trial.number, INDEX: indices.index(trial, trials), **_deaths(trial, restarted)}
        facts |= {name: trial.user_attrs[name] for name in KEPT_ON_RETRY if name in trial.user_attrs}
        study.enqueue_trial(_params_to_repeat(trial, trials), user_attrs=facts)
    return len(lost)


def _deaths(trial: FrozenTrial, restarted: Container[int]) -> dict[str, int]:
    """Count how often a trial was begun and not ended, this time included, for each reason that has a limit."""
    found = {name: trial.user_attrs.get(name, 0) for name in _LIMITS}
    if INTERRUPTED not in trial.user_attrs:
        found[RESTARTS if trial.number in restarted else RETRIES] += 1
    return found


def _lost(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that are to be run again and are not queued yet."""
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and outcome_of(trial) is None
        and trial.number not in retried
        and (
            INTERRUPTED in trial.user_attrs
            or all(trial.user_attrs.get(name, 0) < limit for name, limit in _LIMITS.items())
        )
    ]


def _params_to_repeat(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the point to try again; an incomplete one is left to the sampler, which is seeded as before."""
    queued = fixed_params(trial)
    if queued is not None:
        return queued
    decided = (TrialState.COMPLETE, TrialState.PRUNED)
    n_dimensions = max((len(other.params) for other in trials if other.state in decided), default=None)
    return dict(trial.params) if len(trial.params) == n_dimensions else {}


def _fail(study: optuna.Study, trial: FrozenTrial) -> None:
    """Mark a running trial as failed, unless it has come to its end meanwhile."""
    try:
        storage_of(study).set_trial_state_values(trial_id_of(trial), TrialState.FAIL)
    except UpdateFinishedTrialError:
        return


def queue_again(study: optuna.Study, _trial: FrozenTrial | None = None) -> None:
    """Queue again what was lost, on whichever machine, if no other machine has."""
    if _lost(study.get_trials(deepcopy=False)):
        with alone(storage_of(study), study.study_name):
            requeue_lost(study, running_are_lost=False)


class Recovery:
    """Asked about every second by the main process: gives up what no one works on, and queues it again.

    is_shared: others work on the study as well. grace: how long, in seconds, they may be silent.
    """

    def __init__(self, study: optuna.Study, *, is_shared: bool, grace: float) -> None:
        self._study = study
        self._is_shared = is_shared
        self._grace = grace
        self._dead: set[str] = set()
        self._unclaimed: dict[int, float] = {}
        self._looked = -float("inf")

    def worker_died(self, worker: str) -> None:
        """Note that a worker of this process has died."""
        self._dead.add(worker)
        self._looked = -float("inf")

    def __call__(self) -> None:
        """Look for losses; those of other machines, which are seen by the clock, not at every call."""
        now = time.monotonic()
        if self._is_shared and now - self._looked < self._grace / 10:
            return
        self._looked = now
        if self._is_shared:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                fail_stale_trials(self._study)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(WORKER) in self._dead or self._is_unclaimed(trial, now):
                _fail(self._study, trial)
        queue_again(self._study)

    def _is_unclaimed(self, trial: FrozenTrial, now: float) -> bool:
        """Return whether the worker ended between taking the trial and saying so, by this process's clock."""
        if WORKER in trial.user_attrs:
            return False
        patience = max(UNCLAIMED_SECONDS, self._grace) if self._is_shared else UNCLAIMED_SECONDS
        return now - self._unclaimed.setdefault(trial.number, now) > patience

    def finish(self) -> None:
        """Give up what is left at the end, interrupted trials too, where nobody else works on the study."""
        if not self._is_shared:
            requeue_lost(self._study, running_are_lost=True)
        else:
            self._looked = -float("inf")
            self()

    def wait_for_others(self, watch: Callable[[optuna.Study], None]) -> None:
        """Wait until the trials that others have in training have ended, or were given up."""
        waited = {trial.number for trial in self._running()}
        if waited:
            print(f"\nwaiting for {len(waited)} trials that others have in training", file=sys.stderr)
        while waited & {trial.number for trial in self._running()}:
            time.sleep(WATCH_SECONDS)
            self()
            watch(self._study)

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if self._is_shared else []
