"""Base class of the kinds of blocks, and the layers that follow a block's convolutions, whatever its kind.

Only functions that return modules import torch, because commands that print a cost should answer at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, TypedDict

from models.layer_cost import ACTIVATION_LAYERS, LayerCost, kept_beside, squeeze_rows
from models.spec import Block

if TYPE_CHECKING:
    from torch import nn


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


def dropout_names(p: float) -> tuple[str, ...]:
    """Return the classes of `dropout_layers`."""
    return ("Dropout",) if p else ()


class ConvExtras(TypedDict):
    """Arguments of `conv_row` that follow from a block and not from its shape."""

    bias: bool
    norm: int
    shared: bool
    modules: tuple[str, ...]


def conv_extras(block: Block, *, activate: bool = True, shuffle: bool = False) -> ConvExtras:
    """Return the arguments of `conv_row` for a convolution that batch norm and activation follow.

    activate: whether the activation follows it. shuffle: whether its output channels are shuffled
    """
    norm = ("BatchNorm2d" if block.norm_scale else "UnscaledBatchNorm2d",) if block.batch_norm else ()
    activation = activation_names(block) if activate else ()
    following = norm + activation if block.order == "conv-bn-act" else activation + norm
    return {
        "bias": block.bias,
        "norm": block.batch_norm * (1 + block.norm_scale),
        "shared": block.shared,
        "modules": ("Conv2d", *(("ChannelShuffle",) if shuffle else ()), *following),
    }


def activation_names(block: Block) -> tuple[str, ...]:
    """Return the class of the activation of a block, if it has one."""
    return (ACTIVATION_LAYERS[block.activation][0],) if block.activation else ()


def squeeze_layers(block: Block, channels: int) -> list[nn.Module]:
    """Return squeeze-and-excitation of a map of that many channels, or an empty list for a block without it."""
    from models.layers import SqueezeExcite

    return [SqueezeExcite(channels, block.squeezed(channels))] if block.squeeze else []


def with_squeeze(block: Block, rows: list[LayerCost], name: str) -> list[LayerCost]:
    """Return `rows` and those of squeeze-and-excitation of the last one, for a block that has it."""
    if not block.squeeze:
        return rows
    return [*rows, *squeeze_rows(block.squeezed(rows[-1].channels), rows[-1], name, shared=block.shared)]


def end_layers(block: Block, layers: list[nn.Module]) -> list[nn.Module]:
    """Return the layers of a block with the sum of its input and output, if it has one, and dropout."""
    from torch import nn

    from models.layers import Residual, dropout_layers

    if block.skip:
        layers = [Residual(nn.Sequential(*layers), nn.Identity())]
    return [*layers, *dropout_layers(block.dropout)]


def with_end(block: Block, input_map: LayerCost, rows: list[LayerCost], name: str) -> list[LayerCost]:
    """Return the rows of a block with those of `end_layers`; its input is kept for the sum."""
    if block.skip:
        kept = input_map.n_values
        rows = [rows[0], *[kept_beside(row, kept) for row in rows[1:]]]
        rows.append(sum_row(rows[-1], kept, name, ("Identity", "Residual")))
    if block.dropout:
        rows[-1] = rows[-1]._replace(modules=(*rows[-1].modules, *dropout_names(block.dropout)))
    return rows


def sum_row(main: LayerCost, kept: int, name: str, modules: tuple[str, ...]) -> LayerCost:
    """Return the row of a sum of `main` and a map of `kept` values, which is computed in place."""
    live = kept + main.n_values
    return main._replace(
        name=f"{name}.sum",
        kind="sum",
        n_params=0,
        n_shared=0,
        macs=0,
        live=live,
        live_int8=live,
        modules=modules,
        stride=1,
    )
