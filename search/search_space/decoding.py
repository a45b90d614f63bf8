"""Find the point of the space that stands for a network and a recipe, as the inverse of encoding.assemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.recipe import Augmentation, RecipeConfig
from models.record import Record
from models.spec import BLOCK_KINDS, PADDED_KINDS, ArchSpec, Head, Stage, WeightShapes
from search.search_space.buildable import AVERAGE, MAXIMUM, RECIPE, STRIDED
from search.search_space.encoding import Params


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
    params["skip"] = any(block.skip for block in blocks)
    for field in ("expansion", "groups"):
        values = [getattr(block, field) for block in blocks if getattr(block, field) > 1]
        params |= {field: values[0]} if values else {}
    channels = arch.input_shape[0]
    for i, stage in enumerate(arch.stages, start=1):
        params |= _stage_params(stage, i, _sharing(stage, channels), is_last=i == len(arch.stages))
        if i > 1:
            params[f"transitions.{i - 1}.reduction"] = _reduction(arch.stages[i - 2], stage)
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
    params[f"{prefix}.squeeze"] = max((block.squeeze for block in blocks), default=0)
    if not set(kinds) & set(PADDED_KINDS):
        params[f"{prefix}.padded"] = sum(block.padding == "same" for block in blocks)
    ends = [sum(1 + (block.kind == "residual") for block in blocks[: j + 1]) for j in range(len(blocks))]
    dropout_positions = [str(end) for end, block in zip(ends, blocks, strict=True) if block.dropout]
    dropout = "all" if dropout_positions else "none"
    params[f"{prefix}.dropout"] = dropout_positions[0] if len(dropout_positions) == 1 < len(blocks) else dropout
    return params


def _reduction(before: Stage, stage: Stage) -> str:
    """Return how the map is reduced between two stages."""
    if any(block.stride > 1 for block in stage.blocks):
        return STRIDED
    return AVERAGE if before.pool_kind == "avg" else MAXIMUM


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
