"""A network run on the C++ kernels: the same modules and weights, another layout of the activations.

`BlockedNetwork(model)` reads a model as a list of layers and runs them on blocks of images (native/vectors.hpp). What
has no kernel runs on PyTorch's operators in between. Weights, gradients and batch-norm statistics stay in the
model's own tensors, so optimisers, averages and files need to know nothing of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

from torch import Tensor, nn

from models.blocks import Residual
from search import kernels
from search.kernels import Layer
from search.native_ops import (
    BATCH_NORM,
    NO_NORM,
    RUNNING_NORM,
    Blocks,
    convolve,
    dropout,
    from_blocks,
    max_pool,
    to_blocks,
)

Step = Callable[[Blocks], Blocks]

# enum Activation of native/activations.hpp.
ACTIVATIONS: dict[type[nn.Module], int] = {nn.ReLU: 1, nn.LeakyReLU: 2, nn.SiLU: 3, nn.Hardswish: 4}
# May run on values in any layout.
_ELEMENTWISE = (*ACTIVATIONS, nn.GELU)


class BlockedNetwork:
    """Callable like `model`: (N, C, H, W) float32 on the CPU to whatever the model returns for it.

    Follows the model's training mode. Raises RuntimeError where the kernels are missing.
    """

    def __init__(self, model: nn.Module) -> None:
        library = kernels.load()
        if library is None:
            raise RuntimeError(f"no kernels: {kernels.problem()}")
        self._lanes: int = library.lanes()
        modules = _flatten(model)
        # From the layer that flattens the maps on, the rest is small and left to PyTorch.
        end = next((i for i, module in enumerate(modules) if isinstance(module, nn.Flatten)), len(modules))
        self._steps = list(_steps(modules[:end], library))
        self._rest = nn.Sequential(*modules[end:])

    def __call__(self, x: Tensor) -> Tensor:
        """The model's output for the images `x`."""
        blocks = to_blocks(x, self._lanes)
        for step in self._steps:
            blocks = step(blocks)
        out: Tensor = self._rest(from_blocks(blocks))
        return out


def _flatten(module: nn.Module) -> list[nn.Module]:
    """The modules that run one after another, Sequentials opened."""
    if isinstance(module, nn.Sequential):
        return [inner for child in module for inner in _flatten(child)]
    return [] if isinstance(module, nn.Identity) else [module]


def _steps(modules: list[nn.Module], library: ctypes.CDLL) -> Iterator[Step]:
    rest = list(modules)
    while rest:
        module = rest.pop(0)
        if isinstance(module, nn.Conv2d) and _has_kernel(module):
            yield _ConvolutionStep(module, *_take_norm_and_activation(rest), library)
        elif isinstance(module, nn.MaxPool2d) and _has_windows_side_by_side(module):
            yield _max_pool(module, library)
        elif isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            yield lambda x: x.with_values(x.values.mean((2, 3), keepdim=True))
        elif isinstance(module, nn.Dropout):
            yield _dropout(module, library)
        elif isinstance(module, Residual):
            yield _residual(module, library)
        elif isinstance(module, _ELEMENTWISE):
            yield _elementwise(module)
        else:
            yield _unblocked(module)


def _has_kernel(conv: nn.Conv2d) -> bool:
    return (
        conv.stride == (1, 1)
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.padding[0] == conv.padding[1] < min(conv.kernel_size)
    )


def _take_norm_and_activation(rest: list[nn.Module]) -> tuple[nn.BatchNorm2d | None, nn.Module | None, bool]:
    """The batch norm and the activation that come next, taken from `rest`, and whether the activation comes first."""
    norm: nn.BatchNorm2d | None = None
    activation: nn.Module | None = None
    activation_first = False
    while rest and (norm is None or activation is None):
        if norm is None and isinstance(rest[0], nn.BatchNorm2d) and _is_plain(rest[0]):
            norm, activation_first = rest[0], activation is not None
        elif activation is None and type(rest[0]) in ACTIVATIONS:
            activation = rest[0]
        else:
            break
        rest.pop(0)
    return norm, activation, activation_first


def _is_plain(norm: nn.BatchNorm2d) -> bool:
    return norm.affine and norm.track_running_stats and norm.momentum is not None


class _ConvolutionStep:
    """A convolution with the batch norm and the activation that follow it."""

    def __init__(
        self,
        conv: nn.Conv2d,
        norm: nn.BatchNorm2d | None,
        activation: nn.Module | None,
        activation_first: bool,
        library: ctypes.CDLL,
    ) -> None:
        self._conv, self._norm, self._library = conv, norm, library
        self._layer = Layer(
            in_channels=conv.in_channels,
            out_channels=conv.out_channels,
            groups=conv.groups,
            kernel_height=conv.kernel_size[0],
            kernel_width=conv.kernel_size[1],
            padding=int(conv.padding[0]),
            activation=ACTIVATIONS[type(activation)] if activation else 0,
            activation_first=activation_first,
            slope=getattr(activation, "negative_slope", 0.0),
            epsilon=norm.eps if norm else 0.0,
            momentum=(norm.momentum or 0.0) if norm else 0.0,
        )

    def __call__(self, x: Blocks) -> Blocks:
        norm = self._norm
        # A copy, because the backward pass may come after another forward pass.
        layer = Layer.from_buffer_copy(self._layer)
        layer.images, (layer.in_height, layer.in_width) = x.images, x.values.shape[2:4]
        layer.batch_norm = NO_NORM if norm is None else BATCH_NORM if norm.training else RUNNING_NORM
        if norm is not None and norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        return x.with_values(convolve(x.values, layer, self._conv, norm, self._library))


def _has_windows_side_by_side(pool: nn.MaxPool2d) -> bool:
    return (
        isinstance(pool.kernel_size, int)
        and pool.stride == pool.kernel_size
        and (pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices) == (0, 1, False, False)
    )


def _max_pool(pool: nn.MaxPool2d, library: ctypes.CDLL) -> Step:
    assert isinstance(pool.kernel_size, int)
    size = pool.kernel_size
    return lambda x: x.with_values(max_pool(x.values, size, library))


def _dropout(module: nn.Dropout, library: ctypes.CDLL) -> Step:
    def step(x: Blocks) -> Blocks:
        return x.with_values(dropout(x.values, module.p, library)) if module.training and module.p else x

    return step


def _residual(module: Residual, library: ctypes.CDLL) -> Step:
    main_steps = list(_steps(_flatten(module.main), library))
    shortcut_steps = list(_steps(_flatten(module.shortcut), library))

    def step(x: Blocks) -> Blocks:
        main = shortcut = x
        for inner in main_steps:
            main = inner(main)
        for inner in shortcut_steps:
            shortcut = inner(shortcut)
        return x.with_values(main.values + shortcut.values)

    return step


def _elementwise(module: nn.Module) -> Step:
    # Never in place: the backward pass of the layer before may need what it put out.
    own: Any = copy(module)
    if hasattr(own, "inplace"):
        own.inplace = False
    return lambda x: x.with_values(own(x.values))


def _unblocked(module: nn.Module) -> Step:
    """A module that only PyTorch knows, on maps in the usual layout."""
    return lambda x: to_blocks(module(from_blocks(x)), x.values.shape[4])
