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
from search.study.attributes import ORIGIN, record_interrupted, record_start, record_worker
from search.study.seeds import ProposalIndices, derived_seed
from search.study.trials import REFUSED, TRAINED, TrialFailedError, outcome_of

Objective = Callable[[optuna.Trial], float]

# A study in which this many proposals in a row were refused has nowhere to go.
MAX_REFUSED_IN_A_ROW = 1000


class Stop(Protocol):
    """When a study is done."""

    def is_reached(self, study: optuna.Study) -> bool:
        """Return whether the study is done; asked before the first and after every trial."""


@dataclass(frozen=True)
class StopRule:
    """Stops the study at `n_trials` trained trials, or when no proposal fits any more."""

    n_trials: int

    def is_reached(self, study: optuna.Study) -> bool:
        """Return whether the study has all its trials, or only refusals left."""
        trials = study.get_trials(deepcopy=False)
        return n_trained(trials) >= self.n_trials or n_refused_in_a_row(trials) >= MAX_REFUSED_IN_A_ROW


def n_trained(trials: Sequence[FrozenTrial]) -> int:
    """Count the candidates that were trained here: finished, stopped or diverged."""
    return sum(outcome_of(trial) in TRAINED and ORIGIN not in trial.user_attrs for trial in trials)


def n_refused_in_a_row(trials: Sequence[FrozenTrial]) -> int:
    """Count the refused proposals that the study ends with."""
    count = 0
    for trial in reversed(trials):
        outcome = outcome_of(trial)
        if outcome == REFUSED:
            count += 1
        elif outcome is not None:
            break
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
    """Propose and train in this process, as `worker`, until `stop` says so or `timeout` seconds have passed.

    A trial that others gave up while it was in training here stays theirs, and the next one is begun.
    """
    if stop.is_reached(study):
        return
    turn = _Turn(study, objective, seed, worker)
    ends = None if timeout is None else time.monotonic() + timeout

    def after(study: optuna.Study, _trial: FrozenTrial) -> None:
        if on_trial:
            on_trial(study)
        if stop.is_reached(study):
            study.stop()

    while True:
        left = None if ends is None else ends - time.monotonic()
        try:
            study.optimize(turn, timeout=left, callbacks=[after], catch=(TrialFailedError,))
            return
        except Exception as error:
            meant = _meant(error)
            if not turn.was_given_up(meant):
                raise meant from meant.__cause__
        if stop.is_reached(study):
            return


def _meant(error: Exception) -> BaseException:
    """Return the error that came first, where Optuna's clearing up after a failed `tell` hides it by failing itself."""
    hides = isinstance(error, AssertionError | UnboundLocalError) and error.__context__ is not None
    return error.__context__ if hides and error.__context__ else error


class _Turn:
    """One trial after the other: says whose it is and with which seed, and trains it."""

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
            with suppress(Exception):  # whatever else is wrong is told by those who go on
                record_interrupted(trial)
            raise
        except (optuna.TrialPruned, TrialFailedError, UpdateFinishedTrialError):
            raise
        except Exception as error:
            self._error = error
            raise

    def was_given_up(self, error: BaseException) -> bool:
        """Return whether `error` means that others took this worker for dead, so that its trial is failed already.

        Optuna says so when the trial notes something, or when its value is told, and then with a ValueError.
        """
        if isinstance(error, UpdateFinishedTrialError):
            return True
        if not isinstance(error, ValueError) or error is self._error:
            return False
        return storage_of(self._study).get_trial(self._trial_id).state == TrialState.FAIL
