"""Survey a space for the share that fits the limits, the smallest network and the costliest dimensions."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from statistics import fmean
from typing import Any

from models.cost import Cost, compute_cost
from search.config import SearchConfig
from search.data.load import form_of
from search.engine.latency import measure_latency
from search.errors import InputError
from search.limits import describe_limits, latency_words, standings, worst_excess
from search.search_space.dimensions import Choice, Dimension
from search.search_space.space import Space
from space import assemble, space_of

Params = Mapping[str, Any]
# The smallest draws from which the smallest network is sought.
N_DESCENTS = 3
# Random candidates among which fast networks are sought.
N_FAST_DRAWS = 200
# Ratio of a latency to its limit that noise does not explain.
LATENCY_MARGIN = 2.0


@dataclass(frozen=True)
class Feasibility:
    """Result of a survey of a space with random candidates.

    n_drawn    number of random candidates
    n_fitting  number of candidates within the limits
    smallest   parameters of the smallest network found
    costliest  (dimension, parameters) of the dimensions that change the mean number of parameters most, largest first
    mean_macs  mean multiply-adds of the candidates that fit, or of all of them if none does
    """

    n_drawn: int
    n_fitting: int
    smallest: int
    costliest: tuple[tuple[str, int], ...]
    mean_macs: float

    @property
    def share(self) -> float:
        """Return the share of the random candidates that fit, in [0, 1]."""
        return self.n_fitting / self.n_drawn


class NothingFitsError(InputError):
    """Error for limits within which no point of the space was found."""


def check_something_fits(config: SearchConfig) -> None:
    """Raise NothingFitsError that names the nearest network if no point of the space was found that fits."""
    cost = _cost_function(config)(nearest_point(config))
    reasons = [standing.reason for standing in standings(cost, config) if standing.slack < 0]
    if reasons:
        raise NothingFitsError(
            f"nothing in the space fits {describe_limits(config)}: the nearest network found has {'; '.join(reasons)}; "
            "raise the limit or widen the space"
        )


def check_latency(config: SearchConfig) -> None:
    """Raise NothingFitsError if even networks with few layers and multiply-adds take twice the limit of latency.

    They are a network within the other limits that no change of one dimension makes faster, and its nearest ones in a
    random draw. Latency is measured, so a smaller excess may be noise.
    """
    if config.max_latency is None:
        return
    space, cost_of, rng = space_of(config), _cost_function(config), random.Random(0)

    def expected(params: Params) -> float:
        """Return a number that grows with the latency, by layers first, and far more over a limit."""
        cost = cost_of(params)
        return 1e15 * max(0.0, worst_excess(cost, config)) + 1e9 * len(cost.layers) + cost.macs

    draws = sorted((space.sample(rng) for _ in range(N_FAST_DRAWS)), key=expected)[:N_DESCENTS]
    points = [_descend(space, expected, nearest_point(config))[0], *draws]
    form = form_of(config.data)
    fastest = min(measure_latency(assemble(point, form.input_shape, form.n_classes).arch) for point in points)
    if fastest > LATENCY_MARGIN * config.max_latency:
        raise NothingFitsError(
            f"nothing in the space fits {config.max_latency:g} ms of latency: the fastest network found has "
            f"{latency_words(fastest, config)}; raise --max-latency"
        )


def survey(config: SearchConfig, *, n_draws: int = 2000, seed: int = 0) -> Feasibility:
    """Survey the space of a search by the computed cost of `n_draws` random candidates; nothing is built."""
    rng = random.Random(seed)
    space, cost_of = space_of(config), _cost_function(config)
    draws = [space.sample(rng) for _ in range(n_draws)]
    costs = [cost_of(params) for params in draws]
    counts = [cost.n_params for cost in costs]
    # A descent may end at a network from which no single change leads further.
    starts = sorted(draws, key=lambda params: cost_of(params).n_params)[:N_DESCENTS]
    macs = [cost.macs for cost in costs if worst_excess(cost, config) <= 0] or [cost.macs for cost in costs]
    effects = {dimension.name: _effect(dimension, draws, counts) for dimension in space.dimensions}
    return Feasibility(
        n_drawn=n_draws,
        n_fitting=sum(worst_excess(cost, config) <= 0 for cost in costs),
        smallest=round(min(_descend(space, lambda params: cost_of(params).n_params, start)[1] for start in starts)),
        costliest=tuple(sorted(effects.items(), key=lambda item: -item[1])[:3]),
        mean_macs=fmean(macs),
    )


def _effect(dimension: Dimension, draws: Sequence[Params], counts: Sequence[int]) -> int:
    """Return the effect of a dimension on the mean of `counts`, the parameters of the `draws`.

    It is the largest difference between the means of choices, or that between the lowest and highest third of a range.
    """
    if isinstance(dimension, Choice):
        groups = [
            [n for params, n in zip(draws, counts, strict=True) if params[dimension.name] == choice]
            for choice in dimension.choices
        ]
    else:
        values = [params[dimension.name] for params in draws]
        by_value = [n for _, n in sorted(zip(values, counts, strict=True), key=itemgetter(0))]
        third = max(1, len(by_value) // 3)
        groups = [by_value[:third], by_value[-third:]]
    means = [sum(group) / len(group) for group in groups if group]
    return round(max(means) - min(means))


def nearest_point(config: SearchConfig, *, n_climbs: int = 2, n_steps: int = 4000, seed: int = 0) -> dict[str, Any]:
    """Return a point well within the limits or, if none was found, the one that exceeds them least.

    The search changes one to three dimensions of a random point at a time, and keeps the change if the sum of all
    excesses does not grow. It uses the sum because limits may conflict, such as few parameters and a wide receptive
    field.
    """
    rng, space, cost_of = random.Random(seed), space_of(config), _cost_function(config)

    def total_excess(params: Params) -> float:
        return sum(max(0.0, standing.excess) for standing in standings(cost_of(params), config))

    def largest_excess(params: Params) -> float:
        return worst_excess(cost_of(params), config)

    nearest: dict[str, Any] = {}
    for _ in range(n_climbs):
        point = _climb(space, total_excess, rng, n_steps)
        nearest = min(nearest or point, point, key=total_excess)
        if total_excess(nearest) == 0:
            break
    return _descend(space, largest_excess if total_excess(nearest) == 0 else total_excess, nearest)[0]


def _climb(space: Space, measure: Callable[[Params], float], rng: random.Random, n_steps: int) -> dict[str, Any]:
    """Return the point with the lowest measure that random changes of a random point reach; 0 is low enough."""
    best = space.sample(rng)
    lowest = measure(best)
    for _ in range(n_steps):
        if lowest == 0:
            break
        dimensions = rng.sample(space.dimensions, min(rng.randint(1, 3), len(space.dimensions)))
        changed = best | {dimension.name: dimension.sample(rng) for dimension in dimensions}
        if (measured := measure(changed)) <= lowest:
            best, lowest = changed, measured
    return best


def _cost_function(config: SearchConfig) -> Callable[[Params], Cost]:
    """Return the function that computes the cost of a point of the search's space."""
    form = form_of(config.data)
    return lambda params: compute_cost(assemble(params, form.input_shape, form.n_classes).arch)


def _descend(space: Space, measure: Callable[[Params], float], start: Params) -> tuple[dict[str, Any], float]:
    """Return the point with the lowest measure that is reached from `start`, and its measure.

    Each step changes one dimension, to an end of its range or to another choice.
    """
    best, lowest = dict(start), measure(start)
    improved = True
    while improved:
        improved = False
        for dimension in space.dimensions:
            ends = dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)
            for value in ends:
                changed = best | {dimension.name: value}
                if (measured := measure(changed)) < lowest:
                    best, lowest, improved = changed, measured, True
    return best, lowest


def feasibility_report(feasibility: Feasibility) -> str:
    """Return three lines with the share that fits, the smallest network and the costliest dimensions."""
    costly = ", ".join(f"{name} (up to {n:,})" for name, n in feasibility.costliest)
    return "\n".join(
        (
            f"share of the space that fits  {feasibility.n_fitting:,} of {feasibility.n_drawn:,} random candidates",
            f"smallest network found        {feasibility.smallest:,} parameters",
            f"dimensions that cost most     {costly} parameters",
        )
    )
