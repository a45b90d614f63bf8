"""Run a network on the C++ kernels, with its own modules and weights and another layout of the activations.

`NativeNetwork(model)` reads a model as a list of layers and runs them on blocks of images (native/vectors.hpp).
Modules without a kernel run on PyTorch's operators in between. Weights, gradients and batch-norm statistics stay in
the tensors of the model, so optimizers, averages and files work as without kernels.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from models.layers import Residual
from search.engine.native import kernels
from search.engine.native.kernels import Kernel, Layer
from search.engine.native.ops import (
    BATCH_NORM,
    NO_NORM,
    RUNNING_NORM,
    Blocks,
    Norm,
    apply_pending,
    average_maps,
    convolve,
    from_blocks,
    to_blocks,
)

Step = Callable[[Blocks], Blocks]

# enum Activation of native/activations.hpp.
ACTIVATIONS: dict[type[nn.Module], int] = {nn.ReLU: 1, nn.LeakyReLU: 2, nn.SiLU: 3, nn.Hardswish: 4}


class NativeNetwork:
    """Model that runs on the kernels and is called like `model`, with (N, C, H, W) float32 on the CPU.

    It follows the training mode of `model`. Raises RuntimeError if the kernels are missing.
    """

    def __init__(self, model: nn.Module) -> None:
        library = kernels.load()
        if library is None:
            raise RuntimeError(f"no kernels: {kernels.problem()}")
        self._lanes: int = library.lanes()
        modules = _flatten(model)
        # PyTorch runs the layers from the one that flattens the maps on, as they are small.
        end = next((i for i, module in enumerate(modules) if isinstance(module, nn.Flatten)), len(modules))
        self._library = library
        self._steps = list(_steps(modules[:end], library))
        self._rest = nn.Sequential(*modules[end:])

    def __call__(self, x: Tensor) -> Tensor:
        """Return the model's output for the images `x`."""
        blocks = to_blocks(x, self._lanes)
        for step in self._steps:
            blocks = step(blocks)
        out: Tensor = self._rest(from_blocks(blocks, self._library))
        return out


def _flatten(module: nn.Module) -> list[nn.Module]:
    """Return the modules that run one after another, with each Sequential opened."""
    if isinstance(module, nn.Sequential):
        return [inner for child in module for inner in _flatten(child)]
    return [] if isinstance(module, nn.Identity) else [module]


def _steps(modules: list[nn.Module], library: ctypes.CDLL) -> Iterator[Step]:
    rest = list(modules)
    while rest:
        module = rest.pop(0)
        if isinstance(module, nn.Conv2d) and _has_kernel(module):
            yield _ConvolutionStep(*_take_pointwise(module, rest), *_take_norm(rest), library)
        elif isinstance(module, nn.MaxPool2d) and _has_windows_side_by_side(module):
            yield _max_pool(module, library)
        elif isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            yield lambda x: average_maps(x, library)
        elif isinstance(module, nn.Dropout):
            yield _dropout(module, library)
        elif isinstance(module, Residual):
            yield _residual(module, library)
        elif type(module) in ACTIVATIONS:
            yield _activation(module, library)
        elif isinstance(module, nn.GELU):
            yield _gelu(module, library)
        else:
            yield _torch_step(module, library)


def _has_kernel(conv: nn.Conv2d) -> bool:
    return (
        conv.stride == (1, 1)
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.padding[0] == conv.padding[1] < min(conv.kernel_size)
    )


def _take_pointwise(conv: nn.Conv2d, rest: list[nn.Module]) -> tuple[nn.Conv2d | None, nn.Conv2d]:
    """Return (depthwise, 1x1) and remove the latter from `rest` if the two can run as one, else (None, conv)."""
    pointwise = rest[0] if rest else None
    if (
        conv.bias is None
        and conv.groups == conv.in_channels == conv.out_channels
        and isinstance(pointwise, nn.Conv2d)
        and _has_kernel(pointwise)
        and (pointwise.kernel_size, pointwise.groups) == ((1, 1), 1)
    ):
        del rest[0]
        return conv, pointwise
    return None, conv


def _take_norm(rest: list[nn.Module]) -> tuple[nn.Module | None, nn.BatchNorm2d | None]:
    """Remove the next batch norm, and an activation before it, from `rest`; return (activation or None, norm)."""
    position = 1 if rest and type(rest[0]) in ACTIVATIONS else 0
    norm = rest[position] if position < len(rest) else None
    if not isinstance(norm, nn.BatchNorm2d) or not _is_plain(norm):
        return None, None
    activation = rest[0] if position else None
    del rest[: position + 1]
    return activation, norm


def _is_plain(norm: nn.BatchNorm2d) -> bool:
    return norm.affine and norm.track_running_stats and norm.momentum is not None


def _slope(activation: nn.Module | None) -> float:
    return float(getattr(activation, "negative_slope", 0.0))


class _ConvolutionStep:
    """Step that runs a convolution, a depthwise one before it if given, and the statistics of its batch norm."""

    def __init__(
        self,
        depthwise: nn.Conv2d | None,
        conv: nn.Conv2d,
        activation: nn.Module | None,
        norm: nn.BatchNorm2d | None,
        library: ctypes.CDLL,
    ) -> None:
        self._depthwise, self._conv, self._norm, self._library = depthwise, conv, norm, library
        # The kernels multiply by a weight that they are given. One of 1 changes no value.
        self._unit = torch.ones(conv.out_channels)
        self._layer = Layer(
            out_channels=conv.out_channels,
            groups=conv.groups,
            depthwise=_kernel(depthwise) if depthwise else Kernel(),
            kernel=_kernel(conv),
            activation=ACTIVATIONS[type(activation)] if activation else 0,
            slope=_slope(activation),
            epsilon=norm.eps if norm else 0.0,
            momentum=(norm.momentum or 0.0) if norm else 0.0,
        )

    def __call__(self, x: Blocks) -> Blocks:
        norm = self._norm
        # A copy, because another forward pass may come before the backward pass.
        layer = Layer.from_buffer_copy(self._layer)
        layer.batch_norm = NO_NORM if norm is None else BATCH_NORM if norm.training else RUNNING_NORM
        if norm is not None and norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        values, statistics = convolve(x, layer, self._depthwise, self._conv, norm, self._library)
        if norm is None or statistics is None:
            return x.with_values(values)
        weight = self._unit if norm.weight is None else norm.weight
        return x.with_values(values).then(norm=Norm(statistics, weight, norm.bias))


def _kernel(conv: nn.Conv2d) -> Kernel:
    return Kernel(*conv.kernel_size, int(conv.padding[0]))


def _has_windows_side_by_side(pool: nn.MaxPool2d) -> bool:
    return (
        isinstance(pool.kernel_size, int)
        and pool.stride == pool.kernel_size
        and (pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices) == (0, 1, False, False)
    )


def _activation(module: nn.Module, library: ctypes.CDLL) -> Step:
    changes = {"activation": ACTIVATIONS[type(module)], "slope": _slope(module)}

    def step(x: Blocks) -> Blocks:
        is_next = not (x.pending.activation or x.pending.drops() or x.pending.pools())
        return (x if is_next else apply_pending(x, library)).then(**changes)

    return step


def _dropout(module: nn.Dropout, library: ctypes.CDLL) -> Step:
    def step(x: Blocks) -> Blocks:
        if not (module.training and module.p):
            return x
        # Drawn from the generator that PyTorch's dropout uses.
        seed = int(torch.randint(1 << 62, ()))
        is_next = not (x.pending.drops() or x.pending.pools())
        return (x if is_next else apply_pending(x, library)).then(drop=module.p, seed=seed)

    return step


def _max_pool(pool: nn.MaxPool2d, library: ctypes.CDLL) -> Step:
    return lambda x: (apply_pending(x, library) if x.pending.pools() else x).then(pool=pool.kernel_size)


def _residual(module: Residual, library: ctypes.CDLL) -> Step:
    main_steps = list(_steps(_flatten(module.main), library))
    shortcut_steps = list(_steps(_flatten(module.shortcut), library))

    def step(x: Blocks) -> Blocks:
        main = shortcut = x if shortcut_steps else apply_pending(x, library)
        for inner in main_steps:
            main = inner(main)
        for inner in shortcut_steps:
            shortcut = inner(shortcut)
        return x.with_values(apply_pending(main, library).values + apply_pending(shortcut, library).values)

    return step


def _gelu(module: nn.GELU, library: ctypes.CDLL) -> Step:
    return lambda x: x.with_values(module(apply_pending(x, library).values))


def _torch_step(module: nn.Module, library: ctypes.CDLL) -> Step:
    """Return a step that runs a module without a kernel on PyTorch's operators, on maps in the usual layout."""
    return lambda x: to_blocks(module(from_blocks(x, library)), x.values.shape[4])
