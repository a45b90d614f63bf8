"""Kinds of blocks: their modules, their cost beside them, and their names in an architecture line and in figures.

`modules` returns plain torch layers in forward order (a residual block is the one exception), so a network is a flat
list that a reader, an exporter or a compiler can walk. `cost` returns one LayerCost row for each layer that holds
weights or changes the map; it does arithmetic only. The tests hold the two against each other.

Receptive field: rf += (kernel - 1) * jump; jump *= stride (Araujo, Norris, Sim 2019, doi 10.23915/distill.00021).
Multiply-adds are those of convolutions and linear layers, without biases, batch norm and activations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from models.spec import BLOCK_KINDS, Block

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
}


class LayerCost(NamedTuple):
    """One row of the layer table: the map after the layer, and what the layer costs for one image."""

    name: str
    kind: str
    channels: int
    height: int
    width: int
    receptive_field: int
    jump: int
    n_params: int
    macs: int
    live: int  # activation values that must exist at once while the layer runs: inputs, outputs, kept shortcuts
    n_shared: int = 0  # weights and biases that are an earlier layer's; n_params does not count them again

    @property
    def n_values(self) -> int:
        """Values in the map after the layer."""
        return self.channels * self.height * self.width


class UnscaledBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose weight is 1 and no parameter: it normalises and adds a bias."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        del self.weight
        self.register_buffer("weight", torch.ones(num_features))


def _norm_and_activation(block: Block, channels: int, *, activate: bool = True) -> list[nn.Module]:
    kind = nn.BatchNorm2d if block.norm_scale else UnscaledBatchNorm2d
    norm: list[nn.Module] = [kind(channels)] if block.batch_norm else []
    activation = [_ACTIVATIONS[block.activation]()] if block.activation and activate else []
    return norm + activation if block.order == "conv-bn-act" else activation + norm


def dropout_layers(p: float) -> list[nn.Module]:
    """Dropout of probability p, or no layer."""
    return [nn.Dropout(p)] if p else []


def conv_row(
    name: str,
    kind: str,
    at: LayerCost,
    channels: int,
    kernel: int,
    shrink: int,
    groups: int,
    *,
    bias: bool = False,
    norm: int = 0,
    shared: bool = False,
) -> LayerCost:
    """The row of one convolution of stride 1 and its batch norm of `norm` numbers a channel.

    shared: its weights are another's.
    """
    height, width = at.height - shrink, at.width - shrink
    weights = kernel * kernel * (at.channels // groups) * channels
    own = weights + bias * channels
    return LayerCost(
        name,
        f"{kind}, shared" if shared else kind,
        channels,
        height,
        width,
        at.receptive_field + (kernel - 1) * at.jump,
        at.jump,
        (0 if shared else own) + channels * norm,
        weights * height * width,
        at.channels * at.height * at.width + channels * height * width,
        own if shared else 0,
    )


class _Extras(TypedDict):
    bias: bool
    norm: int
    shared: bool


def _extras(block: Block) -> _Extras:
    """Return what the row of a convolution takes from its block beside the shape."""
    return {"bias": block.bias, "norm": block.batch_norm * (1 + block.norm_scale), "shared": block.shared}


class BlockKind(ABC):
    """Base of every kind of block. A subclass that leaves something out raises TypeError at import.

    mark           letter that stands after the width in an architecture line
    mark_meaning   what the mark means, for the legend; empty where the mark is
    always_padded  whether its padding is always "same", so that the line does not say so
    """

    mark: ClassVar[str]
    mark_meaning: ClassVar[str]
    always_padded: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        require(cls, "mark", "mark_meaning", "label", "modules", "cost")

    @staticmethod
    @abstractmethod
    def label(block: Block) -> str:
        """Return the name of the block in figures."""

    @staticmethod
    @abstractmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        """Return the layers in forward order: (N, in_channels, H, W) to (N, block.out_channels, H', W')."""

    @staticmethod
    @abstractmethod
    def cost(block: Block, at: LayerCost, name: str) -> list[LayerCost]:
        """Return the rows of the layer table that follow row `at`."""


def require(kind: type, *names: str) -> None:
    """Raise TypeError unless the class itself defines all of `names`."""
    missing = [name for name in names if name not in vars(kind)]
    if missing:
        raise TypeError(f"{kind.__name__} does not define {', '.join(missing)}")


def check_kinds(table: str, registered: Iterable[str], kinds: Iterable[str]) -> None:
    """Raise TypeError unless a table has a class for each of the kinds that models.spec accepts, and no other."""
    different = set(registered) ^ set(kinds)
    if different:
        raise TypeError(f"{table} and the kinds of models.spec differ in {', '.join(sorted(different))}")


class ConvBlock(BlockKind):
    """Convolution, batch norm and activation in either order, dropout."""

    mark = ""
    mark_meaning = ""

    @staticmethod
    def label(block: Block) -> str:
        return f"conv {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        padding = block.kernel_size // 2 if block.padding == "same" else 0
        conv = nn.Conv2d(in_channels, block.out_channels, block.kernel_size, padding=padding, bias=block.bias)
        return [conv, *_norm_and_activation(block, block.out_channels), *dropout_layers(block.dropout)]

    @staticmethod
    def cost(block: Block, at: LayerCost, name: str) -> list[LayerCost]:
        out, kernel = block.out_channels, block.kernel_size
        return [conv_row(name, f"conv {kernel}x{kernel}", at, out, kernel, block.shrink, 1, **_extras(block))]


class SeparableBlock(BlockKind):
    """Depthwise convolution, 1x1 convolution, then batch norm, activation and dropout as in ConvBlock."""

    mark = "s"
    mark_meaning = "separable"

    @staticmethod
    def label(block: Block) -> str:
        return f"separable {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        padding = block.kernel_size // 2 if block.padding == "same" else 0
        depthwise = nn.Conv2d(
            in_channels, in_channels, block.kernel_size, padding=padding, groups=in_channels, bias=False
        )
        pointwise = nn.Conv2d(in_channels, block.out_channels, 1, bias=block.bias)
        return [depthwise, pointwise, *_norm_and_activation(block, block.out_channels), *dropout_layers(block.dropout)]

    @staticmethod
    def cost(block: Block, at: LayerCost, name: str) -> list[LayerCost]:
        kernel, out = block.kernel_size, block.out_channels
        kind = f"depthwise {kernel}x{kernel}"
        depthwise = conv_row(
            f"{name}.depthwise", kind, at, at.channels, kernel, block.shrink, at.channels, shared=block.shared
        )
        return [depthwise, conv_row(f"{name}.pointwise", "conv 1x1", depthwise, out, 1, 0, 1, **_extras(block))]


class Residual(nn.Module):
    """x -> main(x) + shortcut(x); input (N, C, H, W), output (N, out_channels, H, W)."""

    def __init__(self, main: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.main(x), self.shortcut(x))


class ResidualBlock(BlockKind):
    """conv-bn-act: act(bn(conv(act(bn(conv(x))))) + shortcut(x)); conv-act-bn: bn(act(conv)) twice, + shortcut(x)."""

    mark = "r"
    mark_meaning = "residual (two convolutions and a shortcut)"
    always_padded = True

    @staticmethod
    def label(_block: Block) -> str:
        return "residual"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        out, kernel = block.out_channels, block.kernel_size
        activation_last = block.order == "conv-bn-act"
        main = nn.Sequential(
            nn.Conv2d(in_channels, out, kernel, padding=kernel // 2, bias=block.bias),
            *_norm_and_activation(block, out),
            nn.Conv2d(out, out, kernel, padding=kernel // 2, bias=block.bias),
            *_norm_and_activation(block, out, activate=not activation_last),
        )
        shortcut: nn.Module = nn.Identity() if in_channels == out else nn.Conv2d(in_channels, out, 1, bias=False)
        after = [_ACTIVATIONS[block.activation]()] if block.activation and activation_last else []
        return [Residual(main, shortcut), *after, *dropout_layers(block.dropout)]

    @staticmethod
    def cost(block: Block, at: LayerCost, name: str) -> list[LayerCost]:
        out, kernel = block.out_channels, block.kernel_size
        kind, extras = f"conv {kernel}x{kernel}", _extras(block)
        first = conv_row(f"{name}.conv1", kind, at, out, kernel, 0, 1, **extras)
        second = conv_row(f"{name}.conv2", kind, first, out, kernel, 0, 1, **extras)
        # The block's input waits for the sum while the second convolution runs.
        second = second._replace(live=second.live + at.n_values)
        weights = 0 if at.channels == out else at.channels * out
        total = second._replace(
            name=f"{name}.sum",
            kind="shortcut 1x1 + sum" if weights else "sum",
            n_params=0 if block.shared else weights,
            n_shared=weights if block.shared else 0,
            macs=weights * at.height * at.width,
            live=at.n_values + (2 if weights else 1) * second.n_values,
        )
        return [first, second, total]


def pool_cost(size: int, at: LayerCost, name: str) -> LayerCost:
    """The row of a max pool of side and stride `size`."""
    return pool_row(name, f"max pool {size}x{size}", at, at.height // size, at.width // size, size)


def pool_row(name: str, kind: str, at: LayerCost, height: int, width: int, size: int) -> LayerCost:
    """The row of a pool of side and stride `size` whose map is height x width."""
    live = at.n_values + at.channels * height * width
    rf = at.receptive_field + (size - 1) * at.jump
    return LayerCost(name, kind, at.channels, height, width, rf, at.jump * size, 0, 0, live)


BLOCKS: dict[str, type[BlockKind]] = {
    "conv": ConvBlock,
    "separable": SeparableBlock,
    "residual": ResidualBlock,
}
check_kinds("BLOCKS", BLOCKS, BLOCK_KINDS)
