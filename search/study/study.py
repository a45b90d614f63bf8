"""Open or resume a study, run its trials, stop: everything about the search that knows nothing of networks.

A study repeats itself: with one worker, the same seed gives the same proposals and values, also when it was interrupted
and resumed. For that every proposal has an index, its place in the sequence that an uninterrupted study would have
made, and all its randomness (sampler and training) comes from the study's seed and that index.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.errors import InputError
from search.study.trials import REFUSED, TRAINED, TrialFailedError, outcome_of

# The command line has lines of its own for what Optuna would log.
optuna.logging.set_verbosity(optuna.logging.ERROR)

Objective = Callable[[optuna.Trial], float]

# A study in which this many proposals in a row were refused has nowhere to go.
MAX_REFUSED_IN_A_ROW = 1000
SETTINGS = "settings"
# Of a trial adopted from another study: where it was trained, "study/number".
ORIGIN = "origin"
# Of a trial that runs or ran: by whom.
WORKER = "worker"
# Of one that its user interrupted: that it is run again is not held against it.
INTERRUPTED = "interrupted"
# Of a queued network that is no point of the space: the network itself.
GIVEN = "given"


def load_study(storage: BaseStorage, name: str) -> optuna.Study:
    """An existing study. Raises InputError that lists the ones there are."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(sorted(optuna.get_all_study_names(storage))) or "none yet"
        raise InputError(f"there is no study {name!r:.120} here; there are: {names:.600}") from error


def open_study(storage: BaseStorage, name: str, settings: Mapping[str, Any]) -> optuna.Study:
    """Create the study, or resume it if it was made with the same settings; InputError names the differences."""
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    check_settings(study, settings)
    if SETTINGS not in study.user_attrs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([str(settings.get("metric", "accuracy"))])
        study.set_user_attr(SETTINGS, dict(settings))
    return study


def check_settings(study: optuna.Study, settings: Mapping[str, Any]) -> None:
    """Raise InputError for a study that is not ours to go on with, or was made with other settings."""
    found, name = study.user_attrs.get(SETTINGS), study.study_name
    if found is None and not study.get_trials(deepcopy=False) and study.directions == [StudyDirection.MAXIMIZE]:
        return  # just made
    if not isinstance(found, Mapping):
        raise InputError(f"study {name!r} was not made by this program; choose another --study name")
    if found != settings:
        differences = ", ".join(_differences(found, settings))
        raise InputError(f"study {name!r} was made with other settings: {differences}; choose another --study name")


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key in sorted({*found, *wanted}):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            lines += _differences(old or {}, new or {}, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key} {old} there, {new} now")
    return lines


def enqueue(study: optuna.Study, starts: Mapping[str, Mapping[str, Any]], kind: str) -> None:
    """Queue named points as the first trials, once in the life of the study.

    kind: the attribute that names them, "baseline" of the hand-designed networks, else "start".
    """
    known = {trial.user_attrs.get(kind) for trial in study.get_trials(deepcopy=False)}
    for name, params in starts.items():
        if name not in known:
            study.enqueue_trial(dict(params), user_attrs={kind: name})


def enqueue_given(study: optuna.Study, networks: Mapping[str, Mapping[str, Any]]) -> None:
    """Queue networks that are no points of the space, as plain data, like `enqueue` as hand-designed ones."""
    known = {trial.user_attrs.get("baseline") for trial in study.get_trials(deepcopy=False)}
    for name, network in networks.items():
        if name not in known:
            study.enqueue_trial({}, user_attrs={"baseline": name, GIVEN: dict(network)})


class Places:
    """The place of every proposal in the sequence that an uninterrupted study would have made: its index.

    A trial that is run again keeps the index of the first try; the others are counted without such repeats, and without
    trials of other studies. Trials are only ever added to a study, so what was counted once stays counted.
    """

    def __init__(self) -> None:
        self._n_seen = 0
        self._left_out: list[int] = []

    def index(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
        """The index of `trial`; `trials` are all of its study."""
        kept = trial.user_attrs.get("index")
        if kept is not None:
            return int(kept)
        added = trials[self._n_seen :]
        self._left_out += [new.number for new in added if "retry_of" in new.user_attrs or ORIGIN in new.user_attrs]
        self._n_seen = len(trials)
        return trial.number - bisect_left(self._left_out, trial.number)


def derived_seed(seed: int, *parts: object) -> int:
    """A 32-bit seed that depends on `seed` and every part, and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr((seed, *parts)).encode()).digest()[:4], "big")


class HopelessPruner(BasePruner):
    """Stops a trial whose lowest error so far is above 1.25 times the median error of the finished trials at its epoch.

    Values are accuracies in [0, 1]. The lowest error so far, not the present one: a bad epoch stops nothing. Optuna's
    MedianPruner has no such tolerance; beside the strong hand-designed networks it stopped all that was new, while
    networks 0.05 points apart after a third of the epochs often change places by the last one (studies/README.md).
    """

    TOLERANCE = 1.25
    MIN_FINISHED = 5

    def __init__(self, first_epoch: int) -> None:
        self._first_epoch = first_epoch

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """See BasePruner."""
        epoch = trial.last_step
        if epoch is None or epoch < self._first_epoch:
            return False
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        errors = [1 - other.intermediate_values[epoch] for other in finished if epoch in other.intermediate_values]
        lowest = 1 - max(trial.intermediate_values.values())
        return len(errors) >= self.MIN_FINISHED and lowest > self.TOLERANCE * median(errors)


def make_pruner(name: str, epochs: int) -> BasePruner:
    """The pruner of that name. It waits for a third of the epochs."""
    return NopPruner() if name == "none" else HopelessPruner(max(1, epochs // 3))


class Stop(Protocol):
    """When a study is done."""

    def is_reached(self, study: optuna.Study) -> bool:
        """Asked before the first and after every trial."""


@dataclass(frozen=True)
class StopRule:
    """Stops the study at `n_trials` trained trials, or when no proposal fits any more."""

    n_trials: int

    def is_reached(self, study: optuna.Study) -> bool:
        """Whether the study has all its trials, or only refusals left."""
        trials = study.get_trials(deepcopy=False)
        return n_trained(trials) >= self.n_trials or n_refused_in_a_row(trials) >= MAX_REFUSED_IN_A_ROW


def n_trained(trials: Sequence[FrozenTrial]) -> int:
    """How many candidates were trained here: finished, stopped or diverged."""
    return sum(outcome_of(trial) in TRAINED and ORIGIN not in trial.user_attrs for trial in trials)


def n_refused_in_a_row(trials: Sequence[FrozenTrial]) -> int:
    """How many proposals the study ends with that were refused."""
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
    """What went wrong first, where Optuna's own clearing up after a failed `tell` hides it by failing itself."""
    hides = isinstance(error, AssertionError | UnboundLocalError) and error.__context__ is not None
    return error.__context__ if hides and error.__context__ else error


class _Turn:
    """One trial after the other: says whose it is and with which seed, and trains it."""

    def __init__(self, study: optuna.Study, objective: Objective, seed: int, worker: str) -> None:
        self._study = study
        self._objective = objective
        self._seed = seed
        self._worker = worker
        self._places = Places()
        self._trial_id = -1
        self._error: Exception | None = None

    def __call__(self, trial: optuna.Trial) -> float:
        self._trial_id, self._error = trial._trial_id, None
        trial.set_user_attr(WORKER, self._worker)
        trials = self._study.get_trials(deepcopy=False)
        index = self._places.index(trials[trial.number], trials)
        trial.set_user_attr("index", index)
        trial.set_user_attr("seed", derived_seed(self._seed, "training", index))
        try:
            return self._objective(trial)
        except KeyboardInterrupt:
            with suppress(Exception):  # whatever else is wrong is told by those who go on
                trial.set_user_attr(INTERRUPTED, True)
            raise
        except (optuna.TrialPruned, TrialFailedError, UpdateFinishedTrialError):
            raise
        except Exception as error:
            self._error = error
            raise

    def was_given_up(self, error: BaseException) -> bool:
        """Whether `error` means that others took this worker for dead, so that its trial is failed already.

        Optuna says so when the trial notes something, or when its value is told, and then with a ValueError.
        """
        if isinstance(error, UpdateFinishedTrialError):
            return True
        if not isinstance(error, ValueError) or error is self._error:
            return False
        return self._study._storage.get_trial(self._trial_id).state == TrialState.FAIL
