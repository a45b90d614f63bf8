"""Space of searched dimensions, whose points are converted to networks and back."""

from __future__ import annotations

import difflib
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from models.recipe import RecipeConfig
from models.record import RecordError, short_repr
from models.spec import ArchSpec
from search.search_space.buildable import AUGMENTATION_DIMENSIONS
from search.search_space.decoding import params_of
from search.search_space.dimensions import Choice, Dimension, SuggestsValues, accepts
from search.search_space.encoding import Params, assemble


class NotInSpaceError(ValueError):
    """Error for a network or a recipe that is no point of the space."""


@dataclass(frozen=True)
class Space:
    """Set of searched dimensions, as space.py lists them or as a --space file has changed them."""

    dimensions: tuple[Dimension, ...]

    @cached_property
    def defaults(self) -> Params:
        """Return the point with the default of every dimension, which inactive and unset dimensions get."""
        return {dimension.name: dimension.default for dimension in self.dimensions}

    @cached_property
    def key(self) -> str:
        """Return sixteen hex digits that are equal for equal spaces, so that no study is continued with another one."""
        return hashlib.sha256(repr(self.dimensions).encode()).hexdigest()[:16]

    @cached_property
    def max_stages(self) -> int:
        """Return the number of stages that the space has dimensions for."""
        return sum(name.startswith("stages.") and name.endswith(".depth") for name in self.defaults)

    @cached_property
    def n_searched(self) -> int:
        """Return the number of dimensions that have more than one value."""
        return sum(dimension.n_values != 1 for dimension in self.dimensions)

    def suggest(self, trial: SuggestsValues) -> Params:
        """Return the point that `trial` suggests, with a value for every dimension."""
        return {dimension.name: dimension.suggest(trial) for dimension in self.dimensions}

    def sample(self, rng: random.Random) -> Params:
        """Draw a point at random, with the distribution of a random search."""
        return {dimension.name: dimension.sample(rng) for dimension in self.dimensions}

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Return whether all values of a point are within their ranges."""
        return all(dimension.holds(params[dimension.name]) for dimension in self.dimensions)

    def objection_to(self, values: Mapping[str, Any]) -> str:
        """Return why values of some dimensions are in no point of this space, or an empty string if they are in one."""
        dimensions = {dimension.name: dimension for dimension in self.dimensions}
        objections = []
        for name, value in values.items():
            if name not in dimensions:
                nearest = difflib.get_close_matches(name[:80], dimensions, n=1, cutoff=0.0)[0]
                objections.append(f"no dimension is called {name!r:.80}, the nearest is {nearest!r}")
            elif not accepts(dimensions[name], value):
                dimension = dimensions[name]
                values_text = f"one of {dimension}" if isinstance(dimension, Choice) else f"from {dimension}"
                objections.append(f"{name} must be {values_text}, got {short_repr(value)}")
        return "; ".join(objections)

    def completed(self, params: Mapping[str, Any]) -> Params:
        """Return a point of this space or an older one with the defaults of missing dimensions, 0 for augmentations.

        Values of dimensions that this space does not have are left out.
        """
        absent = {name: 0.0 for name in AUGMENTATION_DIMENSIONS.values() if name in self.defaults}
        return self.defaults | absent | {name: value for name, value in params.items() if name in self.defaults}

    def to_params(self, arch: ArchSpec, recipe: RecipeConfig | None = None) -> Params:
        """Return the point that stands for a network and a recipe, as the inverse of `assemble`.

        recipe: None stands for the recipe of the defaults. Inactive dimensions get their defaults. Raises
        NotInSpaceError if no point stands for exactly this network and recipe.
        """
        params = params_of(arch, recipe, self.defaults)
        params = {name: value for name, value in params.items() if name in self.defaults}
        try:
            candidate = assemble(params, arch.input_shape, arch.n_classes)
        except (KeyError, RecordError) as error:
            raise NotInSpaceError(f"the space has no such network: {error}") from error
        if candidate.arch != arch or (recipe is not None and candidate.recipe != recipe) or not self.holds(params):
            raise NotInSpaceError("the space has no such network or recipe")
        return params
