"""Optuna studies as a search would leave them, of made-up trial records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.open import open_storage
from search.study.attributes import SETTINGS
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TrialRecord
from tests.search.made_up_trials import CONFIG

_STATES = {
    FINISHED: TrialState.COMPLETE,
    REPEATED: TrialState.COMPLETE,
    REFUSED: TrialState.PRUNED,
    STOPPED: TrialState.PRUNED,
    DIVERGED: TrialState.FAIL,
}


def made_up_study(
    records: Iterable[TrialRecord], folder: Path, name: str = "made-up", settings: dict[str, Any] | None = None
) -> optuna.Study:
    """A study in `folder`/studies.db with these trials."""
    folder.mkdir(parents=True, exist_ok=True)
    storage = open_storage(f"sqlite:///{folder / 'studies.db'}")
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    study.set_user_attr(SETTINGS, CONFIG.settings() if settings is None else settings)
    for record in records:
        study.add_trial(as_trial(record))
    return study


def as_trial(record: TrialRecord) -> FrozenTrial:
    """The trial that reads back as `record`, but for its searched values."""
    attrs = {key: value for key, value in vars(record).items() if key not in ("number", "value", "params")}
    attrs["arch"] = record.arch.to_dict() if record.arch else None
    attrs["recipe"] = record.recipe.to_dict() if record.recipe else None
    attrs = {key: value for key, value in attrs.items() if value not in (None, "", ())}
    if record.outcome not in _STATES:
        del attrs["outcome"]  # only ends are noted
    state = _STATES.get(record.outcome, TrialState.FAIL if record.outcome == "fail" else TrialState.WAITING)
    return create_trial(state=state, value=record.value, user_attrs=attrs)
