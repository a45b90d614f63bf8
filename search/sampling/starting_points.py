"""Points of the space that a search tries first: networks that earlier studies found, in several sizes.

Where they come from and what they reached: studies/README.md.
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

# Networks of 2,000 parameters and less underfit: what keeps larger ones from overfitting costs them accuracy.
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
    """Networks of one shape, for one budget each, the largest first; all separable but the very first convolution.

    depths, padded, shared: of each stage; widths: by size, stage and convolution, as many as the stage has of its own;
    common: other values that all of its networks have; recipe: of all but the last N_SMALL sizes, which have `small`.
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
        """Yield every size, with each optimizer."""
        recipes = [self.recipe] * (len(self.widths) - N_SMALL) + [self.small] * N_SMALL
        for widths, wanted in zip(self.widths, recipes, strict=True):
            recipe = _within(space, wanted)
            network: Params = {"stages": len(widths), **self.common}
            for i, stage in enumerate(widths, start=1):
                at = f"stages.{i}"
                network |= {f"{at}.depth": self.depths[i - 1], f"{at}.padded": self.padded[i - 1]}
                network |= {f"{at}.kind": "separable", f"{at}.shared": self.shared[i - 1]}
                network |= {f"{at}.width.{conv}": width for conv, width in enumerate(stage, start=1)}
            for optimizer in self.optimizers:
                yield space.defaults | network | recipe | {"optimizer": optimizer}


def _within(space: Space, recipe: Mapping[str, Any]) -> Params:
    """Return as much of a recipe as the space has: numbers out of a range at its end, else the space's defaults."""
    found: Params = {}
    for one in space.dimensions:
        if one.name not in recipe:
            continue
        value = recipe[one.name]
        if isinstance(one, FloatRange):
            found[one.name] = min(max(value, one.low), one.high)
        else:
            found[one.name] = value if one.holds(value) else one.default
    return found


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
    """Points of our own to try first, by name, of each name the largest first.

    A space may have room for some of them only. Of a recipe they have as much as the space has.
    """
    found = [
        (f"{name}-{params['optimizer']}", params)
        for name, family in _FAMILIES.items()
        for params in family.points(space)
    ]
    return [(name, params) for name, params in found if space.holds(params)]


def fitting_starts(config: SearchConfig, data: Dataset) -> dict[str, space.Params]:
    """The hand-designed networks that are points of the space and within every limit."""
    starts = space.baseline_params(data.input_shape, data.n_classes, space_of(config))
    return {
        name: params for name, params in starts.items() if not refusal(compute_cost(BASELINES[name].spec), config)[1]
    }


def own_starts(config: SearchConfig, data: Dataset) -> dict[str, space.Params]:
    """Return the largest of each of the space's own starting points that is within every limit."""
    found: dict[str, space.Params] = {}
    for name, params in starting_points(space_of(config)):
        arch = space.assemble(params, data.input_shape, data.n_classes).arch
        if name not in found and not refusal(compute_cost(arch), config)[1]:
            found[name] = params
    return found
