"""Rows of the layer table, computed by arithmetic from the row before.

Receptive field: rf += (kernel - 1) * jump; jump *= stride (Araujo, Norris, Sim 2019, doi 10.23915/distill.00021).
Multiply-adds are those of convolutions and linear layers, without biases, batch norm and activations.
"""

from __future__ import annotations

from typing import NamedTuple


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
    n_shared: int = 0  # weights and biases that belong to an earlier layer; n_params does not count them again

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
) -> LayerCost:
    """Return the row of a convolution of stride 1 and of the batch norm after it.

    norm: number of batch-norm parameters a channel. shared: whether the weights belong to an earlier layer.
    """
    height, width = input_map.height - shrink, input_map.width - shrink
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
        input_map.channels * input_map.height * input_map.width + channels * height * width,
        conv_params if shared else 0,
    )


def pool_cost(size: int, input_map: LayerCost, name: str) -> LayerCost:
    """Return the row of a max pool of side and stride `size`."""
    return pool_row(name, f"max pool {size}x{size}", input_map, input_map.height // size, input_map.width // size, size)


def pool_row(name: str, kind: str, input_map: LayerCost, height: int, width: int, size: int) -> LayerCost:
    """Return the row of a pool of side and stride `size` whose output map is height x width."""
    live = input_map.n_values + input_map.channels * height * width
    rf = input_map.receptive_field + (size - 1) * input_map.jump
    return LayerCost(name, kind, input_map.channels, height, width, rf, input_map.jump * size, 0, 0, live)
