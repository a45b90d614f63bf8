"""Convert the operations of an integer network to calls of C functions, with their constants and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.export.int8.arena import Arena
from search.export.int8.c_constants import (
    BIASES,
    FACTORS,
    TABLES,
    WEIGHTS,
    Constant,
    Record,
    bias_of_levels,
    even,
    packed_weight,
)
from search.export.int8.fusion import Operation, operations_of
from search.export.int8.network import (
    Add,
    Affine,
    AveragePool,
    Classify,
    Convolution,
    Int8Array,
    Int8Network,
    Int32Array,
    MaxPool,
    Mean,
    ReadImage,
    Scale,
    map_bytes,
)


class Call(NamedTuple):
    """Call of a C function that computes one operation, with the comment above it and the data that it needs."""

    function: str
    arguments: tuple[object, ...]
    remark: str
    constants: tuple[Constant | Record, ...] = ()


def calls_of(network: Int8Network, arena: Arena) -> Iterator[Call]:
    """Yield the call of each operation, in their order. Equal constants are one, with the name of the first.

    Raises QuantisationError if a sum may exceed 32 bits.
    """
    constants: dict[tuple[str, bytes], Constant] = {}
    for number, operation in enumerate(operations_of(network)):
        yield _CallWriter(network, arena, number, constants).call(operation)


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as text, such as "8x26x26"."""
    return "x".join(map(str, shape))


def _wide_rescaling(step: AveragePool | Mean) -> tuple[object, ...]:
    """Return the multiplier, the offset and the shift of a step that computes with 64 bits."""
    return step.multiplier, f"INT64_C({step.offset})", step.shift


class _CallWriter:
    """Writer of the call for one operation.

    number     number of the operation, from 0; the names of its constants contain it, from 1
    constants  the constants so far, by kind and content
    """

    def __init__(
        self, network: Int8Network, arena: Arena, number: int, constants: dict[tuple[str, bytes], Constant]
    ) -> None:
        self.shapes = network.maps
        self.arena = arena
        self.number = number
        self.prefix = f"step{number + 1}"
        self.constants = constants

    def call(self, operation: Operation) -> Call:
        match operation.step:
            case ReadImage() as step:
                return self._read_image(step)
            case Convolution() as step:
                return self._convolution(step, operation)
            case MaxPool() as step:
                return self._call("max_pool", step, (*self._dimensions(step.source), step.size))
            case AveragePool() as step:
                dimensions = self._dimensions(step.source)
                return self._call("average_pool", step, (*dimensions, step.size, *_wide_rescaling(step)))
            case Mean() as step:
                channels, height, width = self.shapes[step.source]
                return self._call("mean", step, (height * width, channels, *_wide_rescaling(step)))
            case Add() as step:
                return self._add(step, operation)
            case Scale() as step:
                channels, height, width = self.shapes[step.target]
                factors = step.zero_in, step.multiplier, step.offset, step.shift
                return self._call("scale_channels", step, (height * width, channels, *factors))
            case Classify() as step:
                return self._classify(step)

    def _call(
        self,
        function: str,
        step: MaxPool | AveragePool | Mean | Add | Scale,
        arguments: tuple[object, ...],
        constants: tuple[Constant, ...] = (),
    ) -> Call:
        """Return the call of a function that reads one map and writes another."""
        remark = f"{shape_text(self.shapes[step.source])} to {shape_text(self.shapes[step.target])}"
        maps = self._address(step.source), self._address(step.target)
        return Call(function, (*maps, *arguments), remark, constants)

    def _read_image(self, step: ReadImage) -> Call:
        channels, height, width = self.shapes[step.target]
        constants = (
            self._constant("multiplier", FACTORS, step.multiplier),
            self._constant("offset", FACTORS, step.offset),
        )
        names = (constant.name for constant in constants)
        arguments = ("image", self._address(step.target), height * width, channels, *names, step.shift)
        return Call("read_image", arguments, "image", constants)

    def _add(self, step: Add, operation: Operation) -> Call:
        factors = (step.main_multiplier, step.shortcut_multiplier, step.offset, step.shift)
        tables = () if operation.activation is None else (self._activation(operation.activation),)
        name = tables[0].name if tables else 0
        return self._call("add", step, (map_bytes(self.shapes[step.target]), *factors, name), tables)

    def _convolution(self, step: Convolution, operation: Operation) -> Call:
        assert operation.target is not None
        n_filters, _, side, _ = step.weight.shape
        height, width, channels = self._dimensions(step.source)
        bias = bias_of_levels(step)
        if step.depthwise:
            function, weight = "convolve_depthwise", step.weight.transpose(2, 3, 0, 1)
        elif step.groups > 1:
            function, weight = "convolve_groups", step.weight[:, :, 0, 0]
        else:
            function, weight, bias = "convolve", packed_weight(step.weight), even(bias)
        constants = {
            "weight": self._constant("weight", WEIGHTS, weight),
            "bias": self._constant("bias", BIASES, bias),
            "multiplier": self._constant("multiplier", FACTORS, step.multiplier),
        }
        if operation.activation is not None:
            constants["activation"] = self._activation(operation.activation)
        constants |= self._norm(operation.norm)
        members = {
            "height": height,
            "width": width,
            "channels": channels,
            "filters": n_filters,
            "out_width": self.shapes[step.target][2],
            "pool": operation.pool,
            "side": side,
            "padding": step.padding,
            "stride": step.stride,
            "zero_in": step.zero_in,
            "zero_out": step.zero_out,
            "shift": step.shift,
            "norm_shift": operation.norm.shift if operation.norm else 0,
        }
        pointers = ("weight", "bias", "multiplier", "activation", "norm_multiplier", "norm_offset")
        names = {name: constants[name].name if name in constants else 0 for name in pointers}
        padding = self.arena.paddings.get(self.number)
        arguments = (
            f"&{self.prefix}",
            self._address(step.source),
            self._address(operation.target),
            *((0 if padding is None else f"arena + {padding}",) if step.depthwise else ()),
            *((step.groups,) if function == "convolve_groups" else ()),
        )
        remark = f"{shape_text(self.shapes[step.source])} to {shape_text(self.shapes[operation.target])}"
        return Call(function, arguments, remark, (*constants.values(), Record(self.prefix, members | names)))

    def _activation(self, table: Int8Array) -> Constant:
        return self._constant("activation", TABLES, table)

    def _norm(self, norm: Affine | None) -> dict[str, Constant]:
        if norm is None:
            return {}
        return {
            "norm_multiplier": self._constant("norm_multiplier", FACTORS, norm.multiplier),
            "norm_offset": self._constant("norm_offset", FACTORS, norm.offset),
        }

    def _classify(self, step: Classify) -> Call:
        channels, height, width = self.shapes[step.source]
        n_classes = len(step.bias)
        weight: NDArray[np.int8]
        sizes: tuple[int, ...]
        if not step.pooled:
            function, sizes, n_summed = "classify", (map_bytes(self.shapes[step.source]),), 1
            weight = step.weight.transpose(0, 2, 3, 1)  # as the map is stored
        else:
            function, sizes, n_summed = "classify_means", (height * width, channels), height * width
            weight = step.weight[:, :, 0, 0].T  # channel by channel
            if channels >= n_classes and not (weight * ~np.eye(channels, n_classes, dtype=bool)).any():
                function, weight = "classify_channels", weight.diagonal()
        constants = (
            self._constant("weight", WEIGHTS, weight),
            self._constant("bias", BIASES, bias_of_levels(step, n_summed)),
            self._constant("multiplier", FACTORS, step.multiplier),
        )
        names = (constant.name for constant in constants)
        arguments = (self._address(step.source), "logits", *sizes, n_classes, *names, step.shift)
        return Call(function, arguments, f"{shape_text(self.shapes[step.source])} to logits", constants)

    def _constant(self, name: str, kind: str, values: Int8Array | Int32Array) -> Constant:
        """Return a constant, an earlier one if that has the same content."""
        return self.constants.setdefault((kind, values.tobytes()), Constant(f"{self.prefix}_{name}", kind, values))

    def _address(self, number: int) -> str:
        return f"arena + {self.arena.maps[number]}"

    def _dimensions(self, number: int) -> tuple[int, int, int]:
        channels, height, width = self.shapes[number]
        return height, width, channels
