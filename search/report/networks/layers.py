"""Build the table of layers and receptive fields, with kernel, stride and padding of every layer."""

from __future__ import annotations

from itertools import pairwise

from models.cost import compute_cost, trace_features
from models.layer_cost import LayerCost
from models.spec import ArchSpec
from search.text import parameter_count

LAYER_COLUMNS = (
    *("layer", "kind", "kernel", "stride", "padding", "output", "jump", "RF", "parameters", "MACs"),
)  # channels x height x width; jump and receptive field (RF) in pixels of the image
_RULE = (
    "Output: channels x height x width. Jump: pixels of the image between two neighbours of the map; jump = jump "
    "before x stride. RF: receptive field in pixels; RF = RF before + (kernel - 1) x jump before."
)
# Kinds of rows that slide no window over the map.
_WITHOUT_WINDOW = ("sum", "scale", "linear", "first channels")


def layer_rows(arch: ArchSpec) -> list[tuple[str, ...]]:
    """Return one row of cells for the image, for each layer and for the totals, under LAYER_COLUMNS."""
    cost = compute_cost(arch)
    image = trace_features(arch)[0]
    image_row = ("image", "", "", "", "", _output(image), str(image.jump), str(image.receptive_field), "", "")
    total_row = ("total", *[""] * 6, str(cost.receptive_field), f"{cost.n_params:,}", f"{cost.macs:,}")
    return [image_row, *(_row(*pair) for pair in pairwise([image, *cost.layers])), total_row]


def layer_rule(arch: ArchSpec) -> str:
    """Return the sentences that explain the table of layers."""
    cost = compute_cost(arch)
    shared = f" Parameters: {parameter_count(cost.n_params, cost.n_stored, '')}."
    return _RULE + (shared if cost.n_stored != cost.n_params else "")


def _row(before: LayerCost, row: LayerCost) -> tuple[str, ...]:
    rest = (_output(row), str(row.jump), str(row.receptive_field), f"{row.n_params:,}", f"{row.macs:,}")
    return row.name, row.kind, *_window(before, row), *rest


def _output(row: LayerCost) -> str:
    return f"{row.channels} x {row.height} x {row.width}"


def _window(before: LayerCost, row: LayerCost) -> tuple[str, str, str]:
    """Return kernel, stride and padding of a layer, dashes for one that slides no window."""
    if row.kind in _WITHOUT_WINDOW:
        return "-", "-", "-"
    # The inverse of the rule in models.layer_cost.
    kernel = 1 + (row.receptive_field - before.receptive_field) // before.jump
    stride = row.stride
    padding = 0 if row.height == (before.height - kernel) // stride + 1 else kernel // 2
    is_whole_map = (row.height, row.width) == (1, 1) and kernel == max(before.height, before.width) > 1
    height, width = (before.height, before.width) if is_whole_map else (kernel, kernel)
    return f"{height}x{width}", str(stride), "0" if is_whole_map else str(padding)
