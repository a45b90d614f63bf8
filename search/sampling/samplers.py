"""The samplers: what is proposed next. Each knows the study's trials and their ranges, and nothing of networks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from search.config import SAMPLERS
from search.search_space.dimensions import SuggestsValues
from search.storage.optuna_internals import fixed_params
from search.study.attributes import LATENCY, OUTCOME, USER_NETWORK
from search.study.loop import n_trained
from search.study.seeds import ProposalIndices, derived_seed
from search.study.trials import FINISHED, REFUSED, outcome_of

# Standard deviation of a step, as a share of the range (of its logarithm, on a log scale). A width from 3 to 32 moves
# by about an eighth; a whole number always by 1 at least.
FLOAT_STEP = 0.125
INT_STEP = 0.05
# So many trials are drawn before TPE takes them for a pattern.
N_START = 10
# Mutations to try before the space counts as used up.
MAX_DRAWS = 100


class SeededSampler(BaseSampler):
    """Gives every proposal a fresh sampler, seeded by the study's seed and the proposal's index.

    An ordinary seeded sampler goes on from where its generator stands, so that a resumed study would repeat its first
    proposals, and workers with one seed would propose alike.
    """

    def __init__(self, seed: int, make_sampler: Callable[[int], BaseSampler]) -> None:
        self._seed = seed
        self._make_sampler = make_sampler
        self._indices = ProposalIndices()
        self._sampler = make_sampler(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Called first in every proposal that needs sampling."""
        if USER_NETWORK in trial.user_attrs:
            return {}  # it will not be asked for any value
        index = self._indices.index(trial, study.get_trials(deepcopy=False))
        self._sampler = self._make_sampler(derived_seed(self._seed, "sampler", index))
        return self._sampler.infer_relative_search_space(study, trial) or _space_beside_user_networks(study)

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


class Start(Protocol):
    """Protocol of the beginning of a search, which knows what fits its limits."""

    def ask(self, trial: SuggestsValues) -> None:
        """Ask `trial` for every dimension."""

    def point(self, first: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        """A point that fits: `first` if it does, else another one drawn with `rng`."""


class StartSampler(BaseSampler):
    """Proposes points that fit until N_START trials did, then what `sampler` proposes. For one proposal.

    The first draw is the one that RandomSampler makes with the same seed, so where everything fits the two begin alike.
    """

    def __init__(self, seed: int, sampler: BaseSampler, start: Start) -> None:
        self._seed = seed
        self._sampler = sampler
        self._start = start
        self._is_starting = False

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All dimensions at once, at the start; else see BaseSampler."""
        self._is_starting = n_within(study.get_trials(deepcopy=False)) < N_START
        if not self._is_starting or fixed_params(trial):
            return self._sampler.infer_relative_search_space(study, trial)
        asked = Distributions()
        self._start.ask(asked)
        return asked.found

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See BaseSampler."""
        if not self._is_starting or fixed_params(trial):
            return self._sampler.sample_relative(study, trial, search_space)
        drawn = RandomSampler(seed=self._seed)
        first = {name: drawn.sample_independent(study, trial, name, one) for name, one in search_space.items()}
        return self._start.point(first, random.Random(derived_seed(self._seed, "start")))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See BaseSampler."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


class Distributions:
    """Stands in for a trial, and takes down what it is asked for. It answers with the lowest value, or first choice."""

    def __init__(self) -> None:
        self.found: dict[str, BaseDistribution] = {}

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """See SuggestsValues."""
        self.found[name] = IntDistribution(low, high, log=log)
        return low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """See SuggestsValues."""
        self.found[name] = FloatDistribution(low, high, log=log)
        return low

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """See SuggestsValues."""
        self.found[name] = CategoricalDistribution(choices)
        return choices[0]


def n_within(trials: Sequence[FrozenTrial]) -> int:
    """Count the decided trials within the limits that a start knows of; a latency is measured after them."""
    decided = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return sum(trial.user_attrs.get(OUTCOME) != REFUSED or LATENCY in trial.user_attrs for trial in decided)


class EvolveSampler(BaseSampler):
    """Explores with TPE, then mostly changes a few values of one of the best finished trials. For one proposal.

    Evolution by mutation alone with tournaments for parents: Real et al., Regularized Evolution for Image Classifier
    Architecture Search (arXiv 1802.01548). Their populations age, so that a lucky value is forgotten; a search of a
    hundred trials has no generations to lose, so luck is met here by parents that are drawn from several.

    n_explore    trained trials, the starting points and those stopped early included, before the first mutation
    n_parents    the best so many are parents; the better of two drawn ones is taken, so of 8 the best has a share of
                 23 % and the last of 2 %
    tpe_share    of the later proposals, for what no parent has
    mean_changes mean number of values that differ from the parent's; at least 1. Some may have no effect on a network
    """

    def __init__(
        self,
        seed: int,
        n_explore: int = N_START,
        n_parents: int = 8,
        tpe_share: float = 0.25,
        mean_changes: float = 3.0,
    ) -> None:
        self._rng = random.Random(seed)
        self._tpe = _tpe(seed)
        self._n_explore = n_explore
        self._n_parents = n_parents
        self._tpe_share = tpe_share
        self._mean_changes = mean_changes

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What all decided trials have in common: everything, where every value is suggested in every trial."""
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All values at once: a mutation, or what TPE proposes."""
        trials = study.get_trials(deepcopy=False)
        finished = best_finished(trials)
        found = None
        explored = bool(finished) and n_trained(trials) >= self._n_explore
        if search_space and explored and self._rng.random() >= self._tpe_share:
            found = self._mutation(finished[: self._n_parents], trials, search_space)
        return self._tpe.sample_relative(study, trial, search_space) if found is None else found

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See BaseSampler."""
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def _mutation(
        self, parents: Sequence[FrozenTrial], trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any] | None:
        """A point that no trial has had yet; None if none was found."""
        names = list(space)
        share = (self._mean_changes - 1) / max(1, len(names) - 1)
        for _ in range(MAX_DRAWS):
            parent = parents[min(self._rng.randrange(len(parents)) for _ in range(2))]
            n_changes = 1 + sum(self._rng.random() < share for _ in names[1:])
            point = {name: parent.params[name] for name in names}
            for name in self._rng.sample(names, n_changes):
                point[name] = moved(point[name], space[name], self._rng)
            if not any(point.items() <= trial.params.items() for trial in trials):
                return point
        return None


def best_finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The points trained to the end, best first. Repeated ones are left out: their value is already there."""
    finished = [trial for trial in trials if outcome_of(trial) == FINISHED and trial.value is not None]
    finished = [trial for trial in finished if USER_NETWORK not in trial.user_attrs]
    return sorted(finished, key=lambda trial: -(trial.value or 0.0))


def moved(value: Any, distribution: BaseDistribution, rng: random.Random) -> Any:
    """Another value near `value`, within the range; of choices, any other one. The range must have two values."""
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != value]
        return rng.choice(others)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    share = INT_STEP if isinstance(distribution, IntDistribution) else FLOAT_STEP
    found = value
    # Beyond an end is the end, so both ends are met often, as they should: 0 switches an augmentation off. From an end
    # outwards there is no other value, so that is drawn again.
    while found == value:
        by = rng.gauss(0, share * (math.log(high / low) if distribution.log else high - low))
        change = value * math.expm1(by) if distribution.log else by
        if step:
            change = math.copysign(max(1, round(abs(change) / step)) * step, change)
        found = min(max(value + change, low), high)
    return int(found) if isinstance(distribution, IntDistribution) else float(found)


def _space_beside_user_networks(study: optuna.Study) -> dict[str, BaseDistribution]:
    """Return the dimensions that all decided trials but the user networks have; none where there is no user network.

    Optuna's samplers infer the dimensions that all trials have in common. A user network has none, so beside one they
    would sample every dimension on its own.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    points = [trial for trial in trials if USER_NETWORK not in trial.user_attrs]
    if len(points) == len(trials):
        return {}
    common = intersection_search_space(points, include_pruned=True)
    return {name: distribution for name, distribution in common.items() if not distribution.single()}


def _tpe(seed: int) -> TPESampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


@dataclass(frozen=True)
class SamplerKind:
    """A sampler: how one is made from a seed, and whether it begins with proposals that fit the limits."""

    make: Callable[[int], BaseSampler]
    starts_feasible: bool = True


# The control draws from the whole space from first to last, and is refused what does not fit.
KINDS = {
    "tpe": SamplerKind(_tpe),
    "random": SamplerKind(lambda seed: RandomSampler(seed=seed), starts_feasible=False),
    "evolve": SamplerKind(EvolveSampler),
}
if KINDS.keys() != SAMPLERS.keys():
    raise TypeError("every sampler needs a row in KINDS and its name and help in search.config.SAMPLERS")


def make_sampler(name: str, seed: int, start: Start | None = None) -> BaseSampler:
    """Return the sampler of that name. start: how it begins; None begins without knowing what fits."""
    kind = KINDS[name]
    if start is None or not kind.starts_feasible:
        return SeededSampler(seed, kind.make)
    return SeededSampler(seed, lambda seed: StartSampler(seed, kind.make(seed), start))
