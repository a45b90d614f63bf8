"""The searched space: THE list of dimensions with their ranges, and how a point becomes a network and a recipe.

Every dimension is suggested in every trial, also one that this trial's other values make inactive, so that a
multivariate sampler sees one joint space with one fixed set of names.
"""

from __future__ import annotations

import hashlib
from functools import cache

from models.baselines import BASELINES
from search.config import SearchConfig
from search.search_space.buildable import MAX_DEPTH, MAX_STAGES, check_dimensions
from search.search_space.dimensions import Choice, Dimension, FloatRange, IntRange, SuggestsValues
from search.search_space.encoding import Candidate, Params, assemble
from search.search_space.space import NotInSpaceError, Space
from search.search_space.space_file import changed

__all__ = [
    "DEFAULTS",
    "DIMENSIONS",
    "WHOLE",
    "Candidate",
    "Params",
    "Space",
    "assemble",
    "sample",
    "space_of",
    "suggest",
]


def _stage_dimensions(stage: int) -> list[Dimension]:
    at = f"stages.{stage}"
    return [
        IntRange(f"{at}.depth", 1, MAX_DEPTH, 2),
        *(IntRange(f"{at}.width.{conv}", 3, 64, 12, log=True) for conv in range(1, MAX_DEPTH + 1)),
        Choice(f"{at}.kernel", (3, 5), 3),
        # How many of the stage's last convolutions are padded; the ones before shrink the map.
        IntRange(f"{at}.padded", 0, MAX_DEPTH, 0),
        # A residual stage pairs its convolutions from the end; an odd first one stays plain. A separable first stage
        # starts with a plain one: a depthwise convolution of a grey image is one filter.
        Choice(f"{at}.kind", ("conv", "separable", "residual"), "conv"),
        # Whether its convolutions are of one width, the first's, and share their weights: among themselves, or also
        # with the stage before, whose last width they then have. Batch norm is each one's own.
        Choice(f"{at}.shared", ("none", "stage", "before") if stage > 1 else ("none", "stage"), "none"),
        # After which convolution dropout stands.
        Choice(f"{at}.dropout", ("none", "all", *map(str, range(1, MAX_DEPTH + 1))), "none"),
    ]


def _transition_dimensions(pool: int) -> list[Dimension]:
    at = f"transitions.{pool}"
    return [
        Choice(f"{at}.place", ("none", "before", "after"), "none"),
        IntRange(f"{at}.width", 3, 24, 8, log=True),
        # Bare: the 1x1 convolution alone, without batch norm and activation.
        Choice(f"{at}.bare", (False, True), False),
    ]


DIMENSIONS: tuple[Dimension, ...] = (
    # The network. Stages are divided by 2x2 max pools, so there is one pool fewer than stages.
    IntRange("stages", 2, MAX_STAGES, 2),
    *(dimension for stage in range(1, MAX_STAGES + 1) for dimension in _stage_dimensions(stage)),
    *(dimension for pool in range(1, MAX_STAGES) for dimension in _transition_dimensions(pool)),
    Choice("head.kind", ("gap_linear", "gap_conv", "conv_gap", "conv", "gap"), "gap_linear"),
    # A 1x1 block before the classifying convolution (heads gap_conv and conv).
    Choice("head.hidden", (False, True), False),
    IntRange("head.hidden_width", 4, 32, 16, log=True),
    Choice("head.dropout", (False, True), False),
    Choice("order", ("conv-bn-act", "conv-act-bn"), "conv-bn-act"),
    # Without, a batch norm has a number a channel less.
    Choice("norm_scale", (True, False), True),
    Choice("activation", ("relu", "silu"), "relu"),
    FloatRange("dropout", 0.0, 0.25, 0.0),
    # The recipe; the rest of it is fixed in search.search_space.encoding.
    Choice("optimizer", ("sgd", "adamw", "soap"), "sgd"),
    FloatRange("sgd.lr", 0.02, 1.0, 0.3, log=True),
    FloatRange("sgd.weight_decay", 0.0, 5e-4, 0.0),
    FloatRange("adamw.lr", 0.001, 0.05, 0.01, log=True),
    FloatRange("adamw.weight_decay", 0.0, 0.05, 0.01),
    FloatRange("soap.lr", 0.003, 0.1, 0.02, log=True),
    FloatRange("soap.weight_decay", 0.0, 0.05, 0.0),
    Choice("batch_size", (32, 64, 128), 128),
    FloatRange("label_smoothing", 0.0, 0.1, 0.02),
    FloatRange("rotation", 0.0, 15.0, 7.0),
    FloatRange("shift", 0.0, 0.12, 0.05),
    FloatRange("scale", 0.0, 0.15, 0.05),
    FloatRange("shear", 0.0, 10.0, 0.0),
)
check_dimensions(DIMENSIONS)
# Search settings of another space are another study.
SPACE_KEY = hashlib.sha256(repr(DIMENSIONS).encode()).hexdigest()[:16]


WHOLE = Space(DIMENSIONS)
DEFAULTS = WHOLE.defaults
sample = WHOLE.sample
to_params = WHOLE.to_params


def space_of(config: SearchConfig) -> Space:
    """Return the space of a search, which a --space file may have changed. Raises InputError for a damaged setting."""
    return _changed(config.dimensions)


@cache
def _changed(lines: tuple[str, ...]) -> Space:
    return changed(WHOLE, lines)


def suggest(
    trial: SuggestsValues,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    n_classes: int = 10,
    space: Space = WHOLE,
) -> Candidate:
    """Ask `trial` for every dimension and assemble the candidate. Always a valid network; nothing is built."""
    return assemble(space.suggest(trial), input_shape, n_classes)


def baseline_params(input_shape: tuple[int, int, int], n_classes: int, space: Space = WHOLE) -> dict[str, Params]:
    """The hand-designed networks that are points of this space, by id, each with the default recipe.

    The write-ups' own recipes differ in optimiser and schedule; with one recipe for all, a study compares networks.
    """
    found = {}
    for name, baseline in BASELINES.items():
        if (baseline.spec.input_shape, baseline.spec.n_classes) != (input_shape, n_classes):
            continue
        try:
            found[name] = space.to_params(baseline.spec)
        except NotInSpaceError:
            continue
    return found
