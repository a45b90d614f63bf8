"""Find points within every limit, for the first proposals of a search and for those of evolution.

Random points are drawn until one fits, so each fitting point is as likely as in random search. Where hardly any point
fits, the last draw is moved towards a fitting point. First its choices are adopted one by one, if the network with the
whole numbers of the fitting point still fits. Then all its whole numbers (widths, depths) are scaled together by
bisection. All of this is arithmetic, and no value leaves its range.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from models.cost import compute_cost
from search.config import SearchConfig
from search.data.load import form_of
from search.limits import worst_excess
from search.sampling.feasibility import nearest_point
from search.search_space.active import active_dimensions
from search.search_space.augmentations import as_searched
from search.search_space.dimensions import Choice, IntRange, SuggestsValues
from space import assemble, space_of

Params = dict[str, Any]

# A draw takes a tenth of a millisecond. If two of a hundred points fit, 64 draws suffice for three of four proposals.
N_DRAWS = 64
N_HALVINGS = 6


class FeasibleStart:
    """Source of points within the limits of a search; picklable, so that every worker can have its own."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._space = space_of(config)
        self._form = form_of(config.data)

    def ask(self, trial: SuggestsValues) -> None:
        """Suggest a value for every dimension with `trial`."""
        self._space.suggest(trial)

    def point(self, first: Params, rng: random.Random) -> Params:
        """Return `first` if it fits, else a point found with `rng` that does, or `first` if none was found."""
        point = first
        for _ in range(N_DRAWS):
            if self.fits(point):
                return point
            point = self._space.sample(rng)
        if self.fits(point):
            return point
        fitting = self._fitting_point
        return first if fitting is None else self._move_towards(fitting, point, rng)

    def fits(self, params: Params) -> bool:
        """Return whether the network of a point is within every limit."""
        return self.key(params) is not None

    def key(self, params: Params) -> str | None:
        """Return the key of the candidate of a point, or None if its network is over a limit."""
        candidate = assemble(params, self._form.input_shape, self._form.n_classes)
        if worst_excess(compute_cost(candidate.arch), self._config) > 0:
            return None
        return replace(candidate, recipe=as_searched(candidate.recipe, self._config)).key()

    def acting(self, params: Params) -> set[str]:
        """Return the names of the values of which another one alone would give another candidate."""
        return active_dimensions(self._space.dimensions, params, self._form.input_shape, self._form.n_classes)

    def fitted(self, params: Params, kept: set[str]) -> Params:
        """Return the point, with its widths scaled down together if it is over a limit; those named in `kept` stay.

        If that does not suffice, the point is returned as it is.
        """
        if self.fits(params):
            return params
        widths = [
            dimension
            for dimension in self._space.dimensions
            if isinstance(dimension, IntRange) and dimension.log and dimension.name not in kept
        ]
        narrowest = {dimension.name: dimension.low for dimension in widths}
        return self._scaled(params, widths, narrowest, params)

    @cached_property
    def _fitting_point(self) -> Params | None:
        """Return a point well within the limits, or None if none was found; computed once, on first use."""
        nearest = nearest_point(self._config)
        return nearest if self.fits(nearest) else None

    def _move_towards(self, fitting: Params, drawn: Params, rng: random.Random) -> Params:
        """Return a fitting point with the choices of `drawn` that fit, and whole numbers on the way to `drawn`."""
        ranges = [dimension for dimension in self._space.dimensions if isinstance(dimension, IntRange)]
        point = drawn | {dimension.name: fitting[dimension.name] for dimension in ranges}
        choices = [dimension.name for dimension in self._space.dimensions if isinstance(dimension, Choice)]
        point |= {name: fitting[name] for name in choices}
        for name in rng.sample(choices, len(choices)):
            if self.fits(point | {name: drawn[name]}):
                point[name] = drawn[name]
        return self._scaled(point, ranges, fitting, drawn)

    def _scaled(self, point: Params, ranges: Sequence[IntRange], start: Params, end: Params) -> Params:
        """Return a point with whole numbers as far on the way from `start` to `end` as it fits.

        If none of the points on the way that were tried fits, `point` is returned as it is.
        """
        share, step, found = 0.0, 0.5, point
        for _ in range(N_HALVINGS):
            scaled = point | {
                dimension.name: _between(dimension, start[dimension.name], end[dimension.name], share + step)
                for dimension in ranges
            }
            if self.fits(scaled):
                found = scaled
                share += step
            step /= 2
        return found


def _between(dimension: IntRange, start: int, end: int, share: float) -> int:
    """Return the whole number at `share` of the way from `start` to `end`, by ratio if the range is logarithmic."""
    return round(
        math.exp((1 - share) * math.log(start) + share * math.log(end))
        if dimension.log
        else start + (end - start) * share
    )
