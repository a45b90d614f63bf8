"""Convert the steps of an integer network to calls of the C functions in c_layers, with their constants and memory."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

LINE_LENGTH = 120
WEIGHTS, BIASES, FACTORS, TABLES = "weights", "biases", "multipliers and offsets", "activation tables"


class Constant(NamedTuple):
    """Table of constants in C.

    name    name of the array
    kind    WEIGHTS, BIASES, FACTORS or TABLES
    values  integers of the array; each row of the first axis starts a new line
    """

    name: str
    kind: str
    values: NDArray[np.int8] | NDArray[np.int32]

    @property
    def text(self) -> str:
        """Return the definition of the array."""
        rows = self.values.reshape(len(self.values), -1) if self.values.ndim > 1 else self.values[None]
        lines = [line for row in rows for line in wrapped_lines(row.tolist(), indent=4)]
        ctype = "int8_t" if self.values.dtype == np.int8 else "int32_t"
        return "\n".join([f"static const {ctype} {self.name}[{self.values.size}] = {{", *lines, "};"])


class Call(NamedTuple):
    """Call of a C function that computes one step, with the comment above it and the constants that it needs."""

    function: str
    arguments: tuple[object, ...]
    remark: str
    constants: tuple[Constant, ...] = ()


def calls_of(network: Int8Network, arena: Arena) -> Iterator[Call]:
    """Yield the call of each step, in the order of the steps. Equal constants are one, with the name of the first."""
    constants: dict[tuple[str, bytes], Constant] = {}
    for number, step in enumerate([*network.steps, network.last], start=1):
        yield _CallWriter(network, arena, f"step{number}", constants).call(step)


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as text, such as "8x26x26"."""
    return "x".join(map(str, shape))


def wrapped_lines(items: Iterable[object], indent: int) -> list[str]:
    """Return items separated by commas, in lines of at most LINE_LENGTH characters."""
    margin = " " * indent
    text = ", ".join(map(str, items)) + ","
    return textwrap.wrap(text, LINE_LENGTH, initial_indent=margin, subsequent_indent=margin)


class _CallWriter:
    """Writer of the call for one step; the names of new constants start with `prefix`.

    constants: the constants so far, by kind and content
    """

    def __init__(
        self, network: Int8Network, arena: Arena, prefix: str, constants: dict[tuple[str, bytes], Constant]
    ) -> None:
        self.shapes = network.maps
        self.arena = arena
        self.prefix = prefix
        self.constants = constants

    def call(self, step: Step | Classify) -> Call:
        match step:
            case ReadImage():
                return self._per_channel("read_image", ("image", self._address(step.target)), step)
            case Affine():
                return self._per_channel("affine", (self._address(step.target),), step)
            case Convolution():
                return self._convolution(step)
            case Classify():
                return self._classify(step)
            case Table():
                constant = self._constant("table", TABLES, step.values)
                n_values = map_bytes(self.shapes[step.target])
                return Call("look_up", (self._address(step.target), n_values, constant.name), "activation", (constant,))
            case MaxPool():
                return self._call("max_pool", step, (*self._dimensions(step.source), step.size))
            case Mean():
                channels, height, width = self.shapes[step.source]
                offset = f"INT64_C({step.offset})"
                return self._call("mean", step, (height * width, channels, step.multiplier, offset, step.shift))
            case Add():
                factors = (step.main_multiplier, step.shortcut_multiplier, step.offset, step.shift)
                return self._call("add", step, (map_bytes(self.shapes[step.target]), *factors))

    def _call(
        self,
        function: str,
        step: Convolution | MaxPool | Mean | Add,
        arguments: tuple[object, ...],
        constants: tuple[Constant, ...] = (),
    ) -> Call:
        """Return the call of a function that reads one map and writes another."""
        remark = f"{shape_text(self.shapes[step.source])} to {shape_text(self.shapes[step.target])}"
        return Call(function, (self._address(step.source), self._address(step.target), *arguments), remark, constants)

    def _per_channel(self, function: str, maps: tuple[str, ...], step: ReadImage | Affine) -> Call:
        channels, height, width = self.shapes[step.target]
        constants = (
            self._constant("multiplier", FACTORS, step.multiplier),
            self._constant("offset", FACTORS, step.offset),
        )
        names = (constant.name for constant in constants)
        remark = "image" if function == "read_image" else "batch norm after the activation"
        return Call(function, (*maps, height * width, channels, *names, step.shift), remark, constants)

    def _convolution(self, step: Convolution) -> Call:
        n_filters, _, side, _ = step.weight.shape
        # In the order in which C reads them: filter, row, column, channel; depthwise: row, column, channel.
        order = (2, 3, 0, 1) if step.depthwise else (0, 2, 3, 1)
        constants = self._weight_constants(step, order)
        arguments = (
            *self._dimensions(step.source),
            *(() if step.depthwise else (n_filters,)),
            side,
            step.padding,
            *(constant.name for constant in constants),
            step.shift,
            step.zero_in,
            step.zero_out,
        )
        return self._call("convolve_depthwise" if step.depthwise else "convolve", step, arguments, constants)

    def _classify(self, step: Classify) -> Call:
        channels, height, width = self.shapes[step.source]
        constants = self._weight_constants(step, (0, 2, 3, 1))
        sizes = (height * width, channels) if step.pooled else (map_bytes(self.shapes[step.source]),)
        arguments = (
            self._address(step.source),
            "logits",
            *sizes,
            len(step.bias),
            *(constant.name for constant in constants),
            step.shift,
            step.zero_in,
        )
        remark = f"{shape_text(self.shapes[step.source])} to logits"
        return Call("classify_means" if step.pooled else "classify", arguments, remark, constants)

    def _weight_constants(self, step: Convolution | Classify, order: tuple[int, ...]) -> tuple[Constant, ...]:
        return (
            self._constant("weight", WEIGHTS, step.weight.transpose(order)),
            self._constant("bias", BIASES, step.bias),
            self._constant("multiplier", FACTORS, step.multiplier),
        )

    def _constant(self, name: str, kind: str, values: NDArray[np.int8] | NDArray[np.int32]) -> Constant:
        """Return a constant, an earlier one if that has the same content."""
        return self.constants.setdefault((kind, values.tobytes()), Constant(f"{self.prefix}_{name}", kind, values))

    def _address(self, number: int) -> str:
        return f"arena + {self.arena.offsets[number]}"

    def _dimensions(self, number: int) -> tuple[int, int, int]:
        channels, height, width = self.shapes[number]
        return height, width, channels


class Arena(NamedTuple):
    """Memory of all maps: its size in bytes and the offset of each map in it."""

    n_bytes: int
    offsets: tuple[int, ...]


def lifetimes(network: Int8Network) -> list[range]:
    """Return the steps during which each map must exist: from the one that writes it to the last that reads it."""
    spans: dict[int, range] = {}
    for i, step in enumerate([*network.steps, network.last]):
        for number in _accessed_maps(step):
            spans[number] = range(spans[number].start if number in spans else i, i + 1)
    return [spans[number] for number in range(len(network.maps))]


def plan_arena(network: Int8Network) -> Arena:
    """Return the smallest arena, which has the size of the maps that exist at the same time.

    Each map takes the first free offset of these: the low end, the high end, directly after an existing map, directly
    before one. In a plain chain the maps thus alternate between the two ends. In a residual block the input keeps its
    end, the two convolutions take the other end and the middle, and the sum, which overwrites the shortcut, is at an
    end again. The free memory is therefore never fragmented.
    """
    sizes = [map_bytes(shape) for shape in network.maps]
    spans = lifetimes(network)
    n_steps = len(network.steps) + 1
    n_bytes = max(sum(size for size, span in zip(sizes, spans, strict=True) if i in span) for i in range(n_steps))
    offsets: list[int] = []
    for size, span in zip(sizes, spans, strict=True):
        occupied = [
            range(offset, offset + placed_size)
            for offset, placed_size, placed_span in zip(offsets, sizes, spans, strict=False)
            if placed_span.stop > span.start
        ]
        candidates = [0, n_bytes - size, *(used.stop for used in occupied), *(used.start - size for used in occupied)]
        free = [offset for offset in candidates if 0 <= offset <= n_bytes - size and _is_free(offset, size, occupied)]
        offsets.append(free[0])
    return Arena(n_bytes, tuple(offsets))


def _accessed_maps(step: Step | Classify) -> tuple[int, ...]:
    match step:
        case ReadImage() | Table() | Affine():
            return (step.target,)
        case Classify():
            return (step.source,)
        case _:
            return (step.source, step.target)


def _is_free(offset: int, size: int, occupied: list[range]) -> bool:
    return all(offset + size <= used.start or offset >= used.stop for used in occupied)
