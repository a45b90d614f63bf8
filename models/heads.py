"""Kinds of heads, each defining its modules, its cost and its notation, as in models.blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from models.block_kind import check_kinds, dropout_names, require
from models.blocks import BLOCKS
from models.layer_cost import LayerCost, conv_row, pool_row
from models.spec import HEAD_KINDS, Head

if TYPE_CHECKING:
    from torch import nn


def _global_pool_row(input_map: LayerCost, *following: str) -> LayerCost:
    # Counted as a pool whose kernel and stride are the map's longer side, which is exact on a square map.
    side = max(input_map.height, input_map.width)
    return pool_row("head.gap", "global average pool", input_map, 1, 1, side, ("AdaptiveAvgPool2d", *following))


def _dense_row(
    name: str, kind: str, input_map: LayerCost, n_classes: int, modules: tuple[str, ...], *, bias: bool
) -> LayerCost:
    """Return the row of a layer that sees its whole input map: a linear layer or a convolution of the map's size."""
    side = max(input_map.height, input_map.width)
    weights = input_map.n_values * n_classes
    rf = input_map.receptive_field + (side - 1) * input_map.jump
    n_params = weights + bias * n_classes
    live, live_int8 = input_map.n_values + n_classes, input_map.n_values
    return LayerCost(name, kind, n_classes, 1, 1, rf, input_map.jump, n_params, weights, live, live_int8, 0, modules)


def _hidden_modules(head: Head, in_channels: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    for block in head.hidden:
        layers += BLOCKS[block.kind].modules(block, in_channels)
        in_channels = block.out_channels
    return layers, in_channels


def _hidden_rows(head: Head, input_map: LayerCost) -> list[LayerCost]:
    rows: list[LayerCost] = []
    for i, block in enumerate(head.hidden, start=1):
        rows += BLOCKS[block.kind].cost(block, rows[-1] if rows else input_map, f"head.hidden{i}")
    return rows


class HeadKind(ABC):
    """Base class of the kinds of heads; a subclass that lacks a member raises TypeError when it is imported.

    meaning  explanation of the notation, for the legends of networks with this head; empty where none is needed
    """

    meaning: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        require(cls, "notation", "modules", "cost")

    @staticmethod
    @abstractmethod
    def notation(last_map: LayerCost, hidden: Sequence[str], n_classes: int) -> list[str]:
        """Return the words of the head in an architecture line; `hidden` is the notation of its hidden blocks."""

    @staticmethod
    @abstractmethod
    def modules(head: Head, last_map: LayerCost, n_classes: int) -> list[nn.Module]:
        """Return the layers in forward order, from `last_map` to logits (N, n_classes)."""

    @staticmethod
    @abstractmethod
    def cost(head: Head, last_map: LayerCost, n_classes: int) -> list[LayerCost]:
        """Return the rows of the layer table that follow row `last_map`."""


class GapLinearHead(HeadKind):
    """Head of global average pooling, flatten, dropout and a linear layer."""

    @staticmethod
    def notation(_last_map: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["GAP", f"linear {n_classes}"]

    @staticmethod
    def modules(head: Head, last_map: LayerCost, n_classes: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import dropout_layers

        linear = nn.Linear(last_map.channels, n_classes, bias=head.bias)
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout_layers(head.dropout), linear]

    @staticmethod
    def cost(head: Head, last_map: LayerCost, n_classes: int) -> list[LayerCost]:
        pooled = _global_pool_row(last_map, "Flatten", *dropout_names(head.dropout))
        return [pooled, _dense_row("head.linear", "linear", pooled, n_classes, ("Linear",), bias=head.bias)]


class GapConvHead(HeadKind):
    """Head of global average pooling, hidden 1x1 blocks, dropout, a 1x1 convolution and flatten."""

    @staticmethod
    def notation(_last_map: LayerCost, hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["GAP", *hidden, f"(1x1){n_classes}"]

    @staticmethod
    def modules(head: Head, last_map: LayerCost, n_classes: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import dropout_layers

        hidden, channels = _hidden_modules(head, last_map.channels)
        conv = nn.Conv2d(channels, n_classes, 1, bias=head.bias)
        return [nn.AdaptiveAvgPool2d(1), *hidden, *dropout_layers(head.dropout), conv, nn.Flatten()]

    @staticmethod
    def cost(head: Head, last_map: LayerCost, n_classes: int) -> list[LayerCost]:
        pooled = _global_pool_row(last_map)
        rows = [pooled, *_hidden_rows(head, pooled)]
        modules = (*dropout_names(head.dropout), "Conv2d", "Flatten")
        conv = conv_row("head.conv", "conv 1x1", rows[-1], n_classes, 1, 0, 1, bias=head.bias, modules=modules)
        if not head.hidden:
            # The int8 program computes the means and the logits at once.
            return [pooled, conv._replace(live_int8=pooled.live_int8)]
        rows[0] = pooled._replace(live_int8=pooled.live)
        return [*rows, conv._replace(live_int8=rows[-1].n_values)]


class ConvGapHead(HeadKind):
    """Head of dropout, a 1x1 convolution, global average pooling and flatten."""

    @staticmethod
    def notation(_last_map: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return [f"(1x1){n_classes}", "GAP"]

    @staticmethod
    def modules(head: Head, last_map: LayerCost, n_classes: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import dropout_layers

        conv = nn.Conv2d(last_map.channels, n_classes, 1, bias=head.bias)
        return [*dropout_layers(head.dropout), conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()]

    @staticmethod
    def cost(head: Head, last_map: LayerCost, n_classes: int) -> list[LayerCost]:
        modules = (*dropout_names(head.dropout), "Conv2d")
        conv = conv_row("head.conv", "conv 1x1", last_map, n_classes, 1, 0, 1, bias=head.bias, modules=modules)
        # The int8 program takes the means first, and computes the logits at once.
        live_int8 = last_map.n_values
        rows = [conv, _global_pool_row(conv, "Flatten")]
        return [row._replace(live_int8=live_int8) for row in rows]


class ConvHead(HeadKind):
    """Head of hidden 1x1 blocks, dropout, a convolution over the whole map and flatten.

    It is the 7x7 head of the write-ups.
    """

    @staticmethod
    def notation(last_map: LayerCost, hidden: Sequence[str], n_classes: int) -> list[str]:
        return [*hidden, f"({last_map.height}x{last_map.width}){n_classes}"]

    @staticmethod
    def modules(head: Head, last_map: LayerCost, n_classes: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import dropout_layers

        hidden, channels = _hidden_modules(head, last_map.channels)
        conv = nn.Conv2d(channels, n_classes, (last_map.height, last_map.width), bias=head.bias)
        return [*hidden, *dropout_layers(head.dropout), conv, nn.Flatten()]

    @staticmethod
    def cost(head: Head, last_map: LayerCost, n_classes: int) -> list[LayerCost]:
        rows = _hidden_rows(head, last_map)
        kind, input_map = f"conv {last_map.height}x{last_map.width}", rows[-1] if rows else last_map
        modules = (*dropout_names(head.dropout), "Conv2d", "Flatten")
        return [*rows, _dense_row("head.conv", kind, input_map, n_classes, modules, bias=head.bias)]


class GapHead(HeadKind):
    """Head of global average pooling, flatten and dropout, whose first channels are the logits.

    There is one channel a class, and one factor multiplies all of them.
    """

    meaning = "first 10: the first ten channels, times one factor, are the logits"

    @staticmethod
    def notation(_last_map: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["GAP", f"first {n_classes}"]

    @staticmethod
    def modules(head: Head, _last_map: LayerCost, n_classes: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import FirstChannels, dropout_layers

        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout_layers(head.dropout), FirstChannels(n_classes)]

    @staticmethod
    def cost(head: Head, last_map: LayerCost, n_classes: int) -> list[LayerCost]:
        pooled = _global_pool_row(last_map, "Flatten", *dropout_names(head.dropout))
        first = pooled._replace(
            name="head.scores",
            kind="first channels",
            channels=n_classes,
            n_params=1,
            live=last_map.channels + n_classes,
            live_int8=last_map.n_values,
            modules=("FirstChannels",),
        )
        return [pooled, first]


class FlattenLinearHead(HeadKind):
    """Head of flatten, dropout and a linear layer."""

    @staticmethod
    def notation(_last_map: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["flatten", f"linear {n_classes}"]

    @staticmethod
    def modules(head: Head, last_map: LayerCost, n_classes: int) -> list[nn.Module]:
        from torch import nn

        from models.layers import dropout_layers

        return [nn.Flatten(), *dropout_layers(head.dropout), nn.Linear(last_map.n_values, n_classes, bias=head.bias)]

    @staticmethod
    def cost(head: Head, last_map: LayerCost, n_classes: int) -> list[LayerCost]:
        modules = ("Flatten", *dropout_names(head.dropout), "Linear")
        return [_dense_row("head.linear", "linear", last_map, n_classes, modules, bias=head.bias)]


HEADS: dict[str, type[HeadKind]] = {
    "gap_linear": GapLinearHead,
    "gap_conv": GapConvHead,
    "conv_gap": ConvGapHead,
    "conv": ConvHead,
    "flatten_linear": FlattenLinearHead,
    "gap": GapHead,
}
check_kinds("HEADS", HEADS, HEAD_KINDS)
