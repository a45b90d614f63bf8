"""A point of the space as a network and a recipe, and the way back from these to the point that stands for them.

A point gives every dimension of space.DIMENSIONS a value, by its name. Where a stage is shallower than its dimensions,
or a head has no hidden layer, the values that would describe these change nothing. BUILDABLE is how far the values of
a point may go, which is further than they are searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.record import Record
from models.spec import ACTIVATIONS, BLOCK_KINDS, HEAD_KINDS, ORDERS, ArchSpec, Block, Head, Stage
from search.config import Augmentation, RecipeConfig, Schedule
from search.dimensions import Choice, Dimension, FloatRange, IntRange

Params = dict[str, Any]

MAX_STAGES = 3
MAX_DEPTH = 6
# A convolution without padding is given padding where it would leave a map smaller than this.
MIN_SIDE = 3

_DROPOUTS = ("none", "all", *map(str, range(1, MAX_DEPTH + 1)))
# Under the dimensions' names, where * stands for a number or a name. Defaults mean nothing here.
BUILDABLE: tuple[Dimension, ...] = (
    IntRange("stages", 1, MAX_STAGES, 1),
    IntRange("stages.*.depth", 1, MAX_DEPTH, 1),
    IntRange("stages.*.width.*", 1, 1024, 1),
    Choice("stages.*.kernel", (3, 5, 7), 3),
    IntRange("stages.*.padded", 0, MAX_DEPTH, 0),
    Choice("stages.*.kind", BLOCK_KINDS, "conv"),
    Choice("stages.*.dropout", _DROPOUTS, "none"),
    Choice("transitions.*.place", ("none", "before", "after"), "none"),
    IntRange("transitions.*.width", 1, 1024, 1),
    Choice("transitions.*.bare", (False, True), False),
    Choice("head.kind", HEAD_KINDS, "gap_linear"),
    Choice("head.hidden", (False, True), False),
    IntRange("head.hidden_width", 1, 1024, 1),
    Choice("head.dropout", (False, True), False),
    Choice("order", ORDERS, "conv-bn-act"),
    Choice("activation", ACTIVATIONS, "relu"),
    FloatRange("dropout", 0.0, 0.9, 0.0),
    Choice("optimizer", ("sgd", "adamw"), "sgd"),
    FloatRange("*.lr", 1e-8, 100.0, 0.1),
    FloatRange("*.weight_decay", 0.0, 1.0, 0.0),
    IntRange("batch_size", 2, 4096, 128),
    FloatRange("label_smoothing", 0.0, 0.9, 0.0),
    FloatRange("rotation", 0.0, 180.0, 0.0),
    FloatRange("shift", 0.0, 1.0, 0.0),
    FloatRange("scale", 0.0, 0.9, 0.0),
    FloatRange("shear", 0.0, 80.0, 0.0),
)


@dataclass(frozen=True)
class Candidate(Record):
    """One point of the space: a network and how to train it."""

    arch: ArchSpec
    recipe: RecipeConfig


def assemble(
    params: Mapping[str, Any], input_shape: tuple[int, int, int] = (1, 28, 28), n_classes: int = 10
) -> Candidate:
    """The candidate that `params` (a value for every dimension) stand for."""
    side = min(input_shape[1:])
    stages = []
    for i in range(1, params["stages"] + 1):
        blocks = _transition(params, i - 1, "after") if i > 1 else []
        convs, side = _stage_blocks(params, i, side)
        blocks += convs
        last = i == params["stages"]
        blocks += [] if last else _transition(params, i, "before")
        pool = 0 if last or side < 2 else 2
        side = side // 2 if pool else side
        stages.append(Stage(tuple(blocks), pool))
    return Candidate(ArchSpec(input_shape, n_classes, tuple(stages), _head(params)), _recipe(params))


def _stage_blocks(params: Mapping[str, Any], stage: int, side: int) -> tuple[list[Block], int]:
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
                params[f"{at}.width.{conv}"],
                kernel,
                kind=block_kind,
                padding="same" if padded else "valid",
                activation=params["activation"],
                order=params["order"],
                dropout=params["dropout"] if dropout in ("all", str(conv)) else 0.0,
            )
        )
        conv += 1
    return blocks, side


def _transition(params: Mapping[str, Any], pool: int, place: str) -> list[Block]:
    """The 1x1 block that stands at `place` of a pool, if there is one."""
    at = f"transitions.{pool}"
    if params[f"{at}.place"] != place:
        return []
    if params[f"{at}.bare"]:
        return [Block(params[f"{at}.width"], 1, batch_norm=False, activation=None)]
    return [Block(params[f"{at}.width"], 1, activation=params["activation"], order=params["order"])]


def _head(params: Mapping[str, Any]) -> Head:
    kind = params["head.kind"]
    p = params["dropout"] if params["head.dropout"] else 0.0
    if kind in ("gap_conv", "conv") and params["head.hidden"]:
        width, activation, order = params["head.hidden_width"], params["activation"], params["order"]
        return Head(kind, hidden=(Block(width, 1, activation=activation, order=order, dropout=p),))
    return Head(kind, bias=kind == "gap_linear", dropout=p)


def _recipe(params: Mapping[str, Any]) -> RecipeConfig:
    optimizer = params["optimizer"]
    return RecipeConfig(
        batch_size=params["batch_size"],
        optimizer=optimizer,
        lr=params[f"{optimizer}.lr"],
        nesterov=optimizer == "sgd",
        weight_decay=params[f"{optimizer}.weight_decay"],
        label_smoothing=params["label_smoothing"],
        ema_decay=0.995,
        schedule=Schedule(pct_start=0.2, div_factor=10.0, final_div_factor=100.0),
        augmentation=Augmentation(
            rotation=params["rotation"], shift=params["shift"], scale=params["scale"], shear=params["shear"]
        ),
    )


def params_of(arch: ArchSpec, recipe: RecipeConfig | None, defaults: Mapping[str, Any]) -> Params:
    """The inverse of `assemble`, as near as there is one: inactive dimensions, and without a recipe its own, get
    `defaults`. Only if `assemble` returns the same network is the point found one that stands for it."""
    params = dict(defaults)
    blocks = [block for stage in arch.stages for block in stage.blocks]
    shaped = [block for block in blocks if block.activation and block.batch_norm]
    if shaped:
        params |= {"activation": shaped[0].activation, "order": shaped[0].order}
    params["dropout"] = max([block.dropout for block in [*blocks, *arch.head.hidden]] + [arch.head.dropout])
    params["stages"] = len(arch.stages)
    for i, stage in enumerate(arch.stages, start=1):
        params |= _stage_params(stage, i, last=i == len(arch.stages))
    params |= _head_params(arch.head)
    params |= {} if recipe is None else _recipe_params(recipe)
    return params


def _stage_params(stage: Stage, number: int, *, last: bool) -> Params:
    at = f"stages.{number}"
    params: Params = {}
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
    params |= {f"{at}.width.{j}": width for j, width in enumerate(widths, start=1)}
    params[f"{at}.kernel"] = max((block.kernel_size for block in blocks), default=3)
    params[f"{at}.kind"] = max(kinds, key=("conv", "separable", "residual").index, default="conv")
    if "residual" not in kinds:
        params[f"{at}.padded"] = sum(block.padding == "same" for block in blocks)
    ends = [sum(1 + (block.kind == "residual") for block in blocks[: j + 1]) for j in range(len(blocks))]
    dropped = [str(end) for end, block in zip(ends, blocks, strict=True) if block.dropout]
    params[f"{at}.dropout"] = "none" if not dropped else dropped[0] if len(dropped) == 1 < len(blocks) else "all"
    return params


def _head_params(head: Head) -> Params:
    params: Params = {"head.kind": head.kind, "head.hidden": bool(head.hidden)}
    params["head.dropout"] = bool(head.dropout or any(block.dropout for block in head.hidden))
    return params | ({"head.hidden_width": head.hidden[0].out_channels} if head.hidden else {})


def _recipe_params(recipe: RecipeConfig) -> Params:
    augmentation = recipe.augmentation
    own = {name: getattr(recipe, name) for name in ("optimizer", "batch_size", "label_smoothing")}
    own |= {f"{recipe.optimizer}.{name}": getattr(recipe, name) for name in ("lr", "weight_decay")}
    return own | {name: getattr(augmentation, name) for name in ("rotation", "shift", "scale", "shear")}
