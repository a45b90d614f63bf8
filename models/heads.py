"""Kinds of heads, from the last map to the logits: their modules, cost and notation, as in models.blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.blocks import BLOCKS, LayerCost, check_kinds, conv_row, dropout_layers, pool_row, require
from models.spec import HEAD_KINDS, Head


def _global_pool(at: LayerCost) -> LayerCost:
    # Taken as a pool with kernel and stride of the map's longer side, which is what it is on a square map.
    return pool_row("head.gap", "global average pool", at, 1, 1, max(at.height, at.width))


def _dense(name: str, kind: str, at: LayerCost, n_classes: int, *, bias: bool) -> LayerCost:
    """The row of a layer that sees its whole input map at once: a linear layer or a convolution of the map's size."""
    side = max(at.height, at.width)
    weights = at.n_values * n_classes
    rf = at.receptive_field + (side - 1) * at.jump
    n_params = weights + bias * n_classes
    return LayerCost(name, kind, n_classes, 1, 1, rf, at.jump, n_params, weights, at.n_values + n_classes)


def _hidden_modules(head: Head, in_channels: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    for block in head.hidden:
        layers += BLOCKS[block.kind].modules(block, in_channels)
        in_channels = block.out_channels
    return layers, in_channels


def _hidden_rows(head: Head, at: LayerCost) -> list[LayerCost]:
    rows: list[LayerCost] = []
    for i, block in enumerate(head.hidden, start=1):
        rows += BLOCKS[block.kind].cost(block, rows[-1] if rows else at, f"head.hidden{i}")
    return rows


class HeadKind(ABC):
    """Base of every kind of head. A subclass that leaves something out raises TypeError at import.

    meaning  what its notation means, where the legend of every network does not say so
    """

    meaning: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        require(cls, "notation", "modules", "cost")

    @staticmethod
    @abstractmethod
    def notation(at: LayerCost, hidden: Sequence[str], n_classes: int) -> list[str]:
        """Return its words in an architecture line; at: the last map, hidden: the notation of its hidden blocks."""

    @staticmethod
    @abstractmethod
    def modules(head: Head, at: LayerCost, n_classes: int) -> list[nn.Module]:
        """Return the layers in forward order, from the last map `at` to logits (N, n_classes)."""

    @staticmethod
    @abstractmethod
    def cost(head: Head, at: LayerCost, n_classes: int) -> list[LayerCost]:
        """Return the rows of the layer table that follow row `at`."""


class GapLinearHead(HeadKind):
    """Global average pooling, flatten, dropout, linear."""

    @staticmethod
    def notation(_at: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["GAP", f"linear {n_classes}"]

    @staticmethod
    def modules(head: Head, at: LayerCost, n_classes: int) -> list[nn.Module]:
        linear = nn.Linear(at.channels, n_classes, bias=head.bias)
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout_layers(head.dropout), linear]

    @staticmethod
    def cost(head: Head, at: LayerCost, n_classes: int) -> list[LayerCost]:
        pooled = _global_pool(at)
        return [pooled, _dense("head.linear", "linear", pooled, n_classes, bias=head.bias)]


class GapConvHead(HeadKind):
    """Global average pooling, hidden 1x1 blocks, dropout, 1x1 convolution, flatten."""

    @staticmethod
    def notation(_at: LayerCost, hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["GAP", *hidden, f"(1x1){n_classes}"]

    @staticmethod
    def modules(head: Head, at: LayerCost, n_classes: int) -> list[nn.Module]:
        hidden, channels = _hidden_modules(head, at.channels)
        conv = nn.Conv2d(channels, n_classes, 1, bias=head.bias)
        return [nn.AdaptiveAvgPool2d(1), *hidden, *dropout_layers(head.dropout), conv, nn.Flatten()]

    @staticmethod
    def cost(head: Head, at: LayerCost, n_classes: int) -> list[LayerCost]:
        rows = [_global_pool(at)]
        rows += _hidden_rows(head, rows[0])
        return [*rows, conv_row("head.conv", "conv 1x1", rows[-1], n_classes, 1, 0, 1, bias=head.bias)]


class ConvGapHead(HeadKind):
    """Dropout, 1x1 convolution, global average pooling, flatten."""

    @staticmethod
    def notation(_at: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return [f"(1x1){n_classes}", "GAP"]

    @staticmethod
    def modules(head: Head, at: LayerCost, n_classes: int) -> list[nn.Module]:
        conv = nn.Conv2d(at.channels, n_classes, 1, bias=head.bias)
        return [*dropout_layers(head.dropout), conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()]

    @staticmethod
    def cost(head: Head, at: LayerCost, n_classes: int) -> list[LayerCost]:
        conv = conv_row("head.conv", "conv 1x1", at, n_classes, 1, 0, 1, bias=head.bias)
        return [conv, _global_pool(conv)]


class ConvHead(HeadKind):
    """Hidden 1x1 blocks, dropout, a convolution over the whole map, flatten: the 7x7 head of the write-ups."""

    @staticmethod
    def notation(at: LayerCost, hidden: Sequence[str], n_classes: int) -> list[str]:
        return [*hidden, f"({at.height}x{at.width}){n_classes}"]

    @staticmethod
    def modules(head: Head, at: LayerCost, n_classes: int) -> list[nn.Module]:
        hidden, channels = _hidden_modules(head, at.channels)
        conv = nn.Conv2d(channels, n_classes, (at.height, at.width), bias=head.bias)
        return [*hidden, *dropout_layers(head.dropout), conv, nn.Flatten()]

    @staticmethod
    def cost(head: Head, at: LayerCost, n_classes: int) -> list[LayerCost]:
        rows = _hidden_rows(head, at)
        last = rows[-1] if rows else at
        return [*rows, _dense("head.conv", f"conv {at.height}x{at.width}", last, n_classes, bias=head.bias)]


class FirstChannels(nn.Module):
    """The first n_channels of (N, C), times one factor for all: (N, n_channels)."""

    # The mean of a map after batch norm and activation is rarely above 1, and as logits that would leave every class
    # likely: training starts from a factor that does not.
    START = 4.0

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.weight = nn.Parameter(torch.full((1,), self.START))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : self.n_channels] * self.weight


class GapHead(HeadKind):
    """Global average pooling, flatten, dropout; the first channels, one a class, times one factor are the logits."""

    meaning = "first 10: the first ten channels, times one factor, are the logits"

    @staticmethod
    def notation(_at: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["GAP", f"first {n_classes}"]

    @staticmethod
    def modules(head: Head, _at: LayerCost, n_classes: int) -> list[nn.Module]:
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout_layers(head.dropout), FirstChannels(n_classes)]

    @staticmethod
    def cost(_head: Head, at: LayerCost, n_classes: int) -> list[LayerCost]:
        pooled = _global_pool(at)
        live = at.channels + n_classes
        first = pooled._replace(name="head.scores", kind="first channels", channels=n_classes, n_params=1, live=live)
        return [pooled, first]


class FlattenLinearHead(HeadKind):
    """Flatten, dropout, linear."""

    @staticmethod
    def notation(_at: LayerCost, _hidden: Sequence[str], n_classes: int) -> list[str]:
        return ["flatten", f"linear {n_classes}"]

    @staticmethod
    def modules(head: Head, at: LayerCost, n_classes: int) -> list[nn.Module]:
        return [nn.Flatten(), *dropout_layers(head.dropout), nn.Linear(at.n_values, n_classes, bias=head.bias)]

    @staticmethod
    def cost(head: Head, at: LayerCost, n_classes: int) -> list[LayerCost]:
        return [_dense("head.linear", "linear", at, n_classes, bias=head.bias)]


HEADS: dict[str, type[HeadKind]] = {
    "gap_linear": GapLinearHead,
    "gap_conv": GapConvHead,
    "conv_gap": ConvGapHead,
    "conv": ConvHead,
    "flatten_linear": FlattenLinearHead,
    "gap": GapHead,
}
check_kinds("HEADS", HEADS, HEAD_KINDS)
