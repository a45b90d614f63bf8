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
    stride: int = 1  # of the window that the layer slides over its input

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
    stride: int = 1,
    modules: tuple[str, ...] = ("Conv2d",),
) -> LayerCost:
    """Return the row of a convolution and of the batch norm after it.

    shrink: rows and columns that the kernel cuts off, before the stride. norm: number of batch-norm parameters a
    channel. shared: whether the weights belong to an earlier layer. modules: classes of the PyTorch modules
    """
    height, width = input_map.height - shrink, input_map.width - shrink
    if stride > 1:
        height, width = (height - 1) // stride + 1, (width - 1) // stride + 1
        kind = f"{kind}, stride {stride}"
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
        input_map.jump * stride,
        (0 if shared else conv_params) + channels * norm,
        weights * height * width,
        live,
        live + padding_pixel,
        conv_params if shared else 0,
        modules,
        stride,
    )


# Words of the layer table and class of torch.nn of each kind of models.spec.POOL_KINDS.
POOL_LAYERS = {"max": ("max pool", "MaxPool2d"), "avg": ("average pool", "AvgPool2d")}


def pool_cost(kind: str, size: int, input_map: LayerCost, name: str) -> LayerCost:
    """Return the row of a pool of side and stride `size`; kind: one of models.spec.POOL_KINDS."""
    height, width = input_map.height // size, input_map.width // size
    words, module = POOL_LAYERS[kind]
    return pool_row(name, f"{words} {size}x{size}", input_map, height, width, size, (module,))


def pool_row(
    name: str, kind: str, input_map: LayerCost, height: int, width: int, size: int, modules: tuple[str, ...]
) -> LayerCost:
    """Return the row of a pool of side and stride `size` whose output map is height x width.

    In int8 the output overwrites the input.
    """
    n_pooled = input_map.channels * height * width
    live, live_int8 = input_map.n_values + n_pooled, input_map.n_values
    rf, jump = input_map.receptive_field + (size - 1) * input_map.jump, input_map.jump * size
    return LayerCost(name, kind, input_map.channels, height, width, rf, jump, 0, 0, live, live_int8, 0, modules, size)


def squeeze_rows(squeezed: int, input_map: LayerCost, name: str, *, shared: bool) -> list[LayerCost]:
    """Return the rows of squeeze-and-excitation: the means, two 1x1 convolutions with biases, and the multiplication.

    The map waits while its factors are computed. The receptive field is that of the map: the factors depend on the
    whole map, but not on where a pixel is.

    squeezed: width between the two convolutions
    """
    channels = input_map.channels
    means = pool_row(f"{name}.squeeze", "global average pool", input_map, 1, 1, 1, ("AdaptiveAvgPool2d",))
    # Side and stride of the window are the longer side, as for the global pool of a head.
    side = max(input_map.height, input_map.width)
    rf, jump = input_map.receptive_field + (side - 1) * input_map.jump, input_map.jump * side
    means = means._replace(receptive_field=rf, jump=jump, live_int8=means.live, stride=side)
    reduce = conv_row(
        f"{name}.reduce", "conv 1x1", means, squeezed, 1, 0, 1, bias=True, shared=shared, modules=("Conv2d", "ReLU")
    )
    expand = conv_row(
        *(f"{name}.expand", "conv 1x1", reduce, channels, 1, 0, 1),
        bias=True,
        shared=shared,
        modules=("Conv2d", "Hardsigmoid"),
    )
    waiting = input_map.n_values
    return [
        means,
        kept_beside(reduce, waiting),
        kept_beside(expand, waiting),
        input_map._replace(
            name=f"{name}.scale",
            kind="scale",
            n_params=0,
            macs=0,
            live=waiting + channels,
            live_int8=waiting + channels,
            n_shared=0,
            modules=("SqueezeExcite",),
            stride=1,
        ),
    ]


def kept_beside(row: LayerCost, n_values: int) -> LayerCost:
    """Return the row of a layer that runs while another map of `n_values` values is kept for a later layer."""
    return row._replace(live=row.live + n_values, live_int8=row.live_int8 + n_values)


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
