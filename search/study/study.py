"""Open or resume a study, and queue its first trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from search.errors import InputError
from search.study.attributes import BASELINE, SETTINGS, USER_NETWORK

# The command line reports what Optuna would log.
optuna.logging.set_verbosity(optuna.logging.ERROR)


def load_study(storage: BaseStorage, name: str) -> optuna.Study:
    """Load an existing study. Raises InputError that lists the existing studies if there is none of that name."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(sorted(optuna.get_all_study_names(storage))) or "none yet"
        raise InputError(f"there is no study {name!r:.120} here; there are: {names:.600}") from error


def open_study(storage: BaseStorage, name: str, settings: Mapping[str, Any]) -> optuna.Study:
    """Create a study, or resume one with the same settings. Raises InputError that names different settings."""
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    check_settings(study, settings)
    if SETTINGS not in study.user_attrs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([str(settings.get("metric", "accuracy"))])
        study.set_user_attr(SETTINGS, dict(settings))
    return study


def check_settings(study: optuna.Study, settings: Mapping[str, Any]) -> None:
    """Raise InputError for a study that was made by another program or with other settings."""
    recorded, name = study.user_attrs.get(SETTINGS), study.study_name
    if recorded is None and not study.get_trials(deepcopy=False) and study.directions == [StudyDirection.MAXIMIZE]:
        return  # the study is new
    if not isinstance(recorded, Mapping):
        raise InputError(f"study {name!r} was not made by this program; choose another --study name")
    if recorded != settings:
        differences = ", ".join(_differences(recorded, settings))
        raise InputError(f"study {name!r} was made with other settings: {differences}; choose another --study name")


def _differences(recorded: Mapping[str, Any], present: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key in sorted({*recorded, *present}):
        old, new = recorded.get(key), present.get(key)
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            lines += _differences(old or {}, new or {}, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key} {_setting(old)} there, {_setting(new)} now")
    return lines


def _setting(value: object) -> str:
    return "not set" if value is None else str(value)


def enqueue(study: optuna.Study, starts: Mapping[str, Mapping[str, Any]], kind: str) -> None:
    """Queue named points as the first trials of a study, except those that it already has.

    kind: attribute that holds the name, "baseline" for hand-designed networks and "start" for other starting points.
    """
    existing = {trial.user_attrs.get(kind) for trial in study.get_trials(deepcopy=False)}
    for name, params in starts.items():
        if name not in existing:
            study.enqueue_trial(dict(params), user_attrs={kind: name})


def enqueue_user_network(study: optuna.Study, networks: Mapping[str, Mapping[str, Any]]) -> None:
    """Queue named networks, as plain data, that are no points of the space, except those that the study already has.

    They are recorded like hand-designed networks.
    """
    existing = {trial.user_attrs.get(BASELINE) for trial in study.get_trials(deepcopy=False)}
    for name, network in networks.items():
        if name not in existing:
            study.enqueue_trial({}, user_attrs={BASELINE: name, USER_NETWORK: dict(network)})
