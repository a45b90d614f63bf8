"""Propose and train trials in this process until the study is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from search.storage.optuna_internals import storage_of, trial_id_of
from search.study.attributes import EXHAUSTED, ORIGIN, record_interrupted, record_start, record_worker
from search.study.seeds import ProposalIndices, derived_seed
from search.study.trials import REFUSED, REPEATED, TRAINED, TrialFailedError, outcome_of

Objective = Callable[[optuna.Trial], float]

# A study ends after this many refused proposals in a row, because hardly any candidate is left to propose.
MAX_REFUSED_IN_A_ROW = 1000


class Stop(Protocol):
    """Protocol of the rule that ends a study."""

    def is_reached(self, study: optuna.Study) -> bool:
        """Return whether the study is done. This is called before the first trial and after every trial."""


@dataclass(frozen=True)
class StopRule:
    """Rule that ends a study after `n_trials` trained trials, or when no candidate is left or fits any more."""

    n_trials: int

    def is_reached(self, study: optuna.Study) -> bool:
        """Return whether the study has all its trials, no candidate left, or too many refused proposals in a row."""
        trials = study.get_trials(deepcopy=False)
        if n_trained(trials) >= self.n_trials or n_refused_in_a_row(trials) >= MAX_REFUSED_IN_A_ROW:
            return True
        return EXHAUSTED in study.user_attrs and not any(trial.state == TrialState.WAITING for trial in trials)


def n_trained(trials: Sequence[FrozenTrial]) -> int:
    """Count the finished, stopped and diverged candidates that were trained in this study, not adopted."""
    return sum(outcome_of(trial) in TRAINED and ORIGIN not in trial.user_attrs for trial in trials)


def n_refused_in_a_row(trials: Sequence[FrozenTrial]) -> int:
    """Count the refused proposals since the last trained one; repeated ones in between are not counted."""
    return _n_since_last_trained(trials, REFUSED)


def n_repeated_in_a_row(trials: Sequence[FrozenTrial]) -> int:
    """Count the repeated proposals since the last trained one; refused ones in between are not counted."""
    return _n_since_last_trained(trials, REPEATED)


def _n_since_last_trained(trials: Sequence[FrozenTrial], counted_outcome: str) -> int:
    count = 0
    for trial in reversed(trials):
        outcome = outcome_of(trial)
        if outcome in TRAINED:
            break
        count += outcome == counted_outcome
    return count


def run_trials(
    study: optuna.Study,
    objective: Objective,
    seed: int,
    stop: Stop,
    timeout: float | None = None,
    on_trial: Callable[[optuna.Study], None] | None = None,
    worker: str = "",
) -> None:
    """Propose and train trials as `worker` until `stop` is reached or `timeout` seconds have passed.

    If other processes abandon a trial while it is trained here, its result is dropped and the next trial begins.

    on_trial: called after every trial.
    """
    if stop.is_reached(study):
        return
    recorded_objective = _RecordedObjective(study, objective, seed, worker)
    deadline = None if timeout is None else time.monotonic() + timeout

    def after_trial(study: optuna.Study, _trial: FrozenTrial) -> None:
        if on_trial:
            on_trial(study)
        if stop.is_reached(study):
            study.stop()

    while True:
        remaining = None if deadline is None else deadline - time.monotonic()
        try:
            study.optimize(recorded_objective, timeout=remaining, callbacks=[after_trial], catch=(TrialFailedError,))
            return
        except Exception as error:
            original = _original_error(error)
            if not recorded_objective.was_abandoned(original):
                raise original from original.__cause__
        if stop.is_reached(study):
            return


def _original_error(error: Exception) -> BaseException:
    """Return the first error, where Optuna's clean-up after a failed `tell` hides it by raising another one."""
    is_hiding = isinstance(error, AssertionError | UnboundLocalError) and error.__context__ is not None
    return error.__context__ if is_hiding and error.__context__ else error


class _RecordedObjective:
    """Objective that records the worker, the index and the seed of a trial before it is trained."""

    def __init__(self, study: optuna.Study, objective: Objective, seed: int, worker: str) -> None:
        self._study = study
        self._objective = objective
        self._seed = seed
        self._worker = worker
        self._indices = ProposalIndices()
        self._trial_id = -1
        self._error: Exception | None = None

    def __call__(self, trial: optuna.Trial) -> float:
        self._trial_id, self._error = trial_id_of(trial), None
        record_worker(trial, self._worker)
        trials = self._study.get_trials(deepcopy=False)
        index = self._indices.index(trials[trial.number], trials)
        record_start(trial, index, derived_seed(self._seed, "training", index))
        try:
            return self._objective(trial)
        except KeyboardInterrupt:
            with suppress(Exception):  # other problems are reported by the processes that continue
                record_interrupted(trial)
            raise
        except (optuna.TrialPruned, TrialFailedError, UpdateFinishedTrialError):
            raise
        except Exception as error:
            self._error = error
            raise

    def was_abandoned(self, error: BaseException) -> bool:
        """Return whether `error` shows that other processes took this worker for dead and abandoned its trial.

        The trial is then failed already. Optuna raises UpdateFinishedTrialError when an attribute of such a trial is
        set, and ValueError when it is told the trial's value.
        """
        if isinstance(error, UpdateFinishedTrialError):
            return True
        if not isinstance(error, ValueError) or error is self._error:
            return False
        return storage_of(self._study).get_trial(self._trial_id).state == TrialState.FAIL
