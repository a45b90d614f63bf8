"""Open or resume a study, run its trials, stop: everything about the search that knows nothing of networks.

A study repeats itself: with one worker, the same seed gives the same proposals and values, also when it was interrupted
and resumed. For that every proposal has an index, its place in the sequence that an uninterrupted study would have
made, and all its randomness (sampler and training) comes from the study's seed and that index.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, event, exc

from search.config import InputError
from search.faults import cannot_open
from search.sqlite_file import check_sqlite
from search.storage_url import parse_url, sqlite_path
from search.trials import REFUSED, TRAINED, TrialFailedError

# The command line has lines of its own for what Optuna would log.
optuna.logging.set_verbosity(optuna.logging.ERROR)

Objective = Callable[[optuna.Trial], float]

# A study in which this many proposals in a row were refused has nowhere to go.
MAX_REFUSED_IN_A_ROW = 1000
MAX_RETRIES = 3
SQLITE_BUSY_SECONDS = 60
SETTINGS = "settings"
# Of a trial adopted from another study: where it was trained, "study/number".
ORIGIN = "origin"
# What a queued trial was given on its way; one that is run again keeps it.
KEPT = ("baseline", "start", "repeat", "given")
# Of a queued network that is no point of the space: the network itself.
GIVEN = "given"


def open_storage(url: str) -> RDBStorage:
    """The storage at a SQLAlchemy URL; a new SQLite file is created. Raises InputError."""
    parsed = parse_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if (path := sqlite_path(parsed)) is not None:
        check_sqlite(path)
    options: dict[str, Any] = {"connect_args": {"timeout": SQLITE_BUSY_SECONDS}} if is_sqlite else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", exc.SAWarning)  # of an option that the driver does not know
            # Optuna fills in what stands in braces.
            storage = RDBStorage(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=options)
    except Exception as error:  # drivers raise almost anything for a URL that they cannot use
        raise InputError(cannot_open(parsed, error)) from error
    if is_sqlite:
        event.listen(storage.engine, "connect", _set_up_sqlite)
        event.listen(storage.engine, "begin", _begin_immediately)
        storage.engine.dispose()  # connections made so far lack the settings
    return storage


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Readers do not block the writer, and a commit no longer waits for the disk. A killed process
    # loses nothing; a power cut may lose the last commits but leaves the file whole.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.isolation_level = None  # the driver begins no transactions of its own: the next function does


def _begin_immediately(connection: Connection) -> None:
    # Optuna claims a queued trial by reading that it waits and then writing that it runs. The driver would begin the
    # transaction at the write only, so that two workers could both read, both write, and both train the same trial.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def load_study(storage: RDBStorage, name: str) -> optuna.Study:
    """An existing study. Raises InputError that lists the ones there are."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(sorted(optuna.get_all_study_names(storage))) or "none yet"
        raise InputError(f"there is no study {name!r:.120} here; there are: {names:.600}") from error


def open_study(storage: RDBStorage, name: str, settings: Mapping[str, Any]) -> optuna.Study:
    """Create the study, or resume it if it was made with the same settings; InputError names the differences."""
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    check_settings(study, settings)
    if SETTINGS not in study.user_attrs:
        study.set_user_attr(SETTINGS, dict(settings))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(["accuracy"])
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


def requeue_lost(study: optuna.Study, *, running_are_lost: bool) -> int:
    """Queue again every trial that was interrupted or whose process died; how many.

    running_are_lost: nobody else works on this study, so a trial marked running has no one left to finish it.
    """
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get("retry_of") for trial in trials}
    places = Places()
    n_requeued = 0
    for trial in trials:
        if trial.state == TrialState.RUNNING and running_are_lost:
            study.tell(trial.number, state=TrialState.FAIL)
        elif trial.state != TrialState.FAIL or "outcome" in trial.user_attrs:
            continue
        retries = trial.user_attrs.get("retries", 0)
        if trial.number in retried or retries >= MAX_RETRIES:
            continue
        facts = {"retry_of": trial.number, "retries": retries + 1, "index": places.index(trial, trials)}
        facts |= {name: trial.user_attrs[name] for name in KEPT if name in trial.user_attrs}
        study.enqueue_trial(_params_to_repeat(trial, trials), user_attrs=facts)
        n_requeued += 1
    return n_requeued


def _params_to_repeat(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """The point to try again. One lost in the middle of its suggestions is left to the sampler, seeded as before."""
    if "fixed_params" in trial.system_attrs:
        return dict(trial.system_attrs["fixed_params"])
    n_dimensions = max(len(other.params) for other in trials)
    return dict(trial.params) if len(trial.params) == n_dimensions else {}


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
    return sum(trial.user_attrs.get("outcome") in TRAINED and ORIGIN not in trial.user_attrs for trial in trials)


def n_refused_in_a_row(trials: Sequence[FrozenTrial]) -> int:
    """How many proposals the study ends with that were refused."""
    count = 0
    for trial in reversed(trials):
        if trial.user_attrs.get("outcome") == REFUSED:
            count += 1
        elif trial.state.is_finished():
            break
    return count


def run_trials(
    study: optuna.Study,
    objective: Objective,
    seed: int,
    stop: Stop,
    timeout: float | None = None,
    on_trial: Callable[[optuna.Study], None] | None = None,
) -> None:
    """Propose and train in this process until `stop` says so or `timeout` seconds have passed."""
    if stop.is_reached(study):
        return
    places = Places()

    def seeded(trial: optuna.Trial) -> float:
        trials = study.get_trials(deepcopy=False)
        index = places.index(trials[trial.number], trials)
        trial.set_user_attr("worker", os.getpid())
        trial.set_user_attr("index", index)
        trial.set_user_attr("seed", derived_seed(seed, "training", index))
        return objective(trial)

    def after(study: optuna.Study, _trial: FrozenTrial) -> None:
        if on_trial:
            on_trial(study)
        if stop.is_reached(study):
            study.stop()

    study.optimize(seeded, timeout=timeout, callbacks=[after], catch=(TrialFailedError,))
