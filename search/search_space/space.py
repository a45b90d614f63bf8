"""A set of dimensions, and the way from a point of them to a network and back."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from models.recipe import RecipeConfig
from models.record import RecordError
from models.spec import ArchSpec
from search.search_space.dimensions import Dimension, SuggestsValues
from search.search_space.encoding import Params, assemble, params_of


class NotInSpaceError(ValueError):
    """A network or recipe that is no point of the space."""


@dataclass(frozen=True)
class Space:
    """DIMENSIONS, or the same with other ranges: what search.search_space.space_file makes of a --space file."""

    dimensions: tuple[Dimension, ...]

    @cached_property
    def defaults(self) -> Params:
        """The point that inactive dimensions, and all that nobody chose, are taken from."""
        return {dimension.name: dimension.default for dimension in self.dimensions}

    def suggest(self, trial: SuggestsValues) -> Params:
        """Ask `trial` for every dimension."""
        return {dimension.name: dimension.suggest(trial) for dimension in self.dimensions}

    def sample(self, rng: random.Random) -> Params:
        """One point drawn as a random search would."""
        return {dimension.name: dimension.sample(rng) for dimension in self.dimensions}

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether all values of a point are within their ranges."""
        return all(dimension.holds(params[dimension.name]) for dimension in self.dimensions)

    def completed(self, params: Mapping[str, Any]) -> Params:
        """A point of this space or an older one, with the defaults of dimensions that it does not have."""
        return self.defaults | {name: value for name, value in params.items() if name in self.defaults}

    def to_params(self, arch: ArchSpec, recipe: RecipeConfig | None = None) -> Params:
        """The inverse of `assemble`: the point that stands for a network and a recipe (None: that of the defaults).

        Inactive dimensions get their defaults. Raises NotInSpaceError if no point stands for exactly that.
        """
        params = params_of(arch, recipe, self.defaults)
        try:
            found = assemble(params, arch.input_shape, arch.n_classes)
        except (KeyError, RecordError) as error:
            raise NotInSpaceError(f"the space has no such network: {error}") from error
        if found.arch != arch or (recipe is not None and found.recipe != recipe) or not self.holds(params):
            raise NotInSpaceError("the space has no such network or recipe")
        return params
