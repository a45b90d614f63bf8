"""Define the searched space with THE list of dimensions and their ranges, and suggest candidates from it.

The size of the images gives the number of stages, and with it the dimensions and the largest widths.

Every dimension is suggested in every trial, even if other values of the trial make it inactive. A multivariate sampler
therefore sees one joint space with a fixed set of names.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from models.baselines import baselines_for
from search.config import AFFINE_AUGMENTATIONS, AUGMENTATIONS, DataConfig, SearchConfig
from search.data.load import form_of
from search.errors import InputError
from search.search_space.buildable import (
    AUGMENTATION_DIMENSIONS,
    MAX_DEPTH,
    MAX_STAGES,
    MAXIMUM,
    REDUCTIONS,
    check_dimensions,
)
from search.search_space.dimensions import Choice, Dimension, FloatRange, IntRange, SuggestsValues
from search.search_space.encoding import Candidate, Params, assemble
from search.search_space.space import NotInSpaceError, Space
from search.search_space.space_file import changed

__all__ = [
    "DEFAULTS",
    "DIMENSIONS",
    "FURTHER_AUGMENTATIONS",
    "LARGEST",
    "UNSHARED",
    "WHOLE",
    "WIDEST",
    "Candidate",
    "Params",
    "Space",
    "assemble",
    "sample",
    "shape_of",
    "space_key",
    "space_of",
    "suggest",
    "unshared_space",
    "whole_space",
    "whole_space_of",
]


# Images of SMALL_STAGES stages (of 28 pixels, for example) have narrower stages than larger ones.
SMALL_STAGES = 3
SMALL_WIDTH = 64
WIDTHS = (64, 96, 128, 192, 256)
# Smallest map of the last stage, before convolutions without padding reduce it further.
LAST_SIDE = 4


def n_stages(input_shape: tuple[int, int, int]) -> int:
    """Return the largest number of stages for images of a shape: 3 for 28 pixels, 4 for 32, 5 for 64 and more."""
    side = min(input_shape[1:])
    fitting = [stages for stages in range(SMALL_STAGES, MAX_STAGES + 1) if side >> (stages - 1) >= LAST_SIDE]
    return max(fitting, default=SMALL_STAGES)


def _stage_dimensions(stage: int, stages: int) -> list[Dimension]:
    prefix = f"stages.{stage}"
    widest = SMALL_WIDTH if stages == SMALL_STAGES else WIDTHS[stage - 1]
    return [
        IntRange(f"{prefix}.depth", 1, MAX_DEPTH, 2),
        *(IntRange(f"{prefix}.width.{conv}", 3, widest, 12, log=True) for conv in range(1, MAX_DEPTH + 1)),
        Choice(f"{prefix}.kernel", (3, 5, 7), 3),
        # Number of the stage's last convolutions that are padded; the convolutions before them reduce the map.
        IntRange(f"{prefix}.padded", 0, MAX_DEPTH, 0),
        # A residual stage pairs its convolutions from the end; if their number is odd, the first one stays plain. The
        # first stage of a kind with depthwise convolutions starts with a plain convolution, because a depthwise
        # convolution of a grey image is a single filter.
        Choice(f"{prefix}.kind", ("conv", "separable", "residual", "inverted", "shuffle"), "conv"),
        # Ratio of squeeze-and-excitation, 0 for none.
        Choice(f"{prefix}.squeeze", (0, 4), 0),
        # The stage's convolutions share weights among themselves ("stage") or also with the previous stage ("before").
        # They then all have the width of the stage's first convolution, or the last width of the previous stage. Batch
        # norm is never shared.
        Choice(f"{prefix}.shared", ("none", "stage", "before") if stage > 1 else ("none", "stage"), "none"),
        # Number of the convolution that dropout follows.
        Choice(f"{prefix}.dropout", ("none", "all", *map(str, range(1, MAX_DEPTH + 1))), "none"),
    ]


def _transition_dimensions(pool: int, stages: int) -> list[Dimension]:
    prefix = f"transitions.{pool}"
    return [
        # A 2x2 pool, or a stride of 2 in the first convolution of the next stage.
        Choice(f"{prefix}.reduction", REDUCTIONS, MAXIMUM),
        Choice(f"{prefix}.place", ("none", "before", "after"), "none"),
        IntRange(f"{prefix}.width", 3, 24 if stages == SMALL_STAGES else 64, 8, log=True),
        # Bare: a 1x1 convolution without batch norm and activation.
        Choice(f"{prefix}.bare", (False, True), False),
    ]


def _network_dimensions(stages: int) -> list[Dimension]:
    """Return the dimensions of the network, in which a reduction of the map separates the stages."""
    fewest = max(2, stages - 2)
    return [
        IntRange("stages", fewest, stages, max(fewest, stages - 1)),
        *(dimension for stage in range(1, stages + 1) for dimension in _stage_dimensions(stage, stages)),
        *(dimension for pool in range(1, stages) for dimension in _transition_dimensions(pool, stages)),
        # Whether a depthwise kind of block adds its input to its output, wherever it keeps the shape.
        Choice("skip", (False, True), False),
        # Those of all inverted and of all shuffle blocks.
        IntRange("expansion", 2, 6, 3),
        Choice("groups", (2, 4), 2),
        Choice("head.kind", ("gap_linear", "gap_conv", "conv_gap", "conv", "gap"), "gap_linear"),
        # A 1x1 block before the classifying convolution (heads gap_conv and conv).
        Choice("head.hidden", (False, True), False),
        IntRange("head.hidden_width", 4, 32 if stages == SMALL_STAGES else 128, 16, log=True),
        Choice("head.dropout", (False, True), False),
        Choice("order", ("conv-bn-act", "conv-act-bn"), "conv-bn-act"),
        # Batch norms without a scale have one parameter less per channel.
        Choice("norm_scale", (True, False), True),
        Choice("activation", ("relu", "silu"), "relu"),
        FloatRange("dropout", 0.0, 0.25, 0.0),
    ]


# The dimensions of the recipe; its other fields are fixed in search.search_space.encoding.
_RECIPE_DIMENSIONS: tuple[Dimension, ...] = (
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


@cache
def _spaces(stages: int, augmentations: tuple[str, ...]) -> tuple[Space, Space]:
    """Return the space of all dimensions, and that in which no layers share weights.

    A budget counts weights that layers share once, and other counters of parameters do not.
    """
    left_out = {name for augmentation, name in AUGMENTATION_DIMENSIONS.items() if augmentation not in augmentations}
    dimensions = (*_network_dimensions(stages), *_RECIPE_DIMENSIONS, *FURTHER_AUGMENTATIONS)
    whole = tuple(dimension for dimension in dimensions if dimension.name not in left_out)
    unshared = (
        Choice(dimension.name, ("none",), "none") if dimension.name.endswith(".shared") else dimension
        for dimension in whole
    )
    return Space(whole), Space(tuple(unshared))


def whole_space(input_shape: tuple[int, int, int], augmentations: tuple[str, ...] = AFFINE_AUGMENTATIONS) -> Space:
    """Return the space of all dimensions for images of a shape, of which the augmentations are those named."""
    return _spaces(n_stages(input_shape), augmentations)[0]


def shape_of(data: DataConfig) -> tuple[int, int, int]:
    """Return the shape of the images of a data set; a folder is read unless `data` has its form."""
    # Both data sets that "auto" stands for have small images.
    return form_of(replace(data, dataset="mnist") if data.dataset == "auto" else data).input_shape


def whole_space_of(config: SearchConfig) -> Space:
    """Return the space of all dimensions for the images and the augmentations of a search."""
    return whole_space(shape_of(config.data), config.augmentations)


def unshared_space(input_shape: tuple[int, int, int]) -> Space:
    """Return the default space for images of a shape, in which no layers share weights."""
    return _spaces(n_stages(input_shape), AFFINE_AUGMENTATIONS)[1]


def space_key(config: SearchConfig) -> str:
    """Return a key of the dimensions of a search, which a study records, as it is not continued with another space."""
    return whole_space_of(config).key


# The spaces for images of 28 pixels: with the affine augmentations alone, and with all.
WHOLE, UNSHARED = _spaces(SMALL_STAGES, AFFINE_AUGMENTATIONS)
WIDEST = _spaces(SMALL_STAGES, AUGMENTATIONS)[0]
# The space that has every dimension of the others.
LARGEST = _spaces(MAX_STAGES, AUGMENTATIONS)[0]
check_dimensions(LARGEST.dimensions)
DIMENSIONS = WHOLE.dimensions
DEFAULTS = UNSHARED.defaults
SPACE_KEY = WHOLE.key
sample = UNSHARED.sample
to_params = WHOLE.to_params


def space_of(config: SearchConfig) -> Space:
    """Return the space of a search, which a --space file may have changed.

    Raises InputError for a damaged setting, and for a file that shares weights in a search that does not.
    """
    stages = n_stages(shape_of(config.data))
    return _changed_space(stages, config.augmentations, config.dimensions, config.share_weights)


@cache
def _changed_space(stages: int, augmentations: tuple[str, ...], lines: tuple[str, ...], share_weights: bool) -> Space:
    whole, usual = _spaces(stages, augmentations)
    if share_weights:
        return changed(whole, lines)
    space = changed(usual, lines)
    for dimension, unshared in zip(space.dimensions, usual.dimensions, strict=True):
        if unshared.name.endswith(".shared") and dimension != unshared:
            raise InputError(
                f"the --space file sets {dimension.name} to {dimension}; add --share-weights, or leave it out"
            )
    return space


def suggest(
    trial: SuggestsValues,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    n_classes: int = 10,
    space: Space | None = None,
) -> Candidate:
    """Return the candidate that `trial` suggests. Its network is always valid; no model is built.

    space: None for the default space of the images
    """
    return assemble((space or unshared_space(input_shape)).suggest(trial), input_shape, n_classes)


def baseline_params(input_shape: tuple[int, int, int], n_classes: int, space: Space | None = None) -> dict[str, Params]:
    """Return the hand-designed networks that are points of this space, by id, each with the default recipe.

    The recipes of their authors differ in optimizer and schedule. With one recipe for all, a study compares networks.
    """
    points = {}
    for name, baseline in baselines_for(input_shape, n_classes).items():
        try:
            points[name] = (space or unshared_space(input_shape)).to_params(baseline.spec)
        except NotInSpaceError:
            continue
    return points
