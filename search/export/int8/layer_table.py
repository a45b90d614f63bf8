"""List the layers of a generated model.c, with the multiply-adds, the constants and the map of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from search.export.int8.arena import plan_arena
from search.export.int8.c_calls import calls_of, shape_text
from search.export.int8.fusion import Operation, operations_of
from search.export.int8.network import (
    Add,
    AveragePool,
    Classify,
    Convolution,
    Int8Network,
    MaxPool,
    Mean,
    ReadImage,
    Scale,
    Step,
    map_bytes,
)


@dataclass(frozen=True)
class LayerRow:
    """Layer of a generated model.c.

    layer           words for its steps, which one call computes
    shape           shape of the map that it writes, such as "8x26x26", or the number of logits
    macs            multiply-adds of an image, with those of the padding; a factor that scales a logit counts as none
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
    calls = calls_of(network, plan_arena(network))
    for operation, call in zip(operations_of(network), calls, strict=True):
        constants = {constant.name: constant.n_bytes for constant in call.constants}
        n_bytes = sum(size for name, size in constants.items() if name not in written)
        written |= constants.keys()
        macs = 0 if call.function == "classify_channels" else _macs(operation.step, network)
        if operation.target is None:
            yield LayerRow(_words(operation), str(network.n_classes), macs, n_bytes, 0)
        else:
            shape = network.maps[operation.target]
            yield LayerRow(_words(operation), shape_text(shape), macs, n_bytes, map_bytes(shape))


def _words(operation: Operation) -> str:
    words = [_step_words(operation.step)]
    words += ["activation"] * (operation.activation is not None)
    words += ["batch norm"] * (operation.norm is not None)
    words += [f"{operation.pool}x{operation.pool} max pool"] * (operation.pool > 1)
    return ", ".join(words)


def _step_words(step: Step | Classify) -> str:
    match step:
        case ReadImage():
            return "image"
        case Convolution(weight=weight, stride=stride, groups=groups, depthwise=depthwise):
            side, strided = weight.shape[-1], f", stride {stride}" if stride > 1 else ""
            grouped = f" in {groups} groups" if groups > 1 and not depthwise else ""
            return f"{side}x{side} {'depthwise ' if depthwise else ''}convolution{grouped}{strided}"
        case MaxPool(size=size):
            return f"{size}x{size} max pool"
        case AveragePool(size=size):
            return f"{size}x{size} average pool"
        case Mean():
            return "mean of each channel"
        case Add():
            return "sum with the shortcut"
        case Scale():
            return "factor of each channel"
        case Classify(pooled=pooled):
            return "mean of each channel, logits" if pooled else "logits"
    raise TypeError(f"a {type(step).__name__} is part of another operation")


def _macs(step: Step | Classify, network: Int8Network) -> int:
    match step:
        case Convolution():
            _, height, width = network.maps[step.target]
            return int(step.weight.size) * height * width
        case Classify():
            return int(step.weight.size)
        case _:
            return 0
