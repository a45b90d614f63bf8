"""Sampler that recombines and changes the best candidates of a study, and proposes only what fits its limits."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from search.sampling.proposals import N_START, Limits
from search.search_space.buildable import is_of_recipe
from search.storage.optuna_internals import set_trial_attribute
from search.study.attributes import CANDIDATE, PARENT, USER_NETWORK
from search.study.trials import FINISHED, STOPPED, outcome_of

Point = dict[str, Any]

# Standard deviation of a step as a share of the range, on a log scale of its logarithm. A width from 3 to 32 changes by
# about an eighth, and every whole number by at least 1.
FLOAT_STEP = 0.125
INT_STEP = 0.05
# Number of children that are tried before the space counts as exhausted.
MAX_DRAWS = 100


class NoLimits:
    """Limits of a search in which every point fits and every value acts."""

    def key(self, point: Point) -> str | None:
        """See Limits."""
        return repr(sorted(point.items()))

    def acting(self, point: Point) -> set[str]:
        """See Limits."""
        return set(point)

    def fitted(self, point: Point, _kept: set[str], /) -> Point:
        """See Limits."""
        return point


class EvolveSampler(BaseSampler):
    """Sampler of one proposal, which is a child of the winners of tournaments among the trained trials.

    Tournaments for parents follow Real et al., Regularized Evolution for Image Classifier Architecture Search (arXiv
    1802.01548). Their populations age, so that a lucky value is forgotten. A search of a hundred trials has too few
    generations for that, so here all trials compete, of which stopped ones are compared where they were stopped.

    limits            what fits, and which values act; None: every point fits
    n_explore         trained trials before the first child, including starting points and stopped trials
    tournament_share  share of the trained trials that compete to be a parent, of which at least two do
    crossover_share   share of the children that take their recipe from a second parent
    mean_changes      mean number of acting values of a child that are changed, at least 1
    """

    def __init__(
        self,
        seed: int,
        limits: Limits | None = None,
        n_explore: int = N_START,
        tournament_share: float = 0.2,
        crossover_share: float = 0.25,
        mean_changes: float = 3.0,
    ) -> None:
        self._rng = random.Random(seed)
        self._random = RandomSampler(seed=seed)
        self._limits = limits or NoLimits()
        self._n_explore = n_explore
        self._tournament_share = tournament_share
        self._crossover_share = crossover_share
        self._mean_changes = mean_changes

    def infer_relative_search_space(self, study: optuna.Study, _trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the dimensions of all decided trials that have more than one value."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        common = intersection_search_space([trial for trial in trials if trial.params], include_pruned=True)
        return {name: distribution for name, distribution in common.items() if not distribution.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values of a child; nothing if there are too few parents, or if no new child was found."""
        trials = study.get_trials(deepcopy=False)
        parents = trained_points(trials)
        if len(parents) < self._n_explore or not search_space:
            return {}
        child = self._child(parents, trials, search_space)
        if child is None:
            return {}
        parent, point = child
        set_trial_attribute(study, trial, PARENT, parent.number)
        return {name: point[name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See BaseSampler."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _child(
        self, parents: Sequence[FrozenTrial], trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]
    ) -> tuple[FrozenTrial, Point] | None:
        """Return a parent and a child of it whose candidate is new, or None if none was found."""
        tried = {self._key(trial) for trial in trials if trial.params.keys() >= space.keys()}
        for _ in range(MAX_DRAWS):
            parent = self._winner(parents)
            point, n_changes = dict(parent.params), self._n_changes(len(self._limits.acting(parent.params)))
            if self._rng.random() < self._crossover_share:
                other = self._winner(parents)
                point |= {name: value for name, value in other.params.items() if is_of_recipe(name)}
                n_changes -= other is not parent
            acting = sorted(self._limits.acting(point) & space.keys())
            changed = self._rng.sample(acting, min(n_changes, len(acting)))
            point |= {name: mutate_value(point[name], space[name], self._rng) for name in changed}
            point = self._limits.fitted(point, set(changed))
            key = self._limits.key(point)
            if key is not None and key not in tried:
                return parent, point
        return None

    def _key(self, trial: FrozenTrial) -> str | None:
        return trial.user_attrs.get(CANDIDATE) or self._limits.key(trial.params)

    def _n_changes(self, n_values: int) -> int:
        share = (self._mean_changes - 1) / max(1, n_values - 1)
        return 1 + sum(self._rng.random() < share for _ in range(n_values - 1))

    def _winner(self, parents: Sequence[FrozenTrial]) -> FrozenTrial:
        """Return the best of a random part of the parents."""
        size = max(2, round(self._tournament_share * len(parents)))
        winner, *entrants = self._rng.sample(parents, min(size, len(parents)))
        for entrant in entrants:
            if is_better(entrant, winner):
                winner = entrant
        return winner


def trained_points(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished and the stopped trials that are points of the space."""
    return [
        trial
        for trial in trials
        if outcome_of(trial) in (FINISHED, STOPPED) and trial.params and USER_NETWORK not in trial.user_attrs
    ]


def is_better(trial: FrozenTrial, other: FrozenTrial) -> bool:
    """Return whether a trial had a higher value than another after the last epoch that both were scored after."""
    epochs = trial.intermediate_values.keys() & other.intermediate_values.keys()
    if not epochs:
        return (trial.value or 0.0) > (other.value or 0.0)
    return trial.intermediate_values[max(epochs)] > other.intermediate_values[max(epochs)]


def mutate_value(value: Any, distribution: BaseDistribution, rng: random.Random) -> Any:
    """Return another value near `value` within its range, or any other choice. The range must have two values."""
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != value]
        return rng.choice(others)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    share = INT_STEP if isinstance(distribution, IntDistribution) else FLOAT_STEP
    new_value = value
    # A value beyond an end becomes the end. Both ends are therefore proposed often, which is intended: 0 switches an
    # augmentation off. A step outwards from an end gives no other value, so it is drawn again.
    while new_value == value:
        deviation = rng.gauss(0, share * (math.log(high / low) if distribution.log else high - low))
        change = value * math.expm1(deviation) if distribution.log else deviation
        if step:
            change = math.copysign(max(1, round(abs(change) / step)) * step, change)
        new_value = min(max(value + change, low), high)
    return int(new_value) if isinstance(distribution, IntDistribution) else float(new_value)
