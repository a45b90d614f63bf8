"""The kernels as differentiable operators on blocked activations: (blocks, channels, height, width, images of a block).

How activations are laid out and why: native/vectors.hpp. All tensors are contiguous float32 on the CPU.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from search.kernels import Layer

# enum BatchNorm of native/layer.hpp.
NO_NORM, BATCH_NORM, RUNNING_NORM = 0, 1, 2


class Blocks(NamedTuple):
    """Activations of `images` images: (blocks, C, H, W, lanes). The last block may have idle lanes."""

    values: Tensor
    images: int

    def with_values(self, values: Tensor) -> Blocks:
        """Other activations of the same images."""
        return Blocks(values, self.images)


def to_blocks(x: Tensor, lanes: int) -> Blocks:
    """From (N, C, H, W); idle lanes are 0."""
    n, channels, height, width = x.shape
    idle = -n % lanes
    if idle:
        x = torch.cat((x, x.new_zeros(idle, channels, height, width)))
    return Blocks(x.reshape(-1, lanes, channels, height, width).permute(0, 2, 3, 4, 1).contiguous(), n)


def from_blocks(x: Blocks) -> Tensor:
    """To (N, C, H, W)."""
    return x.values.permute(0, 4, 1, 2, 3).flatten(0, 1)[: x.images]


def convolve(x: Tensor, layer: Layer, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, library: ctypes.CDLL) -> Tensor:
    """What `layer` describes, with the weights of `conv` and `norm`; moves the running statistics in training."""
    of_norm = (None,) * 4 if norm is None else (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return _apply(_Convolution, x, conv.weight, conv.bias, *of_norm, layer, library)


def max_pool(x: Tensor, size: int, library: ctypes.CDLL) -> Tensor:
    """Maximum over windows of size x size that lie side by side; rows and columns that fill none are left out."""
    return _apply(_MaxPool, x, size, library)


def dropout(x: Tensor, p: float, library: ctypes.CDLL) -> Tensor:
    """Every value becomes 0 with probability p (to 1 / 65536) or is divided by 1 - p."""
    return _apply(_Dropout, x, p, library)


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    out: Tensor = function.apply(*arguments)
    return out


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        layer: Layer,
        library: ctypes.CDLL,
    ) -> Tensor:
        rows = layer.in_height + 2 * layer.padding - layer.kernel_height + 1
        columns = layer.in_width + 2 * layer.padding - layer.kernel_width + 1
        y = x.new_empty(len(x), layer.out_channels, rows, columns, x.shape[4])
        z = torch.empty_like(y) if layer.batch_norm or layer.activation else y
        statistics = x.new_empty(2, layer.out_channels) if layer.batch_norm else None
        library.layer_forward(
            ctypes.byref(layer),
            *map(_address, (x, weight, bias, gamma, beta, running_mean, running_var, y, z, statistics)),
            torch.get_num_threads(),
        )
        ctx.layer, ctx.kernels = layer, library
        ctx.save_for_backward(x, weight, bias, gamma, beta, y, statistics)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, gamma, beta, y, statistics = ctx.saved_tensors
        layer = ctx.layer
        if layer.batch_norm == RUNNING_NORM:
            raise RuntimeError("the kernels have no gradient in evaluation mode")
        dz = dz.contiguous()
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        gradients = [
            None if parameter is None else torch.empty_like(parameter) for parameter in (weight, bias, gamma, beta)
        ]
        ctx.kernels.layer_backward(
            ctypes.byref(layer),
            *map(_address, (x, weight, gamma, beta, y, statistics, dz, dx, *gradients)),
            torch.get_num_threads(),
        )
        return dx, *gradients, None, None, None, None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, library: ctypes.CDLL) -> Tensor:
        blocks, channels, height, width, lanes = x.shape
        z = x.new_empty(blocks, channels, height // size, width // size, lanes)
        ctx.shape, ctx.kernels = (blocks * channels, height, width, size), library
        library.max_pool_forward(x.data_ptr(), z.data_ptr(), *ctx.shape, torch.get_num_threads())
        ctx.save_for_backward(x, z)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, z = ctx.saved_tensors
        dz = dz.contiguous()
        dx = torch.empty_like(x)
        ctx.kernels.max_pool_backward(*map(_address, (x, z, dz, dx)), *ctx.shape, torch.get_num_threads())
        return dx, None, None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, library: ctypes.CDLL) -> Tensor:
        # From the generator that PyTorch's own dropout draws from.
        seed = int(torch.randint(1 << 62, ()))
        ctx.settings, ctx.kernels = (x.numel() // x.shape[-1], p, seed), library
        return _drop(ctx, x)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        return _drop(ctx, dz), None, None


def _drop(ctx: Any, x: Tensor) -> Tensor:
    x = x.contiguous()
    z = torch.empty_like(x)
    ctx.kernels.dropout(x.data_ptr(), z.data_ptr(), *ctx.settings, torch.get_num_threads())
    return z
