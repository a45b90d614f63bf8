"""Trials of other studies, taken into the history of a study so that it starts from what they found.

An adopted trial is as it was, with its value, but for its constraints, which are those of the new limits. It is no
proposal of the study that adopts it: it counts neither there nor in the sequence that its seed stands for.

The other study may be of another space, or of this one before it grew: what it trained and this one could propose is
adopted, as the point that stands for it here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.spec import ArchSpec
from search.config import DataForm, SearchConfig
from search.data.load import form_of
from search.errors import InputError
from search.limits import latency_excess, refusal
from search.sampling.samplers import Distributions
from search.search_space.augmentations import as_searched
from search.search_space.space import Space
from search.storage.open import open_storage
from search.study.attributes import (
    ARCH,
    CANDIDATE,
    LATENCY,
    LEFT_ON_ADOPTION,
    ORIGIN,
    OUTCOME,
    RECIPE,
    SETTINGS,
    USER_NETWORK,
)
from search.study.location import StudyLocation
from search.study.study import load_study
from search.study.trials import FINISHED
from space import Params, assemble, space_of

# Studies that agree in these settings give a candidate the same value, but for the seed.
SAME = (
    "dataset",
    "data_checksum",
    "select_on",
    "held_out",
    "epochs",
    "score",
    "metric",
    "mirror",
    "image_size",
)


def warm_start(study: optuna.Study, config: SearchConfig, others: Sequence[StudyLocation]) -> int:
    """Adopt the finished trials of `others` that are within this study's limits and not yet in it; how many.

    Raises InputError for a study that is not there or whose values mean something else.
    """
    known = {trial.user_attrs.get(CANDIDATE) for trial in study.get_trials(deepcopy=False)}
    space, form = space_of(config), form_of(config.data)
    n_adopted = 0
    for location in others:
        other = load_study(open_storage(location.url), str(location.name))
        check_same(study.study_name, study.user_attrs[SETTINGS], other)
        for trial in other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            candidate = trial.user_attrs.get(CANDIDATE)
            if trial.user_attrs.get(OUTCOME) != FINISHED or candidate in known:
                continue
            constraints, reason = refusal(compute_cost(ArchSpec.from_dict(trial.user_attrs[ARCH])), config)
            # One that was never timed is as unknown as one that is too slow.
            excess = latency_excess(trial.user_attrs.get(LATENCY, math.inf), config)
            constraints |= {} if excess is None else {"latency": excess}
            point = _point(trial, config, space, form)
            if point is not None and not reason and (excess is None or excess <= 0):
                study.add_trial(_adopted(trial, constraints, str(location.name), *point))
                known.add(candidate)
                n_adopted += 1
    return n_adopted


def check_same(name: str, settings: Mapping[str, Any], other: optuna.Study) -> None:
    """Raise InputError where the values of `other` mean something else than those of study `name` with its settings."""
    theirs = other.user_attrs.get(SETTINGS)
    if not isinstance(theirs, Mapping):
        raise InputError(f"study {other.study_name!r} was not made by this program; name another --warm")
    for key in SAME:
        if settings.get(key) != theirs.get(key):
            raise InputError(
                f"study {other.study_name!r} cannot start {name!r}: "
                f"its {key} is {theirs.get(key)}, here {settings.get(key)}; name another --warm"
            )


def _point(
    trial: FrozenTrial, config: SearchConfig, space: Space, form: DataForm
) -> tuple[Params, dict[str, BaseDistribution]] | None:
    """The values and ranges of a trial in the space of the adopting study; None if it is no point of that.

    A network that was given is a point of no space.
    """
    if USER_NETWORK in trial.user_attrs:
        return {}, {}
    params = space.completed(trial.params)
    asked = Distributions()
    space.suggest(asked)
    if not space.holds(params):
        return None
    found = assemble(params, form.input_shape, form.n_classes)
    recipes = (found.recipe, RecipeConfig.from_dict(trial.user_attrs[RECIPE]))
    is_same = found.arch.to_dict() == trial.user_attrs[ARCH] and len({as_searched(one, config) for one in recipes}) == 1
    return (params, asked.found) if is_same else None


def _adopted(
    trial: FrozenTrial,
    constraints: dict[str, float],
    origin: str,
    params: Params,
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial:
    attrs = {name: value for name, value in trial.user_attrs.items() if name not in LEFT_ON_ADOPTION}
    # One that was adopted itself keeps the study it was trained in.
    attrs.setdefault(ORIGIN, f"{origin}/{trial.number}")
    return optuna.trial.create_trial(
        value=trial.value,
        params=params,
        distributions=distributions,
        user_attrs=attrs,
        intermediate_values=trial.intermediate_values,
        constraints=constraints,
    )
