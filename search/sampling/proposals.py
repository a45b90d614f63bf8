"""Give every proposal a sampler of its own, and begin a search with proposals that fit its limits."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from search.search_space.dimensions import SuggestsValues
from search.storage.optuna_internals import fixed_params, set_trial_attribute
from search.study.attributes import IS_DRAWN, LATENCY, OUTCOME, USER_NETWORK
from search.study.seeds import ProposalIndices, derived_seed
from search.study.trials import REFUSED

# Number of trials with which a search begins, before TPE or a mutation builds on them.
N_START = 10


class SeededSampler(BaseSampler):
    """Sampler that makes a new sampler for every proposal, seeded with the study's seed and the proposal's index.

    An ordinary seeded sampler keeps one generator for all proposals. A resumed study would restart it and repeat its
    first proposals, and workers with the same seed would make the same proposals.
    """

    def __init__(self, seed: int, make_sampler: Callable[[int], BaseSampler]) -> None:
        self._seed = seed
        self._make_sampler = make_sampler
        self._indices = ProposalIndices()
        self._sampler = make_sampler(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Make the sampler of this proposal, and return its search space.

        Optuna calls this method first for every proposal.
        """
        if USER_NETWORK in trial.user_attrs:
            return {}  # no value will be suggested
        index = self._indices.index(trial, study.get_trials(deepcopy=False))
        self._sampler = self._make_sampler(derived_seed(self._seed, "sampler", index))
        return self._sampler.infer_relative_search_space(study, trial) or _space_beside_other_trials(study)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See BaseSampler."""
        return self._sampler.sample_relative(study, trial, search_space) if search_space else {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See BaseSampler."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


class Limits(Protocol):
    """Protocol of what a sampler has to know of the candidates that points stand for, in order to propose what fits."""

    def key(self, point: dict[str, Any]) -> str | None:
        """Return the key of a point's candidate, or None if it is over a limit."""

    def acting(self, point: dict[str, Any], /) -> set[str]:
        """Return the names of the values of which another one alone would give another candidate."""

    def fitted(self, point: dict[str, Any], kept: set[str], /) -> dict[str, Any]:
        """Return the point, with smaller whole numbers if it is over a limit; those named in `kept` stay."""


class Start(Limits, Protocol):
    """Protocol of a source of points within the limits of a search."""

    def ask(self, trial: SuggestsValues) -> None:
        """Suggest a value for every dimension with `trial`."""

    def point(self, first: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        """Return `first` if it fits, else another point that does, drawn with `rng`."""


class StartSampler(BaseSampler):
    """Sampler of one proposal that draws a point within the limits at the start of a study, and later uses `sampler`.

    The start lasts until N_START trials are within the limits. The first draw equals that of RandomSampler with the
    same seed, so both propose the same points where all points fit.

    drawn_share  share of the later proposals that are drawn as well, for values that no trial has
    """

    def __init__(self, seed: int, sampler: BaseSampler, start: Start, drawn_share: float = 0.0) -> None:
        self._seed = seed
        self._sampler = sampler
        self._start = start
        self._draws_later = random.Random(derived_seed(seed, "drawn")).random() < drawn_share
        self._is_starting = False

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all dimensions at the start of a study, and later those of the other sampler."""
        self._is_starting = self._draws_later or n_within(study.get_trials(deepcopy=False)) < N_START
        if not self._is_starting or fixed_params(trial):
            return self._sampler.infer_relative_search_space(study, trial)
        distributions = Distributions()
        self._start.ask(distributions)
        return distributions.by_name

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See BaseSampler."""
        if not self._is_starting or fixed_params(trial):
            return self._sampler.sample_relative(study, trial, search_space)
        set_trial_attribute(study, trial, IS_DRAWN, value=True)
        sampler = RandomSampler(seed=self._seed)
        first = {
            name: sampler.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }
        # The logarithm of a fixed number does not lead back to exactly that number.
        first |= {
            name: distribution.low
            for name, distribution in search_space.items()
            if isinstance(distribution, FloatDistribution) and distribution.single()
        }
        return self._start.point(first, random.Random(derived_seed(self._seed, "start")))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See BaseSampler."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


class Distributions:
    """Stand-in for a trial that collects the suggested distributions, and suggests the lowest value or first choice."""

    def __init__(self) -> None:
        self.by_name: dict[str, BaseDistribution] = {}

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """See SuggestsValues."""
        self.by_name[name] = IntDistribution(low, high, log=log)
        return low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """See SuggestsValues."""
        self.by_name[name] = FloatDistribution(low, high, log=log)
        return low

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """See SuggestsValues."""
        self.by_name[name] = CategoricalDistribution(choices)
        return choices[0]


def n_within(trials: Sequence[FrozenTrial]) -> int:
    """Count the decided trials within the limits that a start can check, which are all limits but that of latency."""
    decided = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return sum(trial.user_attrs.get(OUTCOME) != REFUSED or LATENCY in trial.user_attrs for trial in decided)


def _space_beside_other_trials(study: optuna.Study) -> dict[str, BaseDistribution]:
    """Return the dimensions of all decided trials except those without any; none if every trial has dimensions.

    Optuna's samplers infer the dimensions that all trials have in common. User networks and trials that were queued
    with values outside the space have no dimensions, so with one in the study they would sample every dimension
    independently.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    points = [trial for trial in trials if trial.params]
    if len(points) == len(trials):
        return {}
    common = intersection_search_space(points, include_pruned=True)
    return {name: distribution for name, distribution in common.items() if not distribution.single()}
