"""Write the steps of an integer network as calls of the C functions in c_layers, with the tables that they read."""

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
    """A table of constants: its name in C, its kind, its integers; each row of the first axis on lines of its own."""

    name: str
    kind: str
    values: NDArray[np.int8] | NDArray[np.int32]

    @property
    def text(self) -> str:
        """Its definition."""
        rows = self.values.reshape(len(self.values), -1) if self.values.ndim > 1 else self.values[None]
        lines = [line for row in rows for line in wrapped(row.tolist(), indent=4)]
        ctype = "int8_t" if self.values.dtype == np.int8 else "int32_t"
        return "\n".join([f"static const {ctype} {self.name}[{self.values.size}] = {{", *lines, "};"])


class Call(NamedTuple):
    """A step in C: function, arguments, a remark, and the constants it needs."""

    function: str
    arguments: tuple[object, ...]
    remark: str
    constants: tuple[Constant, ...] = ()


def calls_of(network: Int8Network, arena: Arena) -> Iterator[Call]:
    """One call a step, in order."""
    for number, step in enumerate([*network.steps, network.last], start=1):
        yield _Writer(network, arena, f"step{number}").call(step)


def by_x(shape: Sequence[int]) -> str:
    """8x26x26."""
    return "x".join(map(str, shape))


def wrapped(items: Iterable[object], indent: int) -> list[str]:
    """Items separated by commas, on as many lines as they need."""
    margin = " " * indent
    text = ", ".join(map(str, items)) + ","
    return textwrap.wrap(text, LINE_LENGTH, initial_indent=margin, subsequent_indent=margin)


class _Writer:
    """Turns a step into a call; its tables are named after `prefix`."""

    def __init__(self, network: Int8Network, arena: Arena, prefix: str) -> None:
        self.shapes = network.maps
        self.arena = arena
        self.prefix = prefix

    def call(self, step: Step | Classify) -> Call:
        match step:
            case ReadImage():
                return self._per_channel("read_image", ("image", self._at(step.target)), step)
            case Affine():
                return self._per_channel("affine", (self._at(step.target),), step)
            case Convolution():
                return self._convolution(step)
            case Classify():
                return self._classify(step)
            case Table():
                constant = Constant(f"{self.prefix}_table", TABLES, step.values)
                n_values = map_bytes(self.shapes[step.target])
                return Call("look_up", (self._at(step.target), n_values, constant.name), "activation", (constant,))
            case MaxPool():
                return self._call("max_pool", step, (*self._sides(step.source), step.size))
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
        remark = f"{by_x(self.shapes[step.source])} to {by_x(self.shapes[step.target])}"
        return Call(function, (self._at(step.source), self._at(step.target), *arguments), remark, constants)

    def _per_channel(self, function: str, maps: tuple[str, ...], step: ReadImage | Affine) -> Call:
        channels, height, width = self.shapes[step.target]
        constants = (
            Constant(f"{self.prefix}_multiplier", FACTORS, step.multiplier),
            Constant(f"{self.prefix}_offset", FACTORS, step.offset),
        )
        names = (constant.name for constant in constants)
        remark = "image" if function == "read_image" else "batch norm after the activation"
        return Call(function, (*maps, height * width, channels, *names, step.shift), remark, constants)

    def _convolution(self, step: Convolution) -> Call:
        n_filters, _, side, _ = step.weight.shape
        # Stored as they are read: a filter's taps by row, column and channel; depthwise, all channels of a tap.
        order = (2, 3, 0, 1) if step.depthwise else (0, 2, 3, 1)
        constants = self._weighted(step, order)
        arguments = (
            *self._sides(step.source),
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
        constants = self._weighted(step, (0, 2, 3, 1))
        sizes = (height * width, channels) if step.pooled else (map_bytes(self.shapes[step.source]),)
        arguments = (
            self._at(step.source),
            "logits",
            *sizes,
            len(step.bias),
            *(constant.name for constant in constants),
            step.shift,
            step.zero_in,
        )
        remark = f"{by_x(self.shapes[step.source])} to logits"
        return Call("classify_means" if step.pooled else "classify", arguments, remark, constants)

    def _weighted(self, step: Convolution | Classify, order: tuple[int, ...]) -> tuple[Constant, ...]:
        return (
            Constant(f"{self.prefix}_weight", WEIGHTS, step.weight.transpose(order)),
            Constant(f"{self.prefix}_bias", BIASES, step.bias),
            Constant(f"{self.prefix}_multiplier", FACTORS, step.multiplier),
        )

    def _at(self, number: int) -> str:
        return f"arena + {self.arena.offsets[number]}"

    def _sides(self, number: int) -> tuple[int, int, int]:
        channels, height, width = self.shapes[number]
        return height, width, channels


class Arena(NamedTuple):
    """Bytes in all, and of each map the place of its first byte."""

    n_bytes: int
    offsets: tuple[int, ...]


def lifetimes(network: Int8Network) -> list[range]:
    """The steps during which each map must exist: from the one that makes it to the last that reads it."""
    spans: dict[int, range] = {}
    for i, step in enumerate([*network.steps, network.last]):
        for number in _maps_of(step):
            spans[number] = range(spans[number].start if number in spans else i, i + 1)
    return [spans[number] for number in range(len(network.maps))]


def plan_arena(network: Int8Network) -> Arena:
    """The smallest arena: as many bytes as the maps that exist at once.

    Each map goes to the low end, the high end or next to a map that is there, whichever is free first. In a plain chain
    the maps then take the two ends in turn. In a residual block the input keeps its end, the two convolutions take the
    other end and the middle, and the sum, in the place of the shortcut, lies at an end again; so nothing is ever cut
    into pieces.
    """
    sizes = [map_bytes(shape) for shape in network.maps]
    spans = lifetimes(network)
    n_steps = len(network.steps) + 1
    n_bytes = max(sum(size for size, span in zip(sizes, spans, strict=True) if i in span) for i in range(n_steps))
    offsets: list[int] = []
    for size, span in zip(sizes, spans, strict=True):
        taken = [
            range(offset, offset + other)
            for offset, other, its in zip(offsets, sizes, spans, strict=False)
            if its.stop > span.start
        ]
        places = [0, n_bytes - size, *(place.stop for place in taken), *(place.start - size for place in taken)]
        free = [place for place in places if 0 <= place <= n_bytes - size and _is_free(place, size, taken)]
        offsets.append(free[0])
    return Arena(n_bytes, tuple(offsets))


def _maps_of(step: Step | Classify) -> tuple[int, ...]:
    match step:
        case ReadImage() | Table() | Affine():
            return (step.target,)
        case Classify():
            return (step.source,)
        case _:
            return (step.source, step.target)


def _is_free(place: int, size: int, taken: list[range]) -> bool:
    return all(place + size <= other.start or place >= other.stop for other in taken)
