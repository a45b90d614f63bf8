"""Find the modules that one operation computes together with a convolution, and what the kernels must know of them."""

from __future__ import annotations

from torch import nn

from search.engine.native.structures import Kernel

# enum Activation of native/activations.hpp.
ACTIVATIONS: dict[type[nn.Module], int] = {
    nn.ReLU: 1,
    nn.LeakyReLU: 2,
    nn.SiLU: 3,
    nn.Hardswish: 4,
    nn.GELU: 5,
    nn.Hardsigmoid: 6,
}


def has_kernel(conv: nn.Conv2d) -> bool:
    """Return whether there is a kernel for the stride, the padding and the dilation of a convolution."""
    return (
        conv.stride[0] == conv.stride[1]
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.padding[0] == conv.padding[1] < min(conv.kernel_size)
    )


def take_pointwise(conv: nn.Conv2d, rest: list[nn.Module]) -> tuple[nn.Conv2d | None, nn.Conv2d]:
    """Return (depthwise, 1x1) and remove the latter from `rest` if the two can run as one, else (None, conv)."""
    pointwise = rest[0] if rest else None
    if (
        conv.bias is None
        and conv.groups == conv.in_channels == conv.out_channels
        and isinstance(pointwise, nn.Conv2d)
        and has_kernel(pointwise)
        and pointwise.kernel_size == pointwise.stride == (1, 1)
    ):
        del rest[0]
        return conv, pointwise
    return None, conv


def take_shuffle(conv: nn.Conv2d, rest: list[nn.Module]) -> bool:
    """Remove the shuffle of a convolution's groups from `rest`; return whether there is one."""
    if not rest or not isinstance(rest[0], nn.ChannelShuffle) or rest[0].groups != conv.groups:
        return False
    del rest[0]
    return True


def take_norm(rest: list[nn.Module]) -> tuple[nn.Module | None, nn.BatchNorm2d | None]:
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


def slope_of(activation: nn.Module | None) -> float:
    """Return the slope of a leaky ReLU below 0, and 0 for another activation and for None."""
    return float(getattr(activation, "negative_slope", 0.0))


def kernel_of(conv: nn.Conv2d) -> Kernel:
    """Return the kernel of a convolution with its padding and stride."""
    return Kernel(*conv.kernel_size, int(conv.padding[0]), conv.stride[0])
