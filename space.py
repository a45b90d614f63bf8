"""What is searched: THE list of dimensions with their ranges, and how a point of it becomes a network and a recipe.

Every dimension is suggested in every trial, also one that this trial's other values make inactive, so that a
multivariate sampler sees one joint space with one fixed set of names.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.baselines import BASELINES
from models.record import Record, RecordError
from models.spec import ArchSpec, Block, Head, Stage
from search.config import Augmentation, RecipeConfig, Schedule
from search.dimensions import Choice, Dimension, FloatRange, IntRange, SuggestsValues

Params = dict[str, Any]

MAX_STAGES = 3
MAX_DEPTH = 6
# A convolution without padding is given padding where it would leave a map smaller than this.
MIN_SIDE = 3


class NotInSpaceError(ValueError):
    """A network or recipe that is no point of the space."""


def _stage_dimensions(stage: int) -> list[Dimension]:
    at = f"stages.{stage}"
    return [
        IntRange(f"{at}.depth", 1, MAX_DEPTH, 2),
        *(IntRange(f"{at}.width.{conv}", 3, 48, 12, log=True) for conv in range(1, MAX_DEPTH + 1)),
        Choice(f"{at}.kernel", (3, 5), 3),
        # How many of the stage's last convolutions are padded; the ones before shrink the map.
        IntRange(f"{at}.padded", 0, MAX_DEPTH, 0),
        # A residual stage pairs its convolutions from the end; an odd first one stays plain. A separable first stage
        # starts with a plain one: a depthwise convolution of a grey image is one filter.
        Choice(f"{at}.kind", ("conv", "separable", "residual"), "conv"),
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
    Choice("head.kind", ("gap_linear", "gap_conv", "conv_gap", "conv"), "gap_linear"),
    # A 1x1 block before the classifying convolution (heads gap_conv and conv).
    Choice("head.hidden", (False, True), False),
    IntRange("head.hidden_width", 4, 32, 16, log=True),
    Choice("head.dropout", (False, True), False),
    Choice("order", ("conv-bn-act", "conv-act-bn"), "conv-bn-act"),
    Choice("activation", ("relu", "silu"), "relu"),
    FloatRange("dropout", 0.0, 0.25, 0.0),
    # The recipe; the rest of it is fixed in _recipe below.
    Choice("optimizer", ("sgd", "adamw"), "sgd"),
    FloatRange("sgd.lr", 0.02, 1.0, 0.3, log=True),
    FloatRange("sgd.weight_decay", 0.0, 5e-4, 0.0),
    FloatRange("adamw.lr", 0.001, 0.05, 0.01, log=True),
    FloatRange("adamw.weight_decay", 0.0, 0.05, 0.01),
    Choice("batch_size", (32, 64, 128), 128),
    FloatRange("label_smoothing", 0.0, 0.1, 0.02),
    FloatRange("rotation", 0.0, 15.0, 7.0),
    FloatRange("shift", 0.0, 0.12, 0.05),
    FloatRange("scale", 0.0, 0.15, 0.05),
    FloatRange("shear", 0.0, 10.0, 0.0),
)
# Search settings of another space are another study.
SPACE_KEY = hashlib.sha256(repr(DIMENSIONS).encode()).hexdigest()[:16]
DEFAULTS: Params = {dimension.name: dimension.default for dimension in DIMENSIONS}


@dataclass(frozen=True)
class Candidate(Record):
    """One point of the space: a network and how to train it."""

    arch: ArchSpec
    recipe: RecipeConfig


def suggest(trial: SuggestsValues, input_shape: tuple[int, int, int] = (1, 28, 28), n_classes: int = 10) -> Candidate:
    """Ask `trial` for every dimension and assemble the candidate. Always a valid network; nothing is built."""
    return assemble({dimension.name: dimension.suggest(trial) for dimension in DIMENSIONS}, input_shape, n_classes)


def sample(rng: random.Random) -> Params:
    """One point drawn as a random search would."""
    return {dimension.name: dimension.sample(rng) for dimension in DIMENSIONS}


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


def to_params(arch: ArchSpec, recipe: RecipeConfig | None = None) -> Params:
    """The inverse of `assemble`: the point that stands for a network and a recipe (None: the default recipe).

    Inactive dimensions get their defaults. Raises NotInSpaceError if no point stands for exactly that.
    """
    params = dict(DEFAULTS)
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
    try:
        found = assemble(params, arch.input_shape, arch.n_classes)
    except (KeyError, RecordError) as error:
        raise NotInSpaceError(f"the space has no such network: {error}") from error
    within = all(dimension.holds(params[dimension.name]) for dimension in DIMENSIONS)
    if found.arch != arch or (recipe is not None and found.recipe != recipe) or not within:
        raise NotInSpaceError("the space has no such network or recipe")
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


# What was found before (studies/README.md), by stage: separable convolutions, padded, behind a plain one. The narrower
# ones are for smaller budgets.
_START_WIDTHS = (
    ((8, 16), (26, 26, 26), (34, 34, 34)),
    ((8, 14), (22, 22, 22), (28, 28, 28)),
    ((6, 10), (18, 18, 18), (22, 22, 22)),
    ((5, 8), (11, 11, 11), (14, 14, 14)),
    ((4, 5), (7, 7, 7), (8, 8, 8)),
)


def starting_points() -> list[tuple[str, Params]]:
    """Points of our own to try first, by name, the largest first: one family of networks, each with two recipes."""
    found = []
    for widths in _START_WIDTHS:
        network: Params = {"stages": len(widths), "rotation": 9.0, "shift": 0.06, "scale": 0.06}
        for i, stage in enumerate(widths, start=1):
            at = f"stages.{i}"
            network |= {f"{at}.width.{conv}": width for conv, width in enumerate(stage, start=1)}
            padded = len(stage) - (i == 1)
            network |= {f"{at}.depth": len(stage), f"{at}.padded": padded, f"{at}.kind": "separable"}
        found += [
            (f"separable-{optimizer}", DEFAULTS | network | {"optimizer": optimizer}) for optimizer in ("sgd", "adamw")
        ]
    return found


def baseline_params(input_shape: tuple[int, int, int], n_classes: int) -> dict[str, Params]:
    """The hand-designed networks that are points of this space, by id, each with the default recipe.

    The write-ups' own recipes differ in optimiser and schedule; with one recipe for all, a study compares networks.
    """
    found = {}
    for name, baseline in BASELINES.items():
        if (baseline.spec.input_shape, baseline.spec.n_classes) != (input_shape, n_classes):
            continue
        try:
            found[name] = to_params(baseline.spec)
        except NotInSpaceError:
            continue
    return found
