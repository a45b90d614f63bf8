"""Convert the operations of an integer network to calls of C functions, with their constants and memory."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from search.export.int8.arena import Arena
from search.export.int8.fusion import Operation, operations_of
from search.export.int8.network import (
    INT32_MAX,
    Add,
    Affine,
    Classify,
    Convolution,
    Int8Array,
    Int8Network,
    Int32Array,
    MaxPool,
    Mean,
    QuantisationError,
    ReadImage,
    map_bytes,
)

Array = TypeVar("Array", Int8Array, Int32Array)

LINE_LENGTH = 120
WEIGHTS, BIASES, FACTORS, TABLES = "weights", "biases", "multipliers and offsets", "activation tables"
RECORDS = "descriptions of convolutions"
# Size of the struct `convolution` where pointers have 4 bytes.
RECORD_BYTES = 44


class Constant(NamedTuple):
    """Table of constants in C.

    name    name of the array
    kind    WEIGHTS, BIASES, FACTORS or TABLES
    values  integers of the array; each row of the first axis starts a new line
    """

    name: str
    kind: str
    values: Int8Array | Int32Array

    @property
    def n_bytes(self) -> int:
        """Return the size of the array."""
        return self.values.nbytes

    @property
    def text(self) -> str:
        """Return the definition of the array."""
        rows = self.values.reshape(len(self.values), -1) if self.values.ndim > 1 else self.values[None]
        lines = [line for row in rows for line in wrapped_lines(row.tolist(), indent=4)]
        ctype = "int8_t" if self.values.dtype == np.int8 else "int32_t"
        return "\n".join([f"static const MODEL_FLASH {ctype} {self.name}[{self.values.size}] = {{", *lines, "};"])


class Record(NamedTuple):
    """Struct in C that describes a convolution: its name, and its members with their values."""

    name: str
    members: Mapping[str, object]
    kind: str = RECORDS

    @property
    def n_bytes(self) -> int:
        """Return the size of the struct on a processor with addresses of 32 bits."""
        return RECORD_BYTES

    @property
    def text(self) -> str:
        """Return the definition of the struct."""
        members = wrapped_lines((f".{member} = {value}" for member, value in self.members.items()), indent=4)
        return "\n".join([f"static const MODEL_FLASH convolution {self.name} = {{", *members, "};"])


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


def wrapped_lines(items: Iterable[object], indent: int) -> list[str]:
    """Return items separated by commas, in lines of at most LINE_LENGTH characters."""
    margin = " " * indent
    text = ", ".join(map(str, items)) + ","
    return textwrap.wrap(text, LINE_LENGTH, initial_indent=margin, subsequent_indent=margin)


def even(values: Array) -> Array:
    """Return values (O, ...) with zeros for one more filter if their number is odd, because C takes two at a time."""
    return np.pad(values, [(0, len(values) % 2), *((0, 0) for _ in values.shape[1:])])


def packed_weight(weight: Int8Array) -> Int8Array:
    """Return the weights (O, C, k, k) of a convolution in the order in which C reads them, in one row.

    The inputs of a filter are numbered by row, column and channel of the kernel. Four inputs form a group, in which
    the weights of a filter stand together, in the order 0, 2, 1, 3 of the inputs: SXTB16 widens bytes 0 and 2, which
    are then those of neighbouring inputs. The remaining inputs, up to three, form groups of one.
    """
    weight = even(weight)
    n_filters = len(weight)
    by_input = weight.transpose(2, 3, 1, 0).reshape(-1, n_filters)
    n_in_fours = len(by_input) // 4 * 4
    fours = by_input[:n_in_fours].reshape(-1, 4, n_filters)[:, [0, 2, 1, 3]].swapaxes(1, 2)
    return np.concatenate([fours.ravel(), by_input[n_in_fours:].ravel()])


def bias_of_levels(step: Convolution | Classify, n_summed: int = 1) -> Int32Array:
    """Return the bias for sums of q * weight instead of (q - zero_in) * weight.

    n_summed: number of values in each input of the sum. Raises QuantisationError if a sum may exceed 32 bits.
    """
    weight = step.weight.reshape(len(step.bias), -1).astype(np.int64)
    bias = step.bias.astype(np.int64) - n_summed * step.zero_in * weight.sum(1)
    largest = int((np.abs(bias) + 128 * n_summed * np.abs(weight).sum(1)).max())
    if largest > INT32_MAX:
        raise QuantisationError(f"a sum of {n_summed * weight.shape[1]:,} products may pass 32 bits")
    result: Int32Array = bias.astype(np.int32)
    return result


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
            case Mean() as step:
                channels, height, width = self.shapes[step.source]
                offset = f"INT64_C({step.offset})"
                return self._call("mean", step, (height * width, channels, step.multiplier, offset, step.shift))
            case Add() as step:
                return self._add(step, operation)
            case Classify() as step:
                return self._classify(step)

    def _call(
        self,
        function: str,
        step: MaxPool | Mean | Add,
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
        weight = step.weight.transpose(2, 3, 0, 1) if step.depthwise else packed_weight(step.weight)
        bias = bias_of_levels(step)
        constants = {
            "weight": self._constant("weight", WEIGHTS, weight),
            "bias": self._constant("bias", BIASES, bias if step.depthwise else even(bias)),
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
            "side": side,
            "padding": step.padding,
            "pool": operation.pool,
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
        )
        remark = f"{shape_text(self.shapes[step.source])} to {shape_text(self.shapes[operation.target])}"
        function = "convolve_depthwise" if step.depthwise else "convolve"
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
