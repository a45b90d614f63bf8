"""Rows of the layer table, computed by arithmetic from the row before.

Receptive field: rf += (kernel - 1) * jump; jump *= stride (Araujo, Norris, Sim 2019, doi 10.23915/distill.00021).
Multiply-adds are those of convolutions and linear layers, without biases, batch norm and activations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

# Class of torch.nn of each activation of models.spec.ACTIVATIONS, with its arguments.
ACTIVATION_LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("ReLU", {"inplace": True}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01, "inplace": True}),
    "silu": ("SiLU", {}),
    "hardswish": ("Hardswish", {}),
    "gelu": ("GELU", {}),
}


class LayerCost(NamedTuple):
    """Row of the layer table, which states the map after a layer and the cost of the layer for one image."""

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
    live_int8: int  # bytes of the maps that exist in the int8 program while the layer runs; see models.cost.Cost
    n_shared: int = 0  # weights and biases that belong to an earlier layer; n_params does not count them again
    modules: tuple[str, ...] = ()  # classes of the PyTorch modules of the layer, in forward order

    @property
    def n_values(self) -> int:
        """Return the number of values in the map after the layer."""
        return self.channels * self.height * self.width


def conv_row(
    name: str,
    kind: str,
    input_map: LayerCost,
    channels: int,
    kernel: int,
    shrink: int,
    groups: int,
    *,
    bias: bool = False,
    norm: int = 0,
    shared: bool = False,
    modules: tuple[str, ...] = ("Conv2d",),
) -> LayerCost:
    """Return the row of a convolution of stride 1 and of the batch norm after it.

    norm: number of batch-norm parameters a channel. shared: whether the weights belong to an earlier layer. modules:
    classes of the PyTorch modules
    """
    height, width = input_map.height - shrink, input_map.width - shrink
    live = input_map.n_values + channels * height * width
    # A depthwise convolution reads a pixel of zeros wherever its kernel is outside the map.
    padding_pixel = input_map.channels if groups > 1 and shrink < kernel - 1 else 0
    weights = kernel * kernel * (input_map.channels // groups) * channels
    conv_params = weights + bias * channels
    return LayerCost(
        name,
        f"{kind}, shared" if shared else kind,
        channels,
        height,
        width,
        input_map.receptive_field + (kernel - 1) * input_map.jump,
        input_map.jump,
        (0 if shared else conv_params) + channels * norm,
        weights * height * width,
        live,
        live + padding_pixel,
        conv_params if shared else 0,
        modules,
    )


def pool_cost(size: int, input_map: LayerCost, name: str) -> LayerCost:
    """Return the row of a max pool of side and stride `size`."""
    height, width = input_map.height // size, input_map.width // size
    return pool_row(name, f"max pool {size}x{size}", input_map, height, width, size, ("MaxPool2d",))


def pool_row(
    name: str, kind: str, input_map: LayerCost, height: int, width: int, size: int, modules: tuple[str, ...]
) -> LayerCost:
    """Return the row of a pool of side and stride `size` whose output map is height x width.

    In int8 the output overwrites the input.
    """
    n_pooled = input_map.channels * height * width
    live, live_int8 = input_map.n_values + n_pooled, input_map.n_values
    rf, jump = input_map.receptive_field + (size - 1) * input_map.jump, input_map.jump * size
    return LayerCost(name, kind, input_map.channels, height, width, rf, jump, 0, 0, live, live_int8, 0, modules)


def pooled_rows(convolution: LayerCost, pool: LayerCost) -> tuple[LayerCost, LayerCost]:
    """Return the rows of a convolution and the max pool after it, which the int8 program computes at once.

    The map between them never exists in the int8 program.
    """
    live_int8 = convolution.live_int8 - convolution.n_values + pool.n_values
    return convolution._replace(live_int8=live_int8), pool._replace(live_int8=live_int8)


class ModuleCost(NamedTuple):
    """PyTorch module: its class, the shape of its output for one image, and the number of parameters that it holds.

    Modules that share parameters hold them each, as torchsummary counts.
    """

    kind: str
    shape: tuple[int, ...]
    n_params: int


# Number of parameters a channel.
_NORM_PARAMS = {"BatchNorm2d": 2, "UnscaledBatchNorm2d": 1}
_HOLD_WEIGHTS = ("Conv2d", "Linear", "FirstChannels")


def module_costs(input_shape: tuple[int, int, int], layers: Iterable[LayerCost]) -> list[ModuleCost]:
    """Return the PyTorch modules of all layers, in forward order."""
    modules, shape = [], tuple(input_shape)
    for row in layers:
        norm_params = {kind: row.channels * _NORM_PARAMS[kind] for kind in row.modules if kind in _NORM_PARAMS}
        weights = row.n_params + row.n_shared - sum(norm_params.values())
        for kind in row.modules:
            if kind == "Flatten":
                shape = (math.prod(shape),)
            elif kind != "Dropout":
                shape = (row.channels,) if len(shape) == 1 else (row.channels, row.height, row.width)
            modules.append(ModuleCost(kind, shape, weights if kind in _HOLD_WEIGHTS else norm_params.get(kind, 0)))
    return modules
