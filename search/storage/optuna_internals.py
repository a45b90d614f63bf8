"""Everything private to Optuna and optuna-dashboard that this project relies on; a test notices what changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

# The methods of RDBStorage that write nothing; the last two are what Optuna's cache reads with.
READING_METHODS = (
    "get_all_studies",
    "get_all_trials",
    "get_best_trial",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_param",
    "get_trial_system_attrs",
    "get_trial_user_attrs",
    "_get_trials",
    "_get_best_trial_id",
)
# The dashboard keeps the artifacts of a study under keys that begin so, and the identifier of their trial follows.
ARTIFACTS_PREFIX = "dashboard:artifacts:"


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage of a study."""
    return study._storage


def backend_of(storage: BaseStorage) -> BaseStorage:
    """Return the storage that a study's cache reads from, or `storage` itself where there is no cache."""
    backend: BaseStorage = getattr(storage, "_backend", storage)
    return backend


def study_id_of(study: optuna.Study) -> int:
    """Return the identifier of a study in its storage."""
    return study._study_id


def trial_id_of(trial: optuna.Trial | FrozenTrial) -> int:
    """Return the identifier of a trial in its storage; its number counts within its study."""
    return trial._trial_id


def set_trial_attribute(study: optuna.Study, trial: FrozenTrial, name: str, value: Any) -> None:
    """Set a user attribute of a running trial, which samplers know as a frozen one."""
    storage_of(study).set_trial_user_attr(trial_id_of(trial), name, value)


def fixed_params(trial: optuna.Trial | FrozenTrial) -> dict[str, Any] | None:
    """Return the values that a trial was queued with, or None for one that a sampler proposes."""
    # The public attribute of a running trial is deprecated.
    attributes = trial.system_attrs if isinstance(trial, FrozenTrial) else trial._cached_frozen_trial.system_attrs
    params: dict[str, Any] | None = attributes.get("fixed_params")
    return None if params is None else dict(params)


def artifact_key(trial: FrozenTrial, artifact: str) -> str:
    """Return the study attribute under which the dashboard finds an artifact of a trial; "" begins all of them."""
    return f"{ARTIFACTS_PREFIX}{trial_id_of(trial)}:{artifact}"


def saved_figure(study: optuna.Study, name: str) -> str:
    """Return the JSON of a figure as the dashboard keeps it, in parts; an empty text where there is none."""
    prefix = f"dashboard:plot_data:{name}:"
    attrs = storage_of(study).get_study_system_attrs(study_id_of(study))
    return "".join(attrs[f"{prefix}{part}"] for part in range(sum(key.startswith(prefix) for key in attrs)))


@dataclass(frozen=True)
class EndedTrial:
    """Trial that has ended, with the members of a live one that optuna-dashboard's save_note and get_note use."""

    storage: BaseStorage
    study: optuna.Study
    _trial_id: int
