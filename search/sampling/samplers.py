"""Samplers that propose the next point from the trials of a study and their ranges, and know nothing of networks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from search.config import SAMPLERS
from search.sampling.proposals import N_START, SeededSampler, Start, StartSampler
from search.storage.optuna_internals import set_trial_attribute
from search.study.attributes import PARENT, USER_NETWORK
from search.study.loop import n_trained
from search.study.trials import FINISHED, outcome_of

# Standard deviation of a step as a share of the range, on a log scale of its logarithm. A width from 3 to 32 changes by
# about an eighth, and every whole number by at least 1.
FLOAT_STEP = 0.125
INT_STEP = 0.05
# Number of mutations that are tried before the space counts as exhausted.
MAX_DRAWS = 100


class EvolveSampler(BaseSampler):
    """Sampler of one proposal that explores with TPE, and later mostly mutates one of the best finished trials.

    Evolution by mutation alone, with tournaments for parents, follows Real et al., Regularized Evolution for Image
    Classifier Architecture Search (arXiv 1802.01548). Their populations age, so that a lucky value is forgotten. A
    search of a hundred trials has too few generations for that, so here several parents reduce the effect of luck.

    n_explore     trained trials before the first mutation, including starting points and trials that were stopped early
    n_parents     number of best trials that are parents. The better of two drawn parents is taken, so that of 8 parents
                  the best has a share of 23 % and the last one of 2 %
    tpe_share     share of the later proposals that come from TPE, for values that no parent has
    mean_changes  mean number of values that differ from the parent's, at least 1; some may not affect the network
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
        """Return the dimensions of all decided trials: every dimension, if every trial suggests every value."""
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values of a mutation, or of a proposal of TPE."""
        trials = study.get_trials(deepcopy=False)
        finished = best_finished(trials)
        point = None
        explored = bool(finished) and n_trained(trials) >= self._n_explore
        if search_space and explored and self._rng.random() >= self._tpe_share:
            mutation = self._mutation(finished[: self._n_parents], trials, search_space)
            if mutation is not None:
                parent, point = mutation
                set_trial_attribute(study, trial, PARENT, parent.number)
        return self._tpe.sample_relative(study, trial, search_space) if point is None else point

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See BaseSampler."""
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def _mutation(
        self, parents: Sequence[FrozenTrial], trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]
    ) -> tuple[FrozenTrial, dict[str, Any]] | None:
        """Return a parent and a mutation of it that no trial has had yet, or None if none was found."""
        names = list(space)
        share = (self._mean_changes - 1) / max(1, len(names) - 1)
        for _ in range(MAX_DRAWS):
            parent = parents[min(self._rng.randrange(len(parents)) for _ in range(2))]
            n_changes = 1 + sum(self._rng.random() < share for _ in names[1:])
            point = {name: parent.params[name] for name in names}
            for name in self._rng.sample(names, n_changes):
                point[name] = mutate_value(point[name], space[name], self._rng)
            if not any(point.items() <= trial.params.items() for trial in trials):
                return parent, point
        return None


def best_finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished trials that are points of the space, best first.

    Repeated trials are left out, because their values are those of finished ones.
    """
    finished = [trial for trial in trials if outcome_of(trial) == FINISHED and trial.value is not None]
    finished = [trial for trial in finished if USER_NETWORK not in trial.user_attrs]
    return sorted(finished, key=lambda trial: -(trial.value or 0.0))


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


def _tpe(seed: int) -> TPESampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


@dataclass(frozen=True)
class SamplerKind:
    """Row of the table of samplers.

    A sampler is made anew for every proposal, so all that it remembers must be in the trials of the study.

    make             function that makes a sampler from a seed
    starts_feasible  True if the sampler begins with proposals that fit the limits
    """

    make: Callable[[int], BaseSampler]
    starts_feasible: bool = True


# The random sampler is the control: it always draws from the whole space, and draws that do not fit are refused.
KINDS = {
    "tpe": SamplerKind(_tpe),
    "random": SamplerKind(lambda seed: RandomSampler(seed=seed), starts_feasible=False),
    "evolve": SamplerKind(EvolveSampler),
}
if KINDS.keys() != SAMPLERS.keys():
    raise TypeError("every sampler needs a row in KINDS and its name and help in search.config.SAMPLERS")


def make_sampler(name: str, seed: int, start: Start | None = None) -> BaseSampler:
    """Return the sampler of that name, which begins with points of `start` if that is given."""
    kind = KINDS[name]
    if start is None or not kind.starts_feasible:
        return SeededSampler(seed, kind.make)
    return SeededSampler(seed, lambda seed: StartSampler(seed, kind.make(seed), start))
