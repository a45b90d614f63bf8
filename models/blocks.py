"""Kinds of blocks, each defining its modules, its cost, and its names in an architecture line and in figures.

`modules` returns plain torch layers in forward order (a residual block is the one exception), so a network is a flat
list that a reader, an exporter or a compiler can walk. `cost` returns one LayerCost row for each layer that holds
weights or changes the map; it does arithmetic only. The tests compare the two.

Only `modules` imports torch, because commands that print a cost should answer at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, TypedDict

from models.layer_cost import ACTIVATION_LAYERS, LayerCost, conv_row
from models.spec import BLOCK_KINDS, Block

if TYPE_CHECKING:
    from torch import nn


def dropout_names(p: float) -> tuple[str, ...]:
    """Return the classes of `dropout_layers`."""
    return ("Dropout",) if p else ()


class _Extras(TypedDict):
    bias: bool
    norm: int
    shared: bool
    modules: tuple[str, ...]


def _extras(block: Block, *, activate: bool = True, drop: bool = True) -> _Extras:
    """Return the arguments of `conv_row` that follow from the block and not from its shape.

    activate, drop: whether the block's activation and dropout follow this convolution
    """
    norm = ("BatchNorm2d" if block.norm_scale else "UnscaledBatchNorm2d",) if block.batch_norm else ()
    activation = _activation_names(block) if activate else ()
    following = norm + activation if block.order == "conv-bn-act" else activation + norm
    return {
        "bias": block.bias,
        "norm": block.batch_norm * (1 + block.norm_scale),
        "shared": block.shared,
        "modules": ("Conv2d", *following, *(dropout_names(block.dropout) if drop else ())),
    }


def _activation_names(block: Block) -> tuple[str, ...]:
    return (ACTIVATION_LAYERS[block.activation][0],) if block.activation else ()


class BlockKind(ABC):
    """Base class of the kinds of blocks; a subclass that lacks a member raises TypeError when it is imported.

    mark          letter after the width in an architecture line
    mark_meaning  explanation of the mark in the legend; empty where the mark is empty
    """

    mark: ClassVar[str]
    mark_meaning: ClassVar[str]

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
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        """Return the rows of the layer table that follow row `input_map`."""


def require(kind: type, *names: str) -> None:
    """Raise TypeError unless the class itself defines all of `names`."""
    missing = [name for name in names if name not in vars(kind)]
    if missing:
        raise TypeError(f"{kind.__name__} does not define {', '.join(missing)}")


def check_kinds(table: str, registered: Iterable[str], kinds: Iterable[str]) -> None:
    """Raise TypeError unless the kinds registered in `table` are exactly those that models.spec accepts."""
    differences = set(registered) ^ set(kinds)
    if differences:
        raise TypeError(f"{table} and the kinds of models.spec differ in {', '.join(sorted(differences))}")


class ConvBlock(BlockKind):
    """Block of a convolution, batch norm and activation in either order, and dropout."""

    mark = ""
    mark_meaning = ""

    @staticmethod
    def label(block: Block) -> str:
        return f"conv {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import dropout_layers, norm_and_activation

        padding = block.kernel_size // 2 if block.padding == "same" else 0
        conv = nn.Conv2d(in_channels, block.out_channels, block.kernel_size, padding=padding, bias=block.bias)
        return [conv, *norm_and_activation(block, block.out_channels), *dropout_layers(block.dropout)]

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        out, kernel = block.out_channels, block.kernel_size
        return [conv_row(name, f"conv {kernel}x{kernel}", input_map, out, kernel, block.shrink, 1, **_extras(block))]


class SeparableBlock(BlockKind):
    """Block of a depthwise and a 1x1 convolution, followed by batch norm, activation and dropout as in ConvBlock."""

    mark = "s"
    mark_meaning = "separable"

    @staticmethod
    def label(block: Block) -> str:
        return f"separable {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import dropout_layers, norm_and_activation

        kernel = block.kernel_size
        padding = kernel // 2 if block.padding == "same" else 0
        depthwise = nn.Conv2d(in_channels, in_channels, kernel, padding=padding, groups=in_channels, bias=False)
        pointwise = nn.Conv2d(in_channels, block.out_channels, 1, bias=block.bias)
        return [depthwise, pointwise, *norm_and_activation(block, block.out_channels), *dropout_layers(block.dropout)]

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        kernel, out = block.kernel_size, block.out_channels
        kind = f"depthwise {kernel}x{kernel}"
        channels, shared = input_map.channels, block.shared
        first = conv_row(f"{name}.depthwise", kind, input_map, channels, kernel, block.shrink, channels, shared=shared)
        return [first, conv_row(f"{name}.pointwise", "conv 1x1", first, out, 1, 0, 1, **_extras(block))]


class ResidualBlock(BlockKind):
    """Block of two convolutions whose result is added to a shortcut.

    conv-bn-act  act(bn(conv(act(bn(conv(x))))) + shortcut(x))
    conv-act-bn  bn(act(conv(bn(act(conv(x)))))) + shortcut(x)
    """

    mark = "r"
    mark_meaning = "residual (two convolutions and a shortcut)"

    @staticmethod
    def label(_block: Block) -> str:
        return "residual"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import Residual, activation_layer, dropout_layers, norm_and_activation

        out, kernel = block.out_channels, block.kernel_size
        activation_last = block.order == "conv-bn-act"
        main = nn.Sequential(
            nn.Conv2d(in_channels, out, kernel, padding=kernel // 2, bias=block.bias),
            *norm_and_activation(block, out),
            nn.Conv2d(out, out, kernel, padding=kernel // 2, bias=block.bias),
            *norm_and_activation(block, out, activate=not activation_last),
        )
        shortcut: nn.Module = nn.Identity() if in_channels == out else nn.Conv2d(in_channels, out, 1, bias=False)
        last_activation = [activation_layer(block.activation)] if block.activation and activation_last else []
        return [Residual(main, shortcut), *last_activation, *dropout_layers(block.dropout)]

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        out, kernel = block.out_channels, block.kernel_size
        kind, activation_last = f"conv {kernel}x{kernel}", block.order == "conv-bn-act"
        first = conv_row(f"{name}.conv1", kind, input_map, out, kernel, 0, 1, **_extras(block, drop=False))
        extras = _extras(block, activate=not activation_last, drop=False)
        second = conv_row(f"{name}.conv2", kind, first, out, kernel, 0, 1, **extras)
        # The block's input is kept for the sum while the second convolution runs.
        kept = input_map.n_values
        second = second._replace(live=second.live + kept, live_int8=second.live_int8 + kept)
        weights = 0 if input_map.channels == out else input_map.channels * out
        live = kept + (2 if weights else 1) * second.n_values
        total = second._replace(
            name=f"{name}.sum",
            kind="shortcut 1x1 + sum" if weights else "sum",
            n_params=0 if block.shared else weights,
            n_shared=weights if block.shared else 0,
            macs=weights * input_map.height * input_map.width,
            live=live,
            live_int8=live,
            modules=(
                "Conv2d" if weights else "Identity",
                "Residual",
                *(_activation_names(block) if activation_last else ()),
                *dropout_names(block.dropout),
            ),
        )
        return [first, second, total]


BLOCKS: dict[str, type[BlockKind]] = {
    "conv": ConvBlock,
    "separable": SeparableBlock,
    "residual": ResidualBlock,
}
check_kinds("BLOCKS", BLOCKS, BLOCK_KINDS)
