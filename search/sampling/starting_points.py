"""Define the points that a search tries first, networks that earlier studies found, in several sizes.

Their origin and accuracies are in studies/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import space
from models.baselines import BASELINES
from models.cost import compute_cost
from search.config import SearchConfig
from search.data.dataset import Dataset
from search.limits import refusal
from search.search_space.dimensions import FloatRange
from search.search_space.space import Space
from space import WHOLE, Params, space_of

# Networks of at most 2,000 parameters underfit: regularisation that larger networks need costs them accuracy.
N_SMALL = 2
SMALL_RECIPE: dict[str, Any] = {
    "activation": "silu",
    "batch_size": 64,
    "label_smoothing": 0.0,
    "rotation": 3.0,
    "shift": 0.02,
    "scale": 0.02,
}


@dataclass(frozen=True)
class _Family:
    """Family of networks of one shape in several sizes, with separable convolutions except for the very first.

    depths      depth of each stage
    padded      number of padded convolutions of each stage
    widths      widths by size (largest first, one for each budget), stage and convolution, without widths that weight
                sharing determines
    optimizers  optimizers that each size is tried with
    recipe      values of the recipe of all but the last N_SMALL sizes
    small       values of the recipe of the last N_SMALL sizes
    shared      weight sharing of each stage
    common      other values that all networks of the family have
    """

    depths: tuple[int, ...]
    padded: tuple[int, ...]
    widths: tuple[tuple[tuple[int, ...], ...], ...]
    optimizers: tuple[str, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=lambda: SMALL_RECIPE)
    shared: tuple[str, ...] = ("none", "none", "none")
    common: Mapping[str, Any] = field(default_factory=dict)

    def points(self, space: Space) -> Iterator[Params]:
        """Yield the point of every size with each optimizer."""
        recipes = [self.recipe] * (len(self.widths) - N_SMALL) + [self.small] * N_SMALL
        for widths, recipe in zip(self.widths, recipes, strict=True):
            recipe_values = _fit_recipe(space, recipe)
            network: Params = {"stages": len(widths), **self.common}
            for i, stage in enumerate(widths, start=1):
                prefix = f"stages.{i}"
                network |= {f"{prefix}.depth": self.depths[i - 1], f"{prefix}.padded": self.padded[i - 1]}
                network |= {f"{prefix}.kind": "separable", f"{prefix}.shared": self.shared[i - 1]}
                network |= {f"{prefix}.width.{conv}": width for conv, width in enumerate(stage, start=1)}
            for optimizer in self.optimizers:
                yield space.defaults | network | recipe_values | {"optimizer": optimizer}


def _fit_recipe(space: Space, recipe: Mapping[str, Any]) -> Params:
    """Return the values of a recipe as far as the space has them.

    Real numbers beyond a range become its end; other values that the space does not have become its defaults.
    """
    values: Params = {}
    for dimension in space.dimensions:
        if dimension.name not in recipe:
            continue
        value = recipe[dimension.name]
        if isinstance(dimension, FloatRange):
            values[dimension.name] = min(max(value, dimension.low), dimension.high)
        else:
            values[dimension.name] = value if dimension.holds(value) else dimension.default
    return values


_FAMILIES = {
    "separable": _Family(
        depths=(2, 3, 3),
        padded=(1, 3, 3),
        widths=(
            ((8, 16), (26, 26, 26), (34, 34, 34)),
            ((8, 14), (22, 22, 22), (28, 28, 28)),
            ((6, 10), (18, 18, 18), (22, 22, 22)),
            ((5, 8), (11, 11, 11), (14, 14, 14)),
            ((4, 5), (7, 7, 7), (8, 8, 8)),
        ),
        optimizers=("sgd", "adamw"),
        recipe={"rotation": 9.0, "shift": 0.06, "scale": 0.06},
    ),
    # Five convolutions before the first pool: twice the multiply-adds.
    "deep": _Family(
        depths=(5, 3, 2),
        padded=(1, 3, 2),
        widths=(
            ((16, 28, 18, 18, 18), (26, 34, 20), (24, 40)),
            ((12, 22, 14, 14, 14), (22, 28, 18), (22, 34)),
            ((9, 16, 11, 11, 11), (16, 22, 14), (18, 27)),
            ((6, 9, 7, 7, 7), (10, 13, 10), (11, 17)),
            ((4, 5, 4, 4, 4), (6, 8, 6), (7, 9)),
        ),
        optimizers=("sgd",),
        recipe={"sgd.lr": 0.65, "label_smoothing": 0.03, "rotation": 7.0, "shift": 0.04, "scale": 0.05},
    ),
    # Two stages of convolutions that share one set of weights, and no classifying layer.
    "shared": _Family(
        depths=(2, 3, 3),
        padded=(0, 3, 3),
        widths=(
            ((16, 42), (57,), ()),
            ((14, 34), (48,), ()),
            ((12, 26), (38,), ()),
            ((7, 12), (28,), ()),
            ((5, 8), (18,), ()),
        ),
        shared=("none", "stage", "before"),
        common={"head.kind": "gap", "norm_scale": False},
        optimizers=("soap",),
        recipe={"activation": "silu", "label_smoothing": 0.03, "rotation": 9.0, "shift": 0.06, "scale": 0.06},
        small=SMALL_RECIPE | {"rotation": 6.0, "shift": 0.04, "scale": 0.04},
    ),
}


def starting_points(space: Space = WHOLE) -> list[tuple[str, Params]]:
    """Return the names and points of the space's own starting points, the largest first for each name.

    Networks outside `space` are left out. Recipes are fitted to its ranges.
    """
    points = [
        (f"{name}-{params['optimizer']}", params)
        for name, family in _FAMILIES.items()
        for params in family.points(space)
    ]
    return [(name, params) for name, params in points if space.holds(params)]


def fitting_baselines(config: SearchConfig, data: Dataset) -> dict[str, space.Params]:
    """Return the hand-designed networks that are points of the space and within every limit, by name."""
    starts = space.baseline_params(data.input_shape, data.n_classes, space_of(config))
    return {
        name: params for name, params in starts.items() if not refusal(compute_cost(BASELINES[name].spec), config)[1]
    }


def fitting_starting_points(config: SearchConfig, data: Dataset) -> dict[str, space.Params]:
    """Return the largest starting point of each name that is within every limit."""
    starts: dict[str, space.Params] = {}
    for name, params in starting_points(space_of(config)):
        arch = space.assemble(params, data.input_shape, data.n_classes).arch
        if name not in starts and not refusal(compute_cost(arch), config)[1]:
            starts[name] = params
    return starts
