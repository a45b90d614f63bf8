"""Points within every limit, for the proposals that a search begins with.

A random point is drawn again until one fits: among the points that fit, each is as likely as in random search. Where
hardly any fits, the last draw is pulled towards a point that does: first its choices are taken as drawn, as long as the
network with the smallest ranges still fits, then all its whole numbers (widths, depths) are scaled together by
bisection. All of it is arithmetic; no value leaves its range.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from models.cost import compute_cost
from search.config import SearchConfig
from search.data.load import form_of
from search.limits import worst_excess
from search.sampling.feasibility import nearest_point
from search.search_space.dimensions import Choice, IntRange, SuggestsValues
from space import assemble, space_of

Params = dict[str, Any]

# Each takes a tenth of a millisecond. Where two points of a hundred fit, three of four proposals need no more.
N_DRAWS = 64
N_HALVINGS = 6


class FeasibleStart:
    """Draws points of the space that are within the limits of a search; picklable, for every worker to have its own."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._space = space_of(config)
        self._form = form_of(config.data)

    def ask(self, trial: SuggestsValues) -> None:
        """Ask `trial` for every dimension."""
        self._space.suggest(trial)

    def point(self, first: Params, rng: random.Random) -> Params:
        """A point that fits: `first` if it does, else another one drawn with `rng`; `first` where none was found."""
        drawn = first
        for _ in range(N_DRAWS):
            if self.fits(drawn):
                return drawn
            drawn = self._space.sample(rng)
        within = self._within
        return drawn if self.fits(drawn) else first if within is None else self._pulled(drawn, within, rng)

    def fits(self, params: Mapping[str, Any]) -> bool:
        """Return whether the network of a point is within every limit."""
        arch = assemble(params, self._form.input_shape, self._form.n_classes).arch
        return worst_excess(compute_cost(arch), self._config) <= 0

    @cached_property
    def _within(self) -> Params | None:
        """A point that fits, as far within the limits as was found. Sought once, when it is first needed."""
        nearest = nearest_point(self._config)
        return nearest if self.fits(nearest) else None

    def _pulled(self, drawn: Params, within: Params, rng: random.Random) -> Params:
        """Return `drawn` as far as it fits, and for the rest values on the way to it from `within`."""
        ranges = [dimension for dimension in self._space.dimensions if isinstance(dimension, IntRange)]
        point = drawn | {dimension.name: within[dimension.name] for dimension in ranges}
        choices = [dimension.name for dimension in self._space.dimensions if isinstance(dimension, Choice)]
        point |= {name: within[name] for name in choices}
        for name in rng.sample(choices, len(choices)):
            if self.fits(point | {name: drawn[name]}):
                point[name] = drawn[name]
        share, step = 0.0, 0.5
        for _ in range(N_HALVINGS):
            scaled = {one.name: _between(one, within[one.name], drawn[one.name], share + step) for one in ranges}
            if self.fits(point | scaled):
                point |= scaled
                share += step
            step /= 2
        return point


def _between(dimension: IntRange, start: int, end: int, share: float) -> int:
    """The whole number at `share` of the way, by ratio where the range is logarithmic."""
    return round(
        math.exp((1 - share) * math.log(start) + share * math.log(end))
        if dimension.log
        else start + (end - start) * share
    )
