"""How much of the space fits the limits, how small its networks get, and what makes them large."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from models.cost import Cost, compute_cost
from objective import refusal
from search.config import SearchConfig
from search.data import definition
from search.dimensions import Choice, Dimension
from space import DIMENSIONS, assemble

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Feasibility:
    """share: of `n_drawn` random candidates; smallest: parameters of the smallest network found.

    costliest: (dimension, parameters) for the dimensions that move the mean parameter count most, largest first.
    """

    n_drawn: int
    n_fitting: int
    smallest: int
    costliest: tuple[tuple[str, int], ...]

    @property
    def share(self) -> float:
        """Share of the random candidates that fit, in [0, 1]."""
        return self.n_fitting / self.n_drawn


def survey(config: SearchConfig, *, n_draws: int = 2000, seed: int = 0) -> Feasibility:
    """Draw candidates as a random search would and count what they cost; nothing is built."""
    known = definition(config.data.dataset)

    def cost(params: Params) -> Cost:
        return compute_cost(assemble(params, known.input_shape, known.n_classes).arch)

    rng = random.Random(seed)
    draws = [{dimension.name: dimension.sample(rng) for dimension in DIMENSIONS} for _ in range(n_draws)]
    costs = [cost(params) for params in draws]
    counts = [one.n_params for one in costs]
    effects = {dimension.name: _effect(dimension, draws, counts) for dimension in DIMENSIONS}
    return Feasibility(
        n_drawn=n_draws,
        n_fitting=sum(not refusal(one, config)[1] for one in costs),
        smallest=_descend(lambda params: cost(params).n_params, draws[counts.index(min(counts))]),
        costliest=tuple(sorted(effects.items(), key=lambda item: -item[1])[:3]),
    )


def _effect(dimension: Dimension, draws: Sequence[Params], counts: Sequence[int]) -> int:
    """How far the mean count moves between choices, or between the lowest and the highest third of a range."""
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


def _descend(count: Callable[[Params], int], start: Params) -> int:
    """The smallest count reached from `start` by changing one dimension at a time to an end or another choice."""
    best, smallest = dict(start), count(start)
    improved = True
    while improved:
        improved = False
        for dimension in DIMENSIONS:
            ends = dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)
            for value in ends:
                changed = best | {dimension.name: value}
                if (n := count(changed)) < smallest:
                    best, smallest, improved = changed, n, True
    return smallest


def feasibility_report(feasibility: Feasibility) -> str:
    """How much fits, how small it gets, what costs most: three lines."""
    costly = ", ".join(f"{name} (up to {n:,})" for name, n in feasibility.costliest)
    return "\n".join(
        (
            f"share of the space that fits  {feasibility.n_fitting:,} of {feasibility.n_drawn:,} random candidates",
            f"smallest network found        {feasibility.smallest:,} parameters",
            f"dimensions that cost most     {costly} parameters",
        )
    )
