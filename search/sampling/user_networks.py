"""Check user networks against the data, and queue them like the hand-designed networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

import space
from models.baselines import BASELINES
from models.cost import compute_cost
from models.spec import ArchSpec
from search.config import SearchConfig
from search.data.dataset import Dataset
from search.errors import InputError
from search.limits import refusal
from search.search_space.space import NotInSpaceError
from search.storage.optuna_internals import fixed_params
from search.study.attributes import BASELINE, USER_NETWORK
from search.study.study import enqueue, enqueue_user_network
from space import space_of


def check_networks(networks: Mapping[str, ArchSpec], data: Dataset, *, share_weights: bool) -> None:
    """Raise InputError for a network that does not take the data's images, or shares weights against the settings."""
    for name, spec in networks.items():
        if (spec.input_shape, spec.n_classes) != (data.input_shape, data.n_classes):
            raise InputError(
                f"network {name} takes {spec.input_shape} images of {spec.n_classes} classes; "
                f"those of {data.name} are {data.input_shape}, of {data.n_classes} classes"
            )
        if spec.shares_weights and not share_weights:
            raise InputError(f"network {name} shares weights between layers; add --share-weights")


def queue_networks(
    study: optuna.Study, config: SearchConfig, data: Dataset, networks: Mapping[str, ArchSpec]
) -> list[str]:
    """Queue user networks and fitting hand-designed networks that a --space file excludes, and return their names.

    A search that starts with no stored networks queues hand-designed ones only if its user names them.

    Networks that the study already has are not queued again. All are recorded like hand-designed networks and trained
    with the same recipe. A network that is no point of the space is trained too, but the sampler learns nothing from
    it. Raises InputError if the study has another network of the same name.
    """
    searched_space = space_of(config)
    baseline_points = space.baseline_params(data.input_shape, data.n_classes, searched_space)
    all_baseline_points = space.baseline_params(data.input_shape, data.n_classes)
    starts_with_stored = config.starts == "stored"
    excluded = {
        name: BASELINES[name].spec
        for name in all_baseline_points
        if starts_with_stored and name not in baseline_points and _fits(BASELINES[name].spec, config)
    }
    points: dict[str, space.Params] = {}
    other_networks: dict[str, dict[str, Any]] = {}
    for name, spec in {**excluded, **networks}.items():
        if starts_with_stored and name in baseline_points and spec == BASELINES[name].spec:
            continue  # it is queued already
        try:
            points[name] = searched_space.to_params(spec)
        except NotInSpaceError:
            other_networks[name] = spec.to_dict()
    _check_names(study, points, other_networks)
    enqueue(study, points, "baseline")
    enqueue_user_network(study, other_networks)
    return [*points, *other_networks]


def _fits(spec: ArchSpec, config: SearchConfig) -> bool:
    return not refusal(compute_cost(spec), config)[1]


def _check_names(study: optuna.Study, points: Mapping[str, Any], other_networks: Mapping[str, Any]) -> None:
    for trial in study.get_trials(deepcopy=False):
        name, network = str(trial.user_attrs.get(BASELINE)), trial.user_attrs.get(USER_NETWORK)
        queued = fixed_params(trial) or trial.params
        is_other_network = name in other_networks and network != other_networks[name]
        is_other_point = name in points and (network or queued != points[name])
        if is_other_network or is_other_point:
            raise InputError(f"study {study.study_name!r} has another network named {name}; rename the file")
