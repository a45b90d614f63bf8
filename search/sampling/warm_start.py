"""Adopt trials of other studies into the history of a study, so that it starts from their results.

An adopted trial keeps its value, but gets the constraints of the new limits. It is not a proposal of the study that
adopts it, so it neither counts for --trials nor has an index in the sequence of proposals.

The other study may have another space, or an earlier version of this one. A network that it trained is adopted if this
study could propose it, as the point that stands for it in this space.
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
from search.sampling.proposals import Distributions
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

# Studies that agree in these settings give a candidate the same value, except for the effect of the seed.
SAME = (
    "dataset",
    "data_checksum",
    "select_on",
    "held_out",
    "epochs",
    "score",
    "metric",
    "image_size",
)


def warm_start(study: optuna.Study, config: SearchConfig, others: Sequence[StudyLocation]) -> int:
    """Adopt the finished trials of `others` that are within this study's limits and new to it, and return their number.

    Raises InputError for a study that does not exist or whose values have another meaning.
    """
    candidates = {trial.user_attrs.get(CANDIDATE) for trial in study.get_trials(deepcopy=False)}
    space, form = space_of(config), form_of(config.data)
    n_adopted = 0
    for location in others:
        other = load_study(open_storage(location.url), str(location.name))
        check_same(study.study_name, study.user_attrs[SETTINGS], other)
        for trial in other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            candidate = trial.user_attrs.get(CANDIDATE)
            if trial.user_attrs.get(OUTCOME) != FINISHED or candidate in candidates:
                continue
            constraints, reason = refusal(compute_cost(ArchSpec.from_dict(trial.user_attrs[ARCH])), config)
            # A latency that was never measured counts as too slow, because the network may be.
            excess = latency_excess(trial.user_attrs.get(LATENCY, math.inf), config)
            constraints |= {} if excess is None else {"latency": excess}
            point = _point(trial, config, space, form)
            if point is not None and not reason and (excess is None or excess <= 0):
                study.add_trial(_adopted(trial, constraints, str(location.name), *point))
                candidates.add(candidate)
                n_adopted += 1
    return n_adopted


def check_same(name: str, settings: Mapping[str, Any], other: optuna.Study) -> None:
    """Raise InputError if values of `other` have another meaning than those of study `name` with its `settings`."""
    other_settings = other.user_attrs.get(SETTINGS)
    if not isinstance(other_settings, Mapping):
        raise InputError(f"study {other.study_name!r} was not made by this program; name another --warm")
    for key in SAME:
        if settings.get(key) != other_settings.get(key):
            raise InputError(
                f"study {other.study_name!r} cannot start {name!r}: "
                f"its {key} is {other_settings.get(key)}, here {settings.get(key)}; name another --warm"
            )


def _point(
    trial: FrozenTrial, config: SearchConfig, space: Space, form: DataForm
) -> tuple[Params, dict[str, BaseDistribution]] | None:
    """Return the values and ranges of a trial in the space of the adopting study, or None if it is no point of it.

    A user network has neither values nor ranges.
    """
    if USER_NETWORK in trial.user_attrs:
        shares = ArchSpec.from_dict(trial.user_attrs[ARCH]).shares_weights
        return None if shares and not config.share_weights else ({}, {})
    recipe = RecipeConfig.from_dict(trial.user_attrs[RECIPE])
    mirrored = {"mirror_p": recipe.augmentation.mirror_p}  # no dimension in studies with the setting `mirror`
    params = space.completed(mirrored | trial.params)
    distributions = Distributions()
    space.suggest(distributions)
    if not space.holds(params):
        return None
    assembled = assemble(params, form.input_shape, form.n_classes)
    recipes = (assembled.recipe, recipe)
    is_same_recipe = len({as_searched(recipe, config) for recipe in recipes}) == 1
    is_same = is_same_recipe and assembled.arch.to_dict() == trial.user_attrs[ARCH]
    return (params, distributions.by_name) if is_same else None


def _adopted(
    trial: FrozenTrial,
    constraints: dict[str, float],
    origin: str,
    params: Params,
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial:
    attrs = {name: value for name, value in trial.user_attrs.items() if name not in LEFT_ON_ADOPTION}
    # A trial that was itself adopted keeps the study in which it was trained as its origin.
    attrs.setdefault(ORIGIN, f"{origin}/{trial.number}")
    return optuna.trial.create_trial(
        value=trial.value,
        params=params,
        distributions=distributions,
        user_attrs=attrs,
        intermediate_values=trial.intermediate_values,
        constraints=constraints,
    )
