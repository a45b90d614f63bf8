"""List the layers of a generated model.c, with the multiply-adds, the constants and the map of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from search.export.int8.c_calls import calls_of, plan_arena, shape_text
from search.export.int8.network import (
    Add,
    Affine,
    Classify,
    Convolution,
    Int8Network,
    MaxPool,
    Mean,
    ReadImage,
    Step,
    Table,
    map_bytes,
)


@dataclass(frozen=True)
class LayerRow:
    """Layer of a generated model.c.

    layer           words for its steps
    shape           shape of the map that it writes, such as "8x26x26", or the number of logits
    macs            multiply-adds of an image, with those of the padding
    constant_bytes  bytes of the constants that no earlier layer reads
    map_bytes       bytes of the map that it writes; 0 for the logits, which belong to the caller
    """

    layer: str
    shape: str
    macs: int
    constant_bytes: int
    map_bytes: int


def layer_table(network: Int8Network) -> list[dict[str, Any]]:
    """Return the layers of a network in the order in which they run, as JSON types, with the keys of LayerRow."""
    return [asdict(row) for row in _rows(network)]


def _rows(network: Int8Network) -> Iterator[LayerRow]:
    written: set[str] = set()
    row: LayerRow | None = None
    steps = [*network.steps, network.last]
    for step, call in zip(steps, calls_of(network, plan_arena(network)), strict=True):
        constants = {constant.name: constant.values.nbytes for constant in call.constants}
        n_bytes = sum(size for name, size in constants.items() if name not in written)
        written |= constants.keys()
        if isinstance(step, Table | Affine):
            # These change the map of the layer before in place.
            assert row is not None
            layer = f"{row.layer}, {_words(step)}"
            row = LayerRow(layer, row.shape, row.macs, row.constant_bytes + n_bytes, row.map_bytes)
            continue
        if row is not None:
            yield row
        if isinstance(step, Classify):
            row = LayerRow(_words(step), str(network.n_classes), _macs(step, network), n_bytes, 0)
        else:
            shape = network.maps[step.target]
            row = LayerRow(_words(step), shape_text(shape), _macs(step, network), n_bytes, map_bytes(shape))
    assert row is not None
    yield row


def _words(step: Step | Classify) -> str:
    match step:
        case ReadImage():
            return "image"
        case Convolution(weight=weight, depthwise=depthwise):
            side = weight.shape[-1]
            return f"{side}x{side} {'depthwise ' if depthwise else ''}convolution"
        case Table():
            return "activation"
        case Affine():
            return "batch norm"
        case MaxPool(size=size):
            return f"{size}x{size} max pool"
        case Mean():
            return "mean of each channel"
        case Add():
            return "sum with the shortcut"
        case Classify(pooled=pooled):
            return "mean of each channel, logits" if pooled else "logits"


def _macs(step: Step | Classify, network: Int8Network) -> int:
    match step:
        case Convolution():
            _, height, width = network.maps[step.target]
            return int(step.weight.size) * height * width
        case Classify():
            return int(step.weight.size)
        case _:
            return 0
