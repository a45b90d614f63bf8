"""Describe a network as one line of text, as a layer table or as JSON, and a baseline with its stated results."""

from __future__ import annotations

from typing import Any

from models.baselines import Baseline, StatedResult
from models.blocks import BLOCKS
from models.cost import Cost, compute_cost, trace_features
from models.heads import HEADS
from models.layer_cost import LayerCost, module_costs
from models.module_table import module_table
from models.spec import PADDED_KINDS, ArchSpec, Block
from search.text import parameter_count, percent, text_table, wrapped

# Kinds of blocks that every legend explains; other marks are explained for networks that have them.
_COMMON_KINDS = ("separable", "residual")
_COMMON_MARKS = ", ".join(f"{BLOCKS[kind].mark}: {BLOCKS[kind].mark_meaning}" for kind in _COMMON_KINDS)
_LEGEND = (
    f"a number is a 3x3 convolution of that many channels, (KxK)8 one with another kernel; after it p: padded, "
    f"{_COMMON_MARKS}, b: bare (no batch norm, no activation); pool: 2x2 max pool; GAP: global average pooling"
)
_LEGEND_SQUEEZE = "e: squeeze-and-excitation, and the ratio by which it reduces the width"
_LEGEND_SKIP = "+: the block adds its input to its output"
_LEGEND_STRIDE = "/2: stride 2"
_LEGEND_AVERAGE = "avgpool: 2x2 average pool"
_LEGEND_SHARED = "=: with the weights of the last one of that shape that has its own"
_LAYER_COLUMNS = ("layer", "kind", "output", "RF", "jump", "parameters", "MACs")
_STATED_COLUMNS = ("stated on MNIST, by recipe", "best", "at epoch", "last", "epochs", "taken from")


def architecture_line(spec: ArchSpec) -> str:
    """Return the layers in order, as in "8 16 · pool · (1x1)8 12 16p · GAP (1x1)10"; `legend` explains the marks.

    Order of batch norm and activation, biases, scales of batch norm and dropout are not shown.
    """
    parts: list[str] = []
    for stage in spec.stages:
        if stage.blocks:
            parts.append(" ".join(map(_block_notation, stage.blocks)))
        if stage.pool:
            kind = "" if stage.pool_kind == "max" else stage.pool_kind
            parts.append(f"{kind}pool{'' if stage.pool == 2 else stage.pool}")
    hidden = [_block_notation(block) for block in spec.head.hidden]
    head = HEADS[spec.head.kind].notation(trace_features(spec)[-1], hidden, spec.n_classes)
    return " · ".join([*parts, " ".join(head)])


def legend(spec: ArchSpec | None) -> str:
    """Return the explanation of the marks in an architecture line; rare marks only if the network has them."""
    if spec is None:
        return _LEGEND
    blocks = [*(block for stage in spec.stages for block in stage.blocks), *spec.head.hidden]
    kinds = {block.kind for block in blocks}
    rare_marks = {
        **{
            f"{kind.mark}: {kind.mark_meaning}": name in kinds
            for name, kind in BLOCKS.items()
            if kind.mark and name not in _COMMON_KINDS
        },
        _LEGEND_SQUEEZE: any(block.squeeze for block in blocks),
        _LEGEND_SKIP: any(block.skip for block in blocks),
        _LEGEND_STRIDE: any(block.stride > 1 for block in blocks),
        _LEGEND_AVERAGE: any(stage.pool_kind == "avg" for stage in spec.stages),
        _LEGEND_SHARED: spec.shares_weights,
        HEADS[spec.head.kind].meaning: bool(HEADS[spec.head.kind].meaning),
    }
    return "; ".join([_LEGEND, *(meaning for meaning, is_used in rare_marks.items() if is_used)])


def _block_notation(block: Block) -> str:
    kind = BLOCKS[block.kind]
    kernel = "" if block.kernel_size == 3 else f"({block.kernel_size}x{block.kernel_size})"
    # A 1x1 convolution never needs padding.
    padded = block.padding == "same" and block.kernel_size > 1 and block.kind not in PADDED_KINDS
    bare = not block.batch_norm and block.activation is None
    # Each of the two numbers belongs to one kind of block.
    number = next((str(number) for number in (block.expansion, block.groups) if number > 1), "")
    squeeze = f"e{block.squeeze}" if block.squeeze else ""
    marks = f"{kind.mark}{number}{'p' * padded}{'b' * bare}{squeeze}{'+' * block.skip}{'/2' * (block.stride == 2)}"
    return f"{kernel}{block.out_channels}{marks}{'=' * block.shared}"


def layer_table(cost: Cost) -> str:
    """Return a table with one line per layer, outputs as channels x height x width, and the totals below."""
    return f"{text_table(_LAYER_COLUMNS, map(_layer_cells, cost.layers), '<<<>>>>')}\n\n{_totals(cost)}"


def torchsummary_table(spec: ArchSpec, cost: Cost) -> str:
    """Return the table that torchsummary prints, computed from the cost."""
    return module_table(module_costs(spec.input_shape, cost.layers), spec.input_shape, cost.n_params)


def _layer_cells(row: LayerCost) -> tuple[str, ...]:
    output = f"{row.channels}x{row.height}x{row.width}"
    return row.name, row.kind, output, str(row.receptive_field), str(row.jump), f"{row.n_params:,}", f"{row.macs:,}"


def _totals(cost: Cost) -> str:
    in_float32, in_int8 = cost.peak_activation_bytes, cost.peak_activation_bytes_int8
    return (
        f"total: {parameter_count(cost.n_params, cost.n_stored)}, {cost.macs:,} MACs\n"
        f"receptive field (RF): {cost.receptive_field} at the logits, {cost.feature_receptive_field} before the head\n"
        f"peak activation memory: {in_float32:,} bytes in float32, {in_int8:,} in int8"
    )


def describe_json(spec: ArchSpec, cost: Cost) -> dict[str, Any]:
    """Return the description as JSON-serialisable data; ArchSpec.from_dict reads its "arch"."""
    return {
        "key": spec.key(),
        "architecture": architecture_line(spec),
        "n_params": cost.n_params,
        "n_stored": cost.n_stored,
        "macs": cost.macs,
        "receptive_field": cost.receptive_field,
        "feature_receptive_field": cost.feature_receptive_field,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "peak_activation_bytes_int8": cost.peak_activation_bytes_int8,
        "arch": spec.to_dict(),
        "layers": [row._asdict() | {"modules": list(row.modules)} for row in cost.layers],
    }


def describe_baseline(baseline: Baseline) -> str:
    """Return the stated results of a baseline, their differences from the computed cost, and the source."""
    cost = compute_cost(baseline.spec)
    stated = {
        name: result for name, result in baseline.stated.items() if result.best_accuracy or result.last_accuracies
    }
    results = (
        [text_table(_STATED_COLUMNS, [_stated_cells(*item) for item in stated.items()], "<>>>><")] if stated else []
    )
    lines = []
    if baseline.n_params_stated not in ("", f"{cost.n_params:,}"):
        lines.append(f"stated parameters: {baseline.n_params_stated}; they are {cost.n_params:,}")
    if baseline.receptive_field_stated not in (None, cost.receptive_field):
        lines.append(f"stated receptive field: {baseline.receptive_field_stated}; it is {cost.receptive_field}")
    lines += [f"source: {baseline.source}", "discrepancies and caveats:"]
    lines += [f"- {discrepancy}" for discrepancy in baseline.discrepancies]
    title = f"{baseline.id}: {baseline.title}\n{architecture_line(baseline.spec)}"
    return "\n\n".join((title, *results, "\n".join(map(wrapped, lines))))


def _stated_cells(recipe: str, result: StatedResult) -> tuple[str, ...]:
    about = "about " * result.approximate
    best = "-" if result.best_accuracy is None else f"{about}{percent(result.best_accuracy)}"
    epochs = ", ".join(map(str, result.best_epochs)) or "-"
    return recipe, best, epochs, percent(result.last_accuracy), str(result.epochs), result.origin
