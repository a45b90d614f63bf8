"""Kinds of blocks, each defining its modules, its cost, and its names in an architecture line and in figures.

`modules` returns plain torch layers in forward order (a block that adds its input to its output is the one exception),
so a network is a flat list that a reader, an exporter or a compiler can walk. `cost` returns one LayerCost row for each
layer that holds weights or changes the map; it does arithmetic only. The tests compare the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.block_kind import (
    BlockKind,
    ConvExtras,
    activation_names,
    check_kinds,
    conv_extras,
    dropout_names,
    end_layers,
    squeeze_layers,
    sum_row,
    with_end,
    with_squeeze,
)
from models.layer_cost import LayerCost, conv_row, kept_beside
from models.spec import BLOCK_KINDS, Block

if TYPE_CHECKING:
    from torch import nn


class ConvBlock(BlockKind):
    """Block of a convolution, batch norm and activation in either order, and dropout."""

    mark = ""
    mark_meaning = ""

    @staticmethod
    def label(block: Block) -> str:
        return f"conv {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        from models.layers import norm_and_activation

        out = block.out_channels
        conv = _convolution(block, in_channels, out, block.kernel_size, stride=block.stride)
        return end_layers(block, [conv, *norm_and_activation(block, out), *squeeze_layers(block, out)])

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        out, kernel, shrink = block.out_channels, block.kernel_size, block.shrink
        extras, kind = conv_extras(block), f"conv {kernel}x{kernel}"
        row = conv_row(name, kind, input_map, out, kernel, shrink, 1, stride=block.stride, **extras)
        return with_end(block, input_map, with_squeeze(block, [row], name), name)


class SeparableBlock(BlockKind):
    """Block of a depthwise and a 1x1 convolution, followed by batch norm, activation and dropout as in ConvBlock."""

    mark = "s"
    mark_meaning = "separable"

    @staticmethod
    def label(block: Block) -> str:
        return f"separable {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        from models.layers import norm_and_activation

        out = block.out_channels
        depthwise = _depthwise(block, in_channels, bias=False)
        pointwise = _convolution(block, in_channels, out, 1)
        layers = [depthwise, pointwise, *norm_and_activation(block, out), *squeeze_layers(block, out)]
        return end_layers(block, layers)

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        first = _depthwise_row(block, input_map, f"{name}.depthwise")
        second = conv_row(f"{name}.pointwise", "conv 1x1", first, block.out_channels, 1, 0, 1, **conv_extras(block))
        return with_end(block, input_map, with_squeeze(block, [first, second], name), name)


class ShuffleBlock(BlockKind):
    """Separable block whose 1x1 convolution has groups, between which its output channels are shuffled.

    Output channel c belongs to group c % groups.
    """

    mark = "g"
    mark_meaning = "separable with a grouped 1x1 convolution and channel shuffle, and the number of groups"

    @staticmethod
    def label(block: Block) -> str:
        return f"shuffle {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import norm_and_activation

        out = block.out_channels
        depthwise = _depthwise(block, in_channels, bias=False)
        pointwise = _convolution(block, in_channels, out, 1, groups=block.groups)
        shuffle = nn.ChannelShuffle(block.groups)
        layers = [depthwise, pointwise, shuffle, *norm_and_activation(block, out), *squeeze_layers(block, out)]
        return end_layers(block, layers)

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        first = _depthwise_row(block, input_map, f"{name}.depthwise")
        # The convolution can write its output channels in the shuffled order, so the shuffle needs no second map.
        extras, kind = conv_extras(block, shuffle=True), f"conv 1x1, {block.groups} groups"
        second = conv_row(f"{name}.pointwise", kind, first, block.out_channels, 1, 0, block.groups, **extras)
        return with_end(block, input_map, with_squeeze(block, [first, second], name), name)


class InvertedBlock(BlockKind):
    """Block of a 1x1 convolution to a larger width, a depthwise one, and a 1x1 convolution without activation.

    Batch norm follows all three, and the activation the first two. With expansion 1 the first one is left out.
    """

    mark = "i"
    mark_meaning = "inverted residual (1x1, depthwise, 1x1), and its expansion"

    @staticmethod
    def label(block: Block) -> str:
        return f"inverted {block.kernel_size}x{block.kernel_size}"

    @staticmethod
    def modules(block: Block, in_channels: int) -> list[nn.Module]:
        from models.layers import norm_and_activation

        out, hidden = block.out_channels, block.expansion * in_channels
        layers: list[nn.Module] = []
        if block.expansion > 1:
            layers += [_convolution(block, in_channels, hidden, 1), *norm_and_activation(block, hidden)]
        layers += [_depthwise(block, hidden, bias=block.bias), *norm_and_activation(block, hidden)]
        layers += [*squeeze_layers(block, hidden), _convolution(block, hidden, out, 1)]
        return end_layers(block, [*layers, *norm_and_activation(block, out, activate=False)])

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        extras, rows = conv_extras(block), []
        if block.expansion > 1:
            hidden = block.expansion * input_map.channels
            rows.append(conv_row(f"{name}.expansion", "conv 1x1", input_map, hidden, 1, 0, 1, **extras))
        before = rows[-1] if rows else input_map
        rows.append(_depthwise_row(block, before, f"{name}.depthwise", extras))
        rows = with_squeeze(block, rows, name)
        last = conv_extras(block, activate=False)
        rows.append(conv_row(f"{name}.projection", "conv 1x1", rows[-1], block.out_channels, 1, 0, 1, **last))
        return with_end(block, input_map, rows, name)


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

        from models.layers import Residual, activation_layer, norm_and_activation

        out, kernel = block.out_channels, block.kernel_size
        activation_last = block.order == "conv-bn-act"
        main = nn.Sequential(
            _convolution(block, in_channels, out, kernel, stride=block.stride),
            *norm_and_activation(block, out),
            _convolution(block, out, out, kernel),
            *norm_and_activation(block, out, activate=not activation_last),
            *squeeze_layers(block, out),
        )
        shortcut: nn.Module = nn.Identity()
        if block.has_projection(in_channels):
            shortcut = nn.Conv2d(in_channels, out, 1, stride=block.stride, bias=False)
        last_activation = [activation_layer(block.activation)] if block.activation and activation_last else []
        return end_layers(block, [Residual(main, shortcut), *last_activation])

    @staticmethod
    def cost(block: Block, input_map: LayerCost, name: str) -> list[LayerCost]:
        out, kernel = block.out_channels, block.kernel_size
        kind, activation_last = f"conv {kernel}x{kernel}", block.order == "conv-bn-act"
        extras = conv_extras(block)
        first = conv_row(f"{name}.conv1", kind, input_map, out, kernel, 0, 1, stride=block.stride, **extras)
        extras = conv_extras(block, activate=not activation_last)
        rows = with_squeeze(block, [conv_row(f"{name}.conv2", kind, first, out, kernel, 0, 1, **extras)], name)
        # The block's input is kept for the sum while the second convolution runs.
        kept = input_map.n_values
        rows = [first, *[kept_beside(row, kept) for row in rows]]
        has_projection = block.has_projection(input_map.channels)
        modules: tuple[str, ...] = ("Conv2d" if has_projection else "Identity", "Residual")
        modules += activation_names(block) if activation_last else ()
        total = sum_row(rows[-1], kept, name, modules)
        if has_projection:
            weights, live = input_map.channels * out, total.live + total.n_values
            total = total._replace(
                kind=f"shortcut 1x1{f', stride {block.stride}' if block.stride > 1 else ''} + sum",
                n_params=0 if block.shared else weights,
                n_shared=weights if block.shared else 0,
                macs=weights * total.height * total.width,
                live=live,
                live_int8=live,
                stride=block.stride,
            )
        return [*rows, total._replace(modules=(*modules, *dropout_names(block.dropout)))]


def _convolution(
    block: Block, in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution of a block that is padded and has a bias as the block says."""
    from torch import nn

    padding = kernel // 2 if block.padding == "same" else 0
    return nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, groups=groups, bias=block.bias)


def _depthwise(block: Block, channels: int, *, bias: bool) -> nn.Conv2d:
    """Return the depthwise convolution of a block."""
    from torch import nn

    kernel = block.kernel_size
    padding = kernel // 2 if block.padding == "same" else 0
    return nn.Conv2d(channels, channels, kernel, stride=block.stride, padding=padding, groups=channels, bias=bias)


def _depthwise_row(block: Block, input_map: LayerCost, name: str, extras: ConvExtras | None = None) -> LayerCost:
    """Return the row of the depthwise convolution of a block.

    extras: those of a bias, batch norm and activation after it; None for a convolution without them
    """
    kernel, channels = block.kernel_size, input_map.channels
    extras = extras or ConvExtras(bias=False, norm=0, shared=block.shared, modules=("Conv2d",))
    kind, shrink = f"depthwise {kernel}x{kernel}", block.shrink
    return conv_row(name, kind, input_map, channels, kernel, shrink, channels, stride=block.stride, **extras)


BLOCKS: dict[str, type[BlockKind]] = {
    "conv": ConvBlock,
    "separable": SeparableBlock,
    "residual": ResidualBlock,
    "inverted": InvertedBlock,
    "shuffle": ShuffleBlock,
}
check_kinds("BLOCKS", BLOCKS, BLOCK_KINDS)
