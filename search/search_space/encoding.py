"""Convert points of the space to networks and recipes, and back.

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
from models.spec import BLOCK_KINDS, PADDED_KINDS, ArchSpec, Block, Head, Stage, WeightShapes
from search.search_space.buildable import RECIPE

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
    channels = input_shape[0]
    stages: list[Stage] = []
    for i in range(1, params["stages"] + 1):
        blocks = _transition(params, i - 1, "after") if i > 1 else []
        convs, side = _stage_blocks(params, i, side, _widths(params, i, width))
        blocks += convs
        is_last = i == params["stages"]
        blocks += [] if is_last else _transition(params, i, "before")
        pool = 0 if is_last or side < 2 else 2
        side = side // 2 if pool else side
        stages.append(Stage(tuple(blocks), pool))
        width = convs[-1].out_channels if convs else width
        channels = blocks[-1].out_channels if blocks else channels
    shared = tuple(params[f"stages.{i}.shared"] for i in range(1, len(stages) + 1))
    stages = _with_shared_weights(stages, shared, input_shape[0])
    head = _head(params, channels, n_classes)
    return Candidate(ArchSpec(input_shape, n_classes, tuple(stages), head), _recipe(params))


def _widths(params: Mapping[str, Any], stage: int, previous_width: int) -> list[int]:
    """Return the width of each convolution of a stage.

    Convolutions that share weights have one width, because only weights of the same shape can be shared.

    previous_width: width of the last convolution of the previous stage.
    """
    prefix = f"stages.{stage}"
    widths = [params[f"{prefix}.width.{conv}"] for conv in range(1, params[f"{prefix}.depth"] + 1)]
    match params[f"{prefix}.shared"]:
        case "stage":
            return [widths[0]] * len(widths)
        case "before":
            return [previous_width if stage > 1 else widths[0]] * len(widths)
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
        shared_stages.append(Stage(tuple(blocks), stage.pool))
    return shared_stages


def _stage_blocks(params: Mapping[str, Any], stage: int, side: int, widths: Sequence[int]) -> tuple[list[Block], int]:
    """Return the convolutions of a stage whose input map has `side` rows, and the side of its output map."""
    prefix = f"stages.{stage}"
    depth, kernel, dropout = params[f"{prefix}.depth"], params[f"{prefix}.kernel"], params[f"{prefix}.dropout"]
    kind = params[f"{prefix}.kind"]
    blocks = []
    conv = 1
    while conv <= depth:
        block_kind = kind
        if kind == "residual":
            paired = (depth - conv) % 2 == 1
            block_kind = "residual" if paired else "conv"
            conv += paired  # a residual block has the width of its second convolution
        elif kind == "separable" and stage == conv == 1:
            block_kind = "conv"
        reduction = kernel - 1
        padded = kind in PADDED_KINDS or conv > depth - params[f"{prefix}.padded"] or side - reduction < MIN_SIDE
        side -= 0 if padded else reduction
        blocks.append(
            Block(
                widths[conv - 1],
                kernel,
                kind=block_kind,
                padding="same" if padded else "valid",
                **_norm_and_activation(params),
                dropout=params["dropout"] if dropout in ("all", str(conv)) else 0.0,
            )
        )
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


def params_of(arch: ArchSpec, recipe: RecipeConfig | None, defaults: Mapping[str, Any]) -> Params:
    """Return the point that describes a network and a recipe, as the inverse of `assemble`.

    Inactive dimensions get `defaults`, and so do the dimensions of the recipe where `recipe` is None. Not every network
    is a point of the space: the result stands for `arch` only if `assemble` returns that network again.
    """
    params = dict(defaults)
    blocks = [block for stage in arch.stages for block in stage.blocks]
    full_blocks = [block for block in blocks if block.activation and block.batch_norm]
    if full_blocks:
        params |= {name: getattr(full_blocks[0], name) for name in ("activation", "order", "norm_scale")}
    params["dropout"] = max([block.dropout for block in [*blocks, *arch.head.hidden]] + [arch.head.dropout])
    params["stages"] = len(arch.stages)
    channels = arch.input_shape[0]
    for i, stage in enumerate(arch.stages, start=1):
        params |= _stage_params(stage, i, _sharing(stage, channels), is_last=i == len(arch.stages))
        channels = stage.blocks[-1].out_channels if stage.blocks else channels
    params |= _head_params(arch.head)
    params |= {} if recipe is None else _recipe_params(recipe)
    return params


# Number of leading widths of a stage that have an effect, by how the stage shares weights; None: all.
_N_WIDTHS = {"none": None, "stage": 1, "before": 0}


def _stage_params(stage: Stage, number: int, sharing: str, *, is_last: bool) -> Params:
    prefix = f"stages.{number}"
    params: Params = {f"{prefix}.shared": sharing}
    blocks = list(stage.blocks)
    for pool, position, index in ((number - 1, "after", 0), (number, "before", -1)):
        exists = number > 1 if position == "after" else not is_last
        if exists and blocks and blocks[index].kernel_size == 1:
            block = blocks.pop(index)
            params[f"transitions.{pool}.place"] = position
            params[f"transitions.{pool}.width"] = block.out_channels
            params[f"transitions.{pool}.bare"] = not block.batch_norm
    kinds = [block.kind for block in blocks]
    widths = [block.out_channels for block in blocks for _ in range(1 + (block.kind == "residual"))]
    params[f"{prefix}.depth"] = len(widths)
    effective_widths = widths[: _N_WIDTHS[sharing]]
    params |= {f"{prefix}.width.{j}": width for j, width in enumerate(effective_widths, start=1)}
    params[f"{prefix}.kernel"] = max((block.kernel_size for block in blocks), default=3)
    params[f"{prefix}.kind"] = max(kinds, key=BLOCK_KINDS.index, default="conv")
    if not set(kinds) & set(PADDED_KINDS):
        params[f"{prefix}.padded"] = sum(block.padding == "same" for block in blocks)
    ends = [sum(1 + (block.kind == "residual") for block in blocks[: j + 1]) for j in range(len(blocks))]
    dropout_positions = [str(end) for end, block in zip(ends, blocks, strict=True) if block.dropout]
    dropout = "all" if dropout_positions else "none"
    params[f"{prefix}.dropout"] = dropout_positions[0] if len(dropout_positions) == 1 < len(blocks) else dropout
    return params


def _sharing(stage: Stage, channels: int) -> str:
    """Return how a stage with these blocks shares weights, "stage" where "before" would have the same effect."""
    stage_shapes, sharing = set[WeightShapes](), "none"
    for block in stage.blocks:
        shapes = block.weight_shapes(channels)
        if block.shared and shapes not in stage_shapes:
            return "before"
        sharing = "stage" if block.shared else sharing
        stage_shapes.add(shapes)
        channels = block.out_channels
    return sharing


def _head_params(head: Head) -> Params:
    params: Params = {"head.kind": head.kind, "head.hidden": bool(head.hidden)}
    params["head.dropout"] = bool(head.dropout or any(block.dropout for block in head.hidden))
    return params | ({"head.hidden_width": head.hidden[0].out_channels} if head.hidden else {})


def _recipe_params(recipe: RecipeConfig) -> Params:
    owners: dict[type, Record] = {RecipeConfig: recipe, Augmentation: recipe.augmentation}
    return {row.name(recipe.optimizer): getattr(owners[row.owner], row.field) for row in RECIPE}
