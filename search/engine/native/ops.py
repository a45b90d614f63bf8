"""Differentiable operators that run the kernels on activations in blocks of images.

The layout is (blocks, channels, height, width, images of a block); native/vectors.hpp explains it. All tensors are
contiguous float32 on the CPU.

Batch norm, activation, dropout and pooling do not run at their positions in a network. A layer returns its plain result
and the statistics of it, and `Blocks` records the pending operations, which the next layer applies as it reads.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from search.engine.native.kernels import Layer, Reading

# enum BatchNorm of native/layer.hpp.
NO_NORM, BATCH_NORM, RUNNING_NORM = 0, 1, 2


class Norm(NamedTuple):
    """Batch norm that is pending, with mean and 1 / standard deviation, (2, C), and its weights, (C,)."""

    statistics: Tensor
    gamma: Tensor
    beta: Tensor


class Pending(NamedTuple):
    """Operations that are still to be applied to values, in this order; by default none."""

    norm: Norm | None = None
    activation: int = 0  # enum Activation of native/activations.hpp
    slope: float = 0.0
    drop: float = 0.0
    seed: int = 0
    pool: int = 1

    def drops(self) -> bool:
        """Return whether dropout is pending."""
        return self.drop > 0

    def pools(self) -> bool:
        """Return whether pooling is pending."""
        return self.pool > 1

    def changes(self) -> bool:
        """Return whether any operation is pending."""
        return self.norm is not None or self.activation > 0 or self.drops() or self.pools()


class Blocks(NamedTuple):
    """Activations of `images` images, stored as (blocks, C, H, W, lanes); the last block may have idle lanes."""

    values: Tensor
    images: int
    pending: Pending = Pending()

    def with_values(self, values: Tensor) -> Blocks:
        """Return other activations of the same images, without pending operations."""
        return Blocks(values, self.images)

    def then(self, **changes: Any) -> Blocks:
        """Return the same activations with more pending operations, given as fields of Pending."""
        return self._replace(pending=self.pending._replace(**changes))


def to_blocks(x: Tensor, lanes: int) -> Blocks:
    """Convert (N, C, H, W) to blocks, with zeros in idle lanes."""
    n, channels, height, width = x.shape
    idle = -n % lanes
    if idle:
        x = torch.cat((x, x.new_zeros(idle, channels, height, width)))
    return Blocks(x.reshape(-1, lanes, channels, height, width).permute(0, 2, 3, 4, 1).contiguous(), n)


def from_blocks(x: Blocks, library: ctypes.CDLL) -> Tensor:
    """Convert blocks to (N, C, H, W), with all pending operations applied."""
    return apply_pending(x, library).values.permute(0, 4, 1, 2, 3).flatten(0, 1)[: x.images]


def apply_pending(x: Blocks, library: ctypes.CDLL) -> Blocks:
    """Return the activations with all pending operations applied."""
    if not x.pending.changes():
        return x
    return x.with_values(_Read.apply(x.values, *_norm(x.pending), _reading(x), library))


def average_maps(x: Blocks, library: ctypes.CDLL) -> Blocks:
    """Return the mean of every map, with all pending operations applied."""
    reading = _reading(x)
    reading.average = True
    return x.with_values(_Read.apply(x.values, *_norm(x.pending), reading, library))


def convolve(
    x: Blocks, layer: Layer, depthwise: nn.Conv2d | None, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, library: Any
) -> tuple[Tensor, Tensor | None]:
    """Convolve `x` as `layer` describes; return the output and its statistics, which are None without a norm.

    In training this updates the running statistics of `norm`.
    """
    layer.input = _reading(x)
    running = (None, None) if norm is None else (norm.running_mean, norm.running_var)
    weights = (None if depthwise is None else depthwise.weight, conv.weight, conv.bias)
    out: tuple[Tensor, Tensor | None] = _Convolution.apply(
        x.values, *_norm(x.pending), *weights, *running, layer, library
    )
    return out


def _norm(pending: Pending) -> Norm | tuple[None, None, None]:
    return (None, None, None) if pending.norm is None else pending.norm


def _reading(x: Blocks) -> Reading:
    pending = x.pending
    shape = x.values.shape[1:4]
    return Reading(
        x.images,
        *shape,
        pending.norm is not None,
        pending.activation,
        pending.pool,
        False,
        pending.slope,
        pending.drop,
        pending.seed,
    )


def _addresses(*tensors: Tensor | None) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def _empty_like(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else torch.empty_like(tensor) for tensor in tensors]


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *arguments: Any) -> Tensor:
        *norm, reading, library = arguments
        blocks, channels, height, width, lanes = x.shape
        size = (1, 1) if reading.average else (height // reading.pool, width // reading.pool)
        z = x.new_empty(blocks, channels, *size, lanes)
        library.read_forward(ctypes.byref(reading), *_addresses(x, *norm, z), torch.get_num_threads())
        ctx.reading, ctx.kernels = reading, library
        ctx.save_for_backward(x, *norm)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        dz = dz.contiguous()
        gradients = _empty_like(*saved)
        dx, *norm_gradients = gradients
        ctx.kernels.read_backward(
            ctypes.byref(ctx.reading), *_addresses(*saved, dz, dx, *norm_gradients), torch.get_num_threads()
        )
        return *gradients, None, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor | None]:
        *inputs, running_mean, running_var, layer, library = arguments
        first = layer.depthwise if layer.depthwise.height else layer.kernel
        rows, columns = (
            side // layer.input.pool + 2 * first.padding - kernel + 1
            for side, kernel in ((x.shape[2], first.height), (x.shape[3], first.width))
        )
        y = x.new_empty(len(x), layer.out_channels, rows, columns, x.shape[4])
        z = torch.empty_like(y) if layer.activation else y
        statistics = x.new_empty(2, layer.out_channels) if layer.batch_norm else None
        library.layer_forward(
            ctypes.byref(layer),
            *_addresses(x, *inputs, running_mean, running_var, y, z, statistics),
            torch.get_num_threads(),
        )
        ctx.layer, ctx.kernels = layer, library
        ctx.save_for_backward(x, *inputs, y, z, statistics)
        return z, statistics

    @staticmethod
    def backward(ctx: Any, dz: Tensor, dstatistics: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *in_norm, depthwise_weight, weight, bias, y, z, statistics = ctx.saved_tensors
        layer = ctx.layer
        if layer.batch_norm == RUNNING_NORM:
            raise RuntimeError("the kernels have no gradient in evaluation mode")
        dz = dz.contiguous()
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        gradients = _empty_like(*in_norm, depthwise_weight, weight, bias)
        ctx.kernels.layer_backward(
            ctypes.byref(layer),
            *_addresses(x, *in_norm, depthwise_weight, weight, y, z, statistics, dz, dstatistics, dx, *gradients),
            torch.get_num_threads(),
        )
        return dx, *gradients, None, None, None, None
