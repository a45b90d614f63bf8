"""Convert points of the space to networks and recipes.

A point has a value for the name of every dimension of its space, from which augmentations may be absent. Values that
describe layers which the network does not have, such as the width of a convolution beyond the depth of its stage, have
no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.recipe import Augmentation, RecipeConfig, Schedule
from models.record import Record
from models.spec import DEPTHWISE_KINDS, PADDED_KINDS, ArchSpec, Block, Head, Stage, WeightShapes
from search.search_space.buildable import AVERAGE, MAXIMUM, RECIPE, STRIDED

Params = dict[str, Any]

# A convolution is padded, whatever the point says, if it would otherwise leave a map smaller than this.
MIN_SIDE = 3
# Area of an erased rectangle, as a share of the image: the default of torchvision's RandomErasing.
ERASE_AREA = (0.02, 0.33)


@dataclass(frozen=True)
class Candidate(Record):
    """Network and training recipe that a point of the space stands for."""

    arch: ArchSpec
    recipe: RecipeConfig


def assemble(
    params: Mapping[str, Any], input_shape: tuple[int, int, int] = (1, 28, 28), n_classes: int = 10
) -> Candidate:
    """Assemble the candidate that `params`, a value for every dimension, stand for."""
    side, width = min(input_shape[1:]), input_shape[0]
    channels, reduction = input_shape[0], ""
    stages: list[Stage] = []
    for i in range(1, params["stages"] + 1):
        blocks = _transition(params, i - 1, "after") if i > 1 else []
        channels = blocks[-1].out_channels if blocks else channels
        stride = 2 if reduction == STRIDED else 1
        convs, side = _stage_blocks(params, i, _Maps(channels, side), _widths(params, i, width), stride)
        blocks += convs
        is_last = i == params["stages"]
        blocks += [] if is_last else _transition(params, i, "before")
        reduction = "" if is_last or side < 2 else params[f"transitions.{i}.reduction"]
        pool = 2 if reduction in (MAXIMUM, AVERAGE) else 0
        side = side // 2 if pool else side
        stages.append(Stage(tuple(blocks), pool, "avg" if reduction == AVERAGE else "max"))
        width = convs[-1].out_channels if convs else width
        channels = blocks[-1].out_channels if blocks else channels
    shared = tuple(params[f"stages.{i}.shared"] for i in range(1, len(stages) + 1))
    stages = _with_shared_weights(stages, shared, input_shape[0])
    head = _head(params, channels, n_classes)
    return Candidate(ArchSpec(input_shape, n_classes, tuple(stages), head), _recipe(params))


def _widths(params: Mapping[str, Any], stage: int, previous_width: int) -> list[int]:
    """Return the width of each convolution of a stage.

    Convolutions that share weights have one width, because only weights of the same shape can be shared. The widths of
    a shuffle stage are rounded up to multiples of the groups.

    previous_width: width of the last convolution of the previous stage.
    """
    prefix = f"stages.{stage}"
    widths = [params[f"{prefix}.width.{conv}"] for conv in range(1, params[f"{prefix}.depth"] + 1)]
    sharing = params[f"{prefix}.shared"]
    if sharing != "none":
        width = previous_width if sharing == "before" and stage > 1 else widths[0]
        widths = [width] * len(widths)
    if params[f"{prefix}.kind"] == "shuffle":
        groups = params["groups"]
        widths = [-(-width // groups) * groups for width in widths]
    return widths


def _with_shared_weights(stages: Sequence[Stage], shared: Sequence[str], channels: int) -> list[Stage]:
    """Return the stages with every block marked as shared that has the weight shapes of an earlier block.

    shared: for each stage "none", "stage" (share within the stage) or "before" (also with the previous stage). Blocks
    of 1x1 convolutions are never shared.
    """
    shared_stages: list[Stage] = []
    stage_shapes = set[WeightShapes]()
    for stage, sharing in zip(stages, shared, strict=True):
        previous_shapes, stage_shapes = stage_shapes if sharing == "before" else set(), set()
        blocks = []
        for block in stage.blocks:
            shapes = block.weight_shapes(channels)
            is_shared = sharing != "none" and block.kernel_size > 1 and shapes in previous_shapes | stage_shapes
            blocks.append(replace(block, shared=True) if is_shared else block)
            stage_shapes.add(shapes)
            channels = block.out_channels
        shared_stages.append(replace(stage, blocks=tuple(blocks)))
    return shared_stages


@dataclass(frozen=True)
class _Maps:
    """Channels and rows of the input map of a stage."""

    channels: int
    side: int


def _stage_blocks(
    params: Mapping[str, Any], stage: int, maps: _Maps, widths: Sequence[int], stride: int
) -> tuple[list[Block], int]:
    """Return the convolutions of a stage and the side of its output map; stride: that of the first convolution."""
    prefix = f"stages.{stage}"
    depth, kernel, dropout = params[f"{prefix}.depth"], params[f"{prefix}.kernel"], params[f"{prefix}.dropout"]
    kind, squeeze = params[f"{prefix}.kind"], params[f"{prefix}.squeeze"]
    blocks: list[Block] = []
    channels, side = maps.channels, maps.side
    conv = 1
    while conv <= depth:
        block_kind = kind
        if kind == "residual":
            paired = (depth - conv) % 2 == 1
            block_kind = "residual" if paired else "conv"
            conv += paired  # a residual block has the width of its second convolution
        elif kind in DEPTHWISE_KINDS and stage == conv == 1:
            block_kind = "conv"
        elif kind == "shuffle" and channels % params["groups"]:
            block_kind = "separable"
        padded = kind in PADDED_KINDS or conv > depth - params[f"{prefix}.padded"] or side - kernel + 1 < MIN_SIDE
        width = widths[conv - 1]
        keeps_shape = padded and stride == 1 and width == channels
        block = Block(
            width,
            kernel,
            kind=block_kind,
            padding="same" if padded else "valid",
            **_norm_and_activation(params),
            dropout=params["dropout"] if dropout in ("all", str(conv)) else 0.0,
            stride=stride,
            skip=block_kind in DEPTHWISE_KINDS and keeps_shape and params["skip"],
            expansion=params["expansion"] if block_kind == "inverted" else 1,
            groups=params["groups"] if block_kind == "shuffle" else 1,
            squeeze=squeeze,
        )
        blocks.append(block)
        channels, side, stride = width, block.side_after(side), 1
        conv += 1
    return blocks, side


def _norm_and_activation(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that all blocks of a network share, except bare ones."""
    return {name: params[name] for name in ("activation", "order", "norm_scale")}


def _transition(params: Mapping[str, Any], pool: int, position: str) -> list[Block]:
    """Return the 1x1 block before or after a pool, if there is one; position: "before" or "after"."""
    prefix = f"transitions.{pool}"
    if params[f"{prefix}.place"] != position:
        return []
    if params[f"{prefix}.bare"]:
        return [Block(params[f"{prefix}.width"], 1, batch_norm=False, activation=None)]
    return [Block(params[f"{prefix}.width"], 1, **_norm_and_activation(params))]


def _head(params: Mapping[str, Any], channels: int, n_classes: int) -> Head:
    kind = params["head.kind"]
    if kind == "gap" and channels < n_classes:
        kind = "gap_linear"
    dropout = params["dropout"] if params["head.dropout"] else 0.0
    if kind in ("gap_conv", "conv") and params["head.hidden"]:
        return Head(
            kind, hidden=(Block(params["head.hidden_width"], 1, **_norm_and_activation(params), dropout=dropout),)
        )
    return Head(kind, bias=kind == "gap_linear", dropout=dropout)


def _recipe(params: Mapping[str, Any]) -> RecipeConfig:
    optimizer = params["optimizer"]
    searched: dict[type, dict[str, Any]] = {RecipeConfig: {}, Augmentation: {}}
    for row in RECIPE:
        name = row.name(optimizer)
        if row.owner is not Augmentation or name in params:
            searched[row.owner][row.field] = params[name]
    if searched[Augmentation].get("erase_p"):
        searched[Augmentation]["erase_area"] = ERASE_AREA
    return RecipeConfig(
        **searched[RecipeConfig],
        nesterov=optimizer == "sgd",
        ema_decay=0.995,
        schedule=Schedule(pct_start=0.2, div_factor=10.0, final_div_factor=100.0),
        augmentation=Augmentation(**searched[Augmentation]),
    )
