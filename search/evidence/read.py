"""Read the finished repeats of a study and the plan of its confirmation."""

from __future__ import annotations

import optuna

from search.evidence.confirm import ConfirmPlan
from search.evidence.repeats import RepeatResult, read_results
from search.storage.open import open_storage
from search.study.attributes import PLAN
from search.study.location import StudyLocation, repeats_name
from search.study.study import load_study


def repeats_of(location: StudyLocation) -> tuple[list[RepeatResult], ConfirmPlan | None]:
    """Return the finished repeats of a study and the plan of its last confirmation, None without one."""
    storage = open_storage(location.url)
    if repeats_name(location) not in optuna.get_all_study_names(storage):
        return [], None
    study = load_study(storage, repeats_name(location))
    plan = study.user_attrs.get(PLAN)
    return read_results(study.get_trials(deepcopy=False)), None if plan is None else ConfirmPlan.from_dict(plan)
