"""Describe a network as a program: values, and the operations that compute one value from another.

Batch norm, activation, dropout and pool are no operations. They are pending on the value before them, and the
operation that reads the value applies them (native/reading.hpp). The statistics of a batch norm are computed by the
convolution before it. A depthwise convolution and the 1x1 convolution after it are one operation, and a linear layer
is a convolution whose kernel covers the map.

A description refers to the modules of the network and holds no memory; `Program` of native/program.py runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.layers import FirstChannels, Residual, SqueezeExcite
from search.engine.native.fusion import (
    ACTIVATIONS,
    has_kernel,
    kernel_of,
    slope_of,
    take_norm,
    take_pointwise,
    take_shuffle,
)
from search.engine.native.structures import CONVOLVE, GATE, READ, SCALE, SUM, Kernel


class NoKernelError(Exception):
    """Error raised for a network with a module that has no kernel; the message names the module."""


@dataclass(frozen=True)
class Maps:
    """Shape of a value for one image, and the batch norm that is pending on it."""

    channels: int
    height: int
    width: int
    norm: nn.BatchNorm2d | None = None

    @property
    def size(self) -> int:
        """Return the number of values of one image."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Read:
    """Reading of a value with the operations that are pending after its batch norm, in this order."""

    value: int
    activation: int = 0
    slope: float = 0.0
    drop: float = 0.0
    dropout: int = -1  # number of the dropout module in the network
    pool: int = 1
    mean_pool: bool = False

    @property
    def changes(self) -> bool:
        """Return whether any of these operations is pending."""
        return self.activation > 0 or self.drop > 0 or self.pool > 1


@dataclass(frozen=True)
class Operation:
    """Computation of the value `output`.

    kind                CONVOLVE, READ, SUM, SCALE or GATE of native/operation.hpp
    average             whether a READ returns only the mean of every map
    is_shuffled         whether a convolution writes its results as ChannelShuffle orders them
    activation, slope   those between a convolution and its batch norm, if there is an activation
    """

    kind: int
    inputs: tuple[Read, ...]
    output: int
    average: bool = False
    depthwise: nn.Conv2d | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    kernel: Kernel | None = None
    groups: int = 1
    is_shuffled: bool = False
    activation: int = 0
    slope: float = 0.0
    norm: nn.BatchNorm2d | None = None


@dataclass(frozen=True)
class Description:
    """Program of a network. Value 0 is the input, and the output of the last operation is that of the network."""

    values: tuple[Maps, ...]
    operations: tuple[Operation, ...]
    n_dropouts: int
    is_flat: bool


def describe(model: nn.Module, input_shape: tuple[int, int, int]) -> Description:
    """Return the program of `model` for images of a shape (C, H, W). Raises NoKernelError."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        is_usable = tensor.device.type == "cpu" and tensor.is_contiguous()
        if not is_usable or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            raise NoKernelError(f"{name} is not contiguous float32 on the CPU")
    reader = _Reader(Maps(*input_shape))
    result = reader.run(_flatten(model), Read(0))
    if result.changes or reader.values[result.value].norm or not reader.operations:
        reader.materialise(result)
    return Description(tuple(reader.values), tuple(reader.operations), reader.n_dropouts, reader.is_flat)


def _flatten(module: nn.Module) -> list[nn.Module]:
    """Return the modules that run one after another, with each Sequential opened."""
    if type(module) is nn.Sequential:
        return [inner for child in module for inner in _flatten(child)]
    return [] if type(module) is nn.Identity else [module]


class _Reader:
    """Reads modules one after another and collects values and operations."""

    def __init__(self, image: Maps) -> None:
        self.values = [image]
        self.operations: list[Operation] = []
        self.n_dropouts = 0
        self.is_flat = False

    def run(self, modules: Sequence[nn.Module], x: Read) -> Read:
        """Apply modules to a reading and return the reading of the result. Raises NoKernelError."""
        rest = list(modules)
        while rest:
            module = rest.pop(0)
            kind = type(module)
            if isinstance(module, nn.Conv2d) and has_kernel(module) and not self.is_flat:
                depthwise, conv = take_pointwise(module, rest)
                x = self._convolve(x, depthwise, conv, take_shuffle(conv, rest), *take_norm(rest))
            elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d) and not self.is_flat:
                x = self._pool(x, module)
            elif isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
                channels = self.values[x.value].channels
                x = self._append(Maps(channels, 1, 1), READ, x, average=True)
            elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
                self.is_flat = True
            elif type(module) is nn.Linear and self.is_flat:
                x = self._connect(x, module)
            elif type(module) is nn.Dropout:
                x = self._drop(x, module)
            elif isinstance(module, Residual):
                x = self._add(x, module)
            elif isinstance(module, SqueezeExcite) and not self.is_flat:
                x = self._gate(x, module)
            elif isinstance(module, FirstChannels) and self.is_flat and self.shape(x)[1:] == (1, 1):
                x = self.materialise(x) if x.changes or self.values[x.value].norm else x
                x = self._append(Maps(module.n_channels, 1, 1), SCALE, x, weight=module.weight)
            elif kind in ACTIVATIONS and getattr(module, "approximate", "none") == "none":
                is_next = not (x.activation or x.drop or x.pool > 1)
                x = replace(x if is_next else self.materialise(x), activation=ACTIVATIONS[kind], slope=slope_of(module))
            else:
                raise NoKernelError(f"{module} has no kernel")
        return x

    def shape(self, x: Read) -> tuple[int, int, int]:
        """Return the shape of a reading for one image, (C, H, W)."""
        maps = self.values[x.value]
        return maps.channels, maps.height // x.pool, maps.width // x.pool

    def materialise(self, x: Read) -> Read:
        """Append an operation that applies the pending operations of a reading."""
        return self._append(Maps(*self.shape(x)), READ, x)

    def _append(self, output: Maps, kind: int, *inputs: Read, **fields: object) -> Read:
        self.values.append(output)
        number = len(self.values) - 1
        self.operations.append(Operation(kind, inputs, number, **fields))  # type: ignore[arg-type]
        return Read(number)

    def _convolve(
        self,
        x: Read,
        depthwise: nn.Conv2d | None,
        conv: nn.Conv2d,
        is_shuffled: bool,
        activation: nn.Module | None,
        norm: nn.BatchNorm2d | None,
    ) -> Read:
        first = kernel_of(depthwise or conv)
        channels, height, width = self.shape(x)
        rooms = (height + 2 * first.padding - first.height, width + 2 * first.padding - first.width)
        if channels != (depthwise or conv).in_channels or min(rooms) < 0:
            raise NoKernelError(f"{conv} does not fit its input")
        sides = (rooms[0] // first.stride + 1, rooms[1] // first.stride + 1)
        return self._append(
            Maps(conv.out_channels, *sides, norm),
            CONVOLVE,
            x,
            depthwise=depthwise,
            weight=conv.weight,
            bias=conv.bias,
            kernel=kernel_of(conv),
            groups=conv.groups,
            is_shuffled=is_shuffled,
            activation=ACTIVATIONS[type(activation)] if activation else 0,
            slope=slope_of(activation),
            norm=norm,
        )

    def _connect(self, x: Read, linear: nn.Linear) -> Read:
        channels, height, width = self.shape(x)
        if linear.in_features != channels * height * width:
            raise NoKernelError(f"{linear} does not fit its input")
        kernel = Kernel(height, width, 0, 1)
        maps = Maps(linear.out_features, 1, 1)
        return self._append(maps, CONVOLVE, x, weight=linear.weight, bias=linear.bias, kernel=kernel)

    def _pool(self, x: Read, module: nn.MaxPool2d | nn.AvgPool2d) -> Read:
        side = module.kernel_size
        if not isinstance(side, int) or (module.stride, module.padding, module.ceil_mode) != (side, 0, False):
            raise NoKernelError(f"{module} has no kernel")
        is_mean = isinstance(module, nn.AvgPool2d)
        if module.divisor_override if is_mean else (module.dilation != 1 or module.return_indices):
            raise NoKernelError(f"{module} has no kernel")
        return replace(self.materialise(x) if x.pool > 1 else x, pool=side, mean_pool=is_mean)

    def _drop(self, x: Read, module: nn.Dropout) -> Read:
        if not module.p:
            return x
        self.n_dropouts += 1
        x = self.materialise(x) if x.drop or x.pool > 1 else x
        return replace(x, drop=module.p, dropout=self.n_dropouts - 1)

    def _add(self, x: Read, module: Residual) -> Read:
        main, shortcut = _flatten(module.main), _flatten(module.shortcut)
        if not shortcut and (x.changes or self.values[x.value].norm):
            x = self.materialise(x)
        branches = self.run(main, x), self.run(shortcut, x)
        if self.shape(branches[0]) != self.shape(branches[1]):
            raise NoKernelError("a residual block adds maps of different shapes")
        return self._append(Maps(*self.shape(branches[0])), SUM, *branches)

    def _gate(self, x: Read, module: SqueezeExcite) -> Read:
        gates = self.run([module.squeeze, module.reduce, module.activation, module.expand, module.gate], x)
        return self._append(Maps(*self.shape(x)), GATE, x, gates)
