"""A point of the space as a network and a recipe, and the way back from these to the point that stands for them.

A point gives every dimension of space.DIMENSIONS a value, by its name. Where a stage is shallower than its dimensions,
or a head has no hidden layer, the values that would describe these change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.recipe import Augmentation, RecipeConfig, Schedule
from models.record import Record
from models.spec import BLOCK_KINDS, ArchSpec, Block, Head, Stage, WeightShapes
from search.search_space.buildable import RECIPE

Params = dict[str, Any]

# A convolution without padding is given padding where it would leave a map smaller than this.
MIN_SIDE = 3


@dataclass(frozen=True)
class Candidate(Record):
    """One point of the space: a network and how to train it."""

    arch: ArchSpec
    recipe: RecipeConfig


def assemble(
    params: Mapping[str, Any], input_shape: tuple[int, int, int] = (1, 28, 28), n_classes: int = 10
) -> Candidate:
    """The candidate that `params` (a value for every dimension) stand for."""
    side, width = min(input_shape[1:]), input_shape[0]
    channels = input_shape[0]
    stages: list[Stage] = []
    for i in range(1, params["stages"] + 1):
        blocks = _transition(params, i - 1, "after") if i > 1 else []
        convs, side = _stage_blocks(params, i, side, _widths(params, i, width))
        blocks += convs
        last = i == params["stages"]
        blocks += [] if last else _transition(params, i, "before")
        pool = 0 if last or side < 2 else 2
        side = side // 2 if pool else side
        stages.append(Stage(tuple(blocks), pool))
        width = convs[-1].out_channels if convs else width
        channels = blocks[-1].out_channels if blocks else channels
    shared = tuple(params[f"stages.{i}.shared"] for i in range(1, len(stages) + 1))
    stages = _with_shared_weights(stages, shared, input_shape[0])
    head = _head(params, channels, n_classes)
    return Candidate(ArchSpec(input_shape, n_classes, tuple(stages), head), _recipe(params))


def _widths(params: Mapping[str, Any], stage: int, before: int) -> list[int]:
    """Return the width of each convolution of a stage; before: of the last convolution of the stage before.

    Where weights are shared there is one width for all, or none would be alike.
    """
    at = f"stages.{stage}"
    widths = [params[f"{at}.width.{conv}"] for conv in range(1, params[f"{at}.depth"] + 1)]
    match params[f"{at}.shared"]:
        case "stage":
            return [widths[0]] * len(widths)
        case "before":
            return [before if stage > 1 else widths[0]] * len(widths)
    return widths


def _with_shared_weights(stages: Sequence[Stage], shared: Sequence[str], channels: int) -> list[Stage]:
    """The stages with every block shared that may be, and finds one like it.

    shared: of each stage "none", "stage" (among its own blocks) or "before" (also with those of the stage before it).
    """
    found: list[Stage] = []
    of_stage = set[WeightShapes]()
    for stage, sharing in zip(stages, shared, strict=True):
        known, of_stage = of_stage if sharing == "before" else set(), set()
        blocks = []
        for block in stage.blocks:
            weights = block.weight_shapes(channels)
            is_shared = sharing != "none" and block.kernel_size > 1 and weights in known | of_stage
            blocks.append(replace(block, shared=True) if is_shared else block)
            of_stage.add(weights)
            channels = block.out_channels
        found.append(Stage(tuple(blocks), stage.pool))
    return found


def _stage_blocks(params: Mapping[str, Any], stage: int, side: int, widths: Sequence[int]) -> tuple[list[Block], int]:
    """The convolutions of a stage whose map has `side` rows, and the side after them."""
    at = f"stages.{stage}"
    depth, kernel, dropout = params[f"{at}.depth"], params[f"{at}.kernel"], params[f"{at}.dropout"]
    kind = params[f"{at}.kind"]
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
        shrink = kernel - 1
        padded = kind == "residual" or conv > depth - params[f"{at}.padded"] or side - shrink < MIN_SIDE
        side -= 0 if padded else shrink
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


def _transition(params: Mapping[str, Any], pool: int, place: str) -> list[Block]:
    """The 1x1 block that stands at `place` of a pool, if there is one."""
    at = f"transitions.{pool}"
    if params[f"{at}.place"] != place:
        return []
    if params[f"{at}.bare"]:
        return [Block(params[f"{at}.width"], 1, batch_norm=False, activation=None)]
    return [Block(params[f"{at}.width"], 1, **_norm_and_activation(params))]


def _head(params: Mapping[str, Any], channels: int, n_classes: int) -> Head:
    kind = params["head.kind"]
    if kind == "gap" and channels < n_classes:
        kind = "gap_linear"
    p = params["dropout"] if params["head.dropout"] else 0.0
    if kind in ("gap_conv", "conv") and params["head.hidden"]:
        return Head(kind, hidden=(Block(params["head.hidden_width"], 1, **_norm_and_activation(params), dropout=p),))
    return Head(kind, bias=kind == "gap_linear", dropout=p)


def _recipe(params: Mapping[str, Any]) -> RecipeConfig:
    optimizer = params["optimizer"]
    searched: dict[type, dict[str, Any]] = {RecipeConfig: {}, Augmentation: {}}
    for row in RECIPE:
        searched[row.owner][row.field] = params[row.name(optimizer)]
    return RecipeConfig(
        **searched[RecipeConfig],
        nesterov=optimizer == "sgd",
        ema_decay=0.995,
        schedule=Schedule(pct_start=0.2, div_factor=10.0, final_div_factor=100.0),
        augmentation=Augmentation(**searched[Augmentation]),
    )


def params_of(arch: ArchSpec, recipe: RecipeConfig | None, defaults: Mapping[str, Any]) -> Params:
    """The inverse of `assemble`, as near as there is one: inactive dimensions, and without a recipe its own, get
    `defaults`. Only if `assemble` returns the same network is the point found one that stands for it."""
    params = dict(defaults)
    blocks = [block for stage in arch.stages for block in stage.blocks]
    shaped = [block for block in blocks if block.activation and block.batch_norm]
    if shaped:
        params |= {name: getattr(shaped[0], name) for name in ("activation", "order", "norm_scale")}
    params["dropout"] = max([block.dropout for block in [*blocks, *arch.head.hidden]] + [arch.head.dropout])
    params["stages"] = len(arch.stages)
    channels = arch.input_shape[0]
    for i, stage in enumerate(arch.stages, start=1):
        params |= _stage_params(stage, i, _sharing(stage, channels), last=i == len(arch.stages))
        channels = stage.blocks[-1].out_channels if stage.blocks else channels
    params |= _head_params(arch.head)
    params |= {} if recipe is None else _recipe_params(recipe)
    return params


# How many widths of a stage of its own count, by how it shares weights.
_OWN_WIDTHS = {"none": None, "stage": 1, "before": 0}


def _stage_params(stage: Stage, number: int, sharing: str, *, last: bool) -> Params:
    at = f"stages.{number}"
    params: Params = {f"{at}.shared": sharing}
    blocks = list(stage.blocks)
    for pool, place, index in ((number - 1, "after", 0), (number, "before", -1)):
        exists = number > 1 if place == "after" else not last
        if exists and blocks and blocks[index].kernel_size == 1:
            block = blocks.pop(index)
            params[f"transitions.{pool}.place"] = place
            params[f"transitions.{pool}.width"] = block.out_channels
            params[f"transitions.{pool}.bare"] = not block.batch_norm
    kinds = [block.kind for block in blocks]
    widths = [block.out_channels for block in blocks for _ in range(1 + (block.kind == "residual"))]
    params[f"{at}.depth"] = len(widths)
    own = widths[: _OWN_WIDTHS[sharing]]
    params |= {f"{at}.width.{j}": width for j, width in enumerate(own, start=1)}
    params[f"{at}.kernel"] = max((block.kernel_size for block in blocks), default=3)
    params[f"{at}.kind"] = max(kinds, key=BLOCK_KINDS.index, default="conv")
    if "residual" not in kinds:
        params[f"{at}.padded"] = sum(block.padding == "same" for block in blocks)
    ends = [sum(1 + (block.kind == "residual") for block in blocks[: j + 1]) for j in range(len(blocks))]
    dropped = [str(end) for end, block in zip(ends, blocks, strict=True) if block.dropout]
    params[f"{at}.dropout"] = "none" if not dropped else dropped[0] if len(dropped) == 1 < len(blocks) else "all"
    return params


def _sharing(stage: Stage, channels: int) -> str:
    """Return the sharing of a stage of these blocks. "stage" is preferred where "before" would be the same."""
    owned, found = set[WeightShapes](), "none"
    for block in stage.blocks:
        weights = block.weight_shapes(channels)
        if block.shared and weights not in owned:
            return "before"
        found = "stage" if block.shared else found
        owned.add(weights)
        channels = block.out_channels
    return found


def _head_params(head: Head) -> Params:
    params: Params = {"head.kind": head.kind, "head.hidden": bool(head.hidden)}
    params["head.dropout"] = bool(head.dropout or any(block.dropout for block in head.hidden))
    return params | ({"head.hidden_width": head.hidden[0].out_channels} if head.hidden else {})


def _recipe_params(recipe: RecipeConfig) -> Params:
    owners: dict[type, Record] = {RecipeConfig: recipe, Augmentation: recipe.augmentation}
    return {row.name(recipe.optimizer): getattr(owners[row.owner], row.field) for row in RECIPE}
