"""A network in words and figures: on one line, as a layer table, as JSON, and what the authors of a known one state."""

from __future__ import annotations

from typing import Any

from models.baselines import Baseline, StatedResult
from models.blocks import LayerCost
from models.cost import Cost, compute_cost, trace_features
from models.spec import ArchSpec, Block
from search.text import percent, text_table, wrapped

_LEGEND = (
    "a number is a 3x3 convolution of that many channels, (KxK)8 one with another kernel; after it p: padded, "
    "s: separable, r: residual (two convolutions and a shortcut), b: bare (no batch norm, no activation); "
    "pool: 2x2 max pool; GAP: global average pooling"
)
_LEGEND_SHARED = "=: with the weights of the last one of that shape that has its own"
_LEGEND_FIRST = "first 10: the first ten channels, times one factor, are the logits"
_KIND_MARKS = {"conv": "", "separable": "s", "residual": "r"}
_LAYER_COLUMNS = ("layer", "kind", "output", "RF", "jump", "parameters", "MACs")
_STATED_COLUMNS = ("stated accuracy, by recipe", "best", "at epoch", "last", "epochs", "taken from")


def architecture_line(spec: ArchSpec) -> str:
    """The layers in order, as in "8 16 · pool · (1x1)8 12 16p · GAP (1x1)10"; `legend` says what the marks mean.

    Order of batch norm and activation, biases, scales of batch norm and dropout are not shown.
    """
    parts: list[str] = []
    for stage in spec.stages:
        if stage.blocks:
            parts.append(" ".join(map(_block_mark, stage.blocks)))
        if stage.pool:
            parts.append("pool" if stage.pool == 2 else f"pool{stage.pool}")
    return " · ".join([*parts, " ".join(_head_marks(spec))])


def legend(spec: ArchSpec | None) -> str:
    """What the marks in the architecture line mean; those of few networks only where this one has them."""
    shares = spec is not None and any(block.shared for stage in spec.stages for block in stage.blocks)
    is_first = spec is not None and spec.head.kind == "gap"
    return "; ".join([_LEGEND, *[_LEGEND_SHARED] * shares, *[_LEGEND_FIRST] * is_first])


def _block_mark(block: Block) -> str:
    kernel = "" if block.kernel_size == 3 else f"({block.kernel_size}x{block.kernel_size})"
    # A residual block is always padded, and a 1x1 convolution never needs to be.
    padded = block.padding == "same" and block.kernel_size > 1 and block.kind != "residual"
    bare = not block.batch_norm and block.activation is None
    return f"{kernel}{block.out_channels}{_KIND_MARKS[block.kind]}{'p' * padded}{'b' * bare}{'=' * block.shared}"


def _head_marks(spec: ArchSpec) -> list[str]:
    last_map = trace_features(spec)[-1]
    hidden = [_block_mark(block) for block in spec.head.hidden]
    return {
        "gap_linear": ["GAP", f"linear {spec.n_classes}"],
        "gap_conv": ["GAP", *hidden, f"(1x1){spec.n_classes}"],
        "conv_gap": [f"(1x1){spec.n_classes}", "GAP"],
        "conv": [*hidden, f"({last_map.height}x{last_map.width}){spec.n_classes}"],
        "flatten_linear": ["flatten", f"linear {spec.n_classes}"],
        "gap": ["GAP", f"first {spec.n_classes}"],
    }[spec.head.kind]


def layer_table(cost: Cost) -> str:
    """One line a layer, outputs as channels x height x width, and the totals below."""
    return f"{text_table(_LAYER_COLUMNS, map(_layer_cells, cost.layers), '<<<>>>>')}\n\n{_totals(cost)}"


def _layer_cells(row: LayerCost) -> tuple[str, ...]:
    output = f"{row.channels}x{row.height}x{row.width}"
    return row.name, row.kind, output, str(row.receptive_field), str(row.jump), f"{row.n_params:,}", f"{row.macs:,}"


def _totals(cost: Cost) -> str:
    in_float32, in_int8 = cost.peak_activation_bytes, cost.peak_activation_values
    copied = f" ({cost.n_stored:,} with shared ones in every layer)" if cost.n_stored > cost.n_params else ""
    return (
        f"total: {cost.n_params:,} parameters{copied}, {cost.macs:,} MACs\n"
        f"receptive field (RF): {cost.receptive_field} at the logits, {cost.feature_receptive_field} before the head\n"
        f"peak activation memory: {in_float32:,} bytes in float32, {in_int8:,} in int8"
    )


def describe_json(spec: ArchSpec, cost: Cost) -> dict[str, Any]:
    """The same for programs, JSON types only; ArchSpec.from_dict reads "arch"."""
    return {
        "key": spec.key(),
        "architecture": architecture_line(spec),
        "n_params": cost.n_params,
        "n_stored": cost.n_stored,
        "macs": cost.macs,
        "receptive_field": cost.receptive_field,
        "feature_receptive_field": cost.feature_receptive_field,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "peak_activation_bytes_int8": cost.peak_activation_values,
        "arch": spec.to_dict(),
        "layers": [row._asdict() for row in cost.layers],
    }


def describe_baseline(baseline: Baseline) -> str:
    """What the authors of a hand-designed network state of it, where they and arithmetic differ, and the source."""
    cost = compute_cost(baseline.spec)
    results = text_table(_STATED_COLUMNS, [_stated_cells(*item) for item in baseline.stated.items()], "<>>>><")
    lines = []
    if baseline.n_params_stated != f"{cost.n_params:,}":
        lines.append(f"stated parameters: {baseline.n_params_stated}; they are {cost.n_params:,}")
    if baseline.receptive_field_stated not in (None, cost.receptive_field):
        lines.append(f"stated receptive field: {baseline.receptive_field_stated}; it is {cost.receptive_field}")
    lines += [f"source: {baseline.source}", "discrepancies and doubts:"]
    lines += [f"- {discrepancy}" for discrepancy in baseline.discrepancies]
    title = f"{baseline.id}: {baseline.title}\n{architecture_line(baseline.spec)}"
    return "\n\n".join((title, results, "\n".join(map(wrapped, lines))))


def _stated_cells(recipe: str, result: StatedResult) -> tuple[str, ...]:
    about = "about " * result.approximate
    best = "-" if result.best_accuracy is None else f"{about}{percent(result.best_accuracy)}"
    epochs = ", ".join(map(str, result.best_epochs)) or "-"
    return recipe, best, epochs, percent(result.last_accuracy), str(result.epochs), result.origin
