"""Define the searched space with THE list of dimensions and their ranges, and suggest candidates from it.

Every dimension is suggested in every trial, even if other values of the trial make it inactive. A multivariate sampler
therefore sees one joint space with a fixed set of names.
"""

from __future__ import annotations

import hashlib
from functools import cache

from models.baselines import BASELINES
from search.config import AFFINE_AUGMENTATIONS, AUGMENTATIONS, SearchConfig
from search.errors import InputError
from search.search_space.buildable import AUGMENTATION_DIMENSIONS, MAX_DEPTH, MAX_STAGES, check_dimensions
from search.search_space.dimensions import Choice, Dimension, FloatRange, IntRange, SuggestsValues
from search.search_space.encoding import Candidate, Params, assemble
from search.search_space.space import NotInSpaceError, Space
from search.search_space.space_file import changed

__all__ = [
    "DEFAULTS",
    "DIMENSIONS",
    "FURTHER_AUGMENTATIONS",
    "UNSHARED",
    "WHOLE",
    "WIDEST",
    "Candidate",
    "Params",
    "Space",
    "assemble",
    "sample",
    "space_key",
    "space_of",
    "suggest",
    "whole_space",
]


def _stage_dimensions(stage: int) -> list[Dimension]:
    prefix = f"stages.{stage}"
    return [
        IntRange(f"{prefix}.depth", 1, MAX_DEPTH, 2),
        *(IntRange(f"{prefix}.width.{conv}", 3, 64, 12, log=True) for conv in range(1, MAX_DEPTH + 1)),
        Choice(f"{prefix}.kernel", (3, 5), 3),
        # Number of the stage's last convolutions that are padded; the convolutions before them reduce the map.
        IntRange(f"{prefix}.padded", 0, MAX_DEPTH, 0),
        # A residual stage pairs its convolutions from the end; if their number is odd, the first one stays plain. A
        # separable first stage starts with a plain convolution, because a depthwise convolution of a grey image is a
        # single filter.
        Choice(f"{prefix}.kind", ("conv", "separable", "residual"), "conv"),
        # The stage's convolutions share weights among themselves ("stage") or also with the previous stage ("before").
        # They then all have the width of the stage's first convolution, or the last width of the previous stage. Batch
        # norm is never shared.
        Choice(f"{prefix}.shared", ("none", "stage", "before") if stage > 1 else ("none", "stage"), "none"),
        # Number of the convolution that dropout follows.
        Choice(f"{prefix}.dropout", ("none", "all", *map(str, range(1, MAX_DEPTH + 1))), "none"),
    ]


def _transition_dimensions(pool: int) -> list[Dimension]:
    prefix = f"transitions.{pool}"
    return [
        Choice(f"{prefix}.place", ("none", "before", "after"), "none"),
        IntRange(f"{prefix}.width", 3, 24, 8, log=True),
        # Bare: a 1x1 convolution without batch norm and activation.
        Choice(f"{prefix}.bare", (False, True), False),
    ]


DIMENSIONS: tuple[Dimension, ...] = (
    # The network. Stages are separated by 2x2 max pools, so there is one pool fewer than stages.
    IntRange("stages", 2, MAX_STAGES, 2),
    *(dimension for stage in range(1, MAX_STAGES + 1) for dimension in _stage_dimensions(stage)),
    *(dimension for pool in range(1, MAX_STAGES) for dimension in _transition_dimensions(pool)),
    Choice("head.kind", ("gap_linear", "gap_conv", "conv_gap", "conv", "gap"), "gap_linear"),
    # A 1x1 block before the classifying convolution (heads gap_conv and conv).
    Choice("head.hidden", (False, True), False),
    IntRange("head.hidden_width", 4, 32, 16, log=True),
    Choice("head.dropout", (False, True), False),
    Choice("order", ("conv-bn-act", "conv-act-bn"), "conv-bn-act"),
    # Batch norms without a scale have one parameter less per channel.
    Choice("norm_scale", (True, False), True),
    Choice("activation", ("relu", "silu"), "relu"),
    FloatRange("dropout", 0.0, 0.25, 0.0),
    # The recipe; its other fields are fixed in search.search_space.encoding.
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
# Augmentations that only the searches have whose data they suit or whose user asks for them.
FURTHER_AUGMENTATIONS: tuple[Dimension, ...] = (
    # CIFAR's usual crop is out of a padding of 4 pixels around 32, which is 0.125.
    FloatRange("crop_padding", 0.0, 0.25, 0.125),
    FloatRange("mirror_p", 0.0, 0.5, 0.5),
    FloatRange("brightness", 0.0, 0.4, 0.0),
    FloatRange("contrast", 0.0, 0.4, 0.0),
    FloatRange("erase_p", 0.0, 0.5, 0.0),
)
check_dimensions((*DIMENSIONS, *FURTHER_AUGMENTATIONS))


@cache
def whole_space(augmentations: tuple[str, ...] = AFFINE_AUGMENTATIONS) -> Space:
    """Return the space of all dimensions, of which the augmentations are those named."""
    left_out = {name for augmentation, name in AUGMENTATION_DIMENSIONS.items() if augmentation not in augmentations}
    dimensions = (*DIMENSIONS, *FURTHER_AUGMENTATIONS)
    return Space(tuple(dimension for dimension in dimensions if dimension.name not in left_out))


def _unshared(space: Space) -> Space:
    return Space(
        tuple(
            Choice(dimension.name, ("none",), "none") if dimension.name.endswith(".shared") else dimension
            for dimension in space.dimensions
        )
    )


def space_key(config: SearchConfig) -> str:
    """Return a key of the dimensions of a search, which a study records, as it is not continued with another space."""
    return hashlib.sha256(repr(whole_space(config.augmentations).dimensions).encode()).hexdigest()[:16]


# Space with the affine augmentations alone, the one with all, and the default space, in which no layers share weights.
# A budget counts weights that layers share once, and other counters of parameters do not.
WHOLE = whole_space()
WIDEST = whole_space(AUGMENTATIONS)
UNSHARED = _unshared(WHOLE)
SPACE_KEY = hashlib.sha256(repr(DIMENSIONS).encode()).hexdigest()[:16]
DEFAULTS = UNSHARED.defaults
sample = UNSHARED.sample
to_params = WHOLE.to_params


def space_of(config: SearchConfig) -> Space:
    """Return the space of a search, which a --space file may have changed.

    Raises InputError for a damaged setting, and for a file that shares weights in a search that does not.
    """
    return _changed_space(config.dimensions, config.share_weights, config.augmentations)


@cache
def _changed_space(lines: tuple[str, ...], share_weights: bool, augmentations: tuple[str, ...]) -> Space:
    whole = whole_space(augmentations)
    if share_weights:
        return changed(whole, lines)
    space = changed(_unshared(whole), lines)
    for dimension, unshared in zip(space.dimensions, _unshared(whole).dimensions, strict=True):
        if unshared.name.endswith(".shared") and dimension != unshared:
            raise InputError(
                f"the --space file sets {dimension.name} to {dimension}; add --share-weights, or leave it out"
            )
    return space


def suggest(
    trial: SuggestsValues,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    n_classes: int = 10,
    space: Space = UNSHARED,
) -> Candidate:
    """Return the candidate that `trial` suggests. Its network is always valid; no model is built."""
    return assemble(space.suggest(trial), input_shape, n_classes)


def baseline_params(input_shape: tuple[int, int, int], n_classes: int, space: Space = UNSHARED) -> dict[str, Params]:
    """The hand-designed networks that are points of this space, by id, each with the default recipe.

    The recipes of their authors differ in optimizer and schedule. With one recipe for all, a study compares networks.
    """
    points = {}
    for name, baseline in BASELINES.items():
        if (baseline.spec.input_shape, baseline.spec.n_classes) != (input_shape, n_classes):
            continue
        try:
            points[name] = space.to_params(baseline.spec)
        except NotInSpaceError:
            continue
    return points
