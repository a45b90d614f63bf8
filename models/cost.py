"""Compute the cost of a network by arithmetic alone, without tensors or modules.

This takes tens of microseconds a network.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.blocks import BLOCKS
from models.heads import HEADS
from models.layer_cost import LayerCost, pool_cost, pooled_rows
from models.spec import ArchSpec

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one image, in total and by layer.

    n_params                 number of trainable values, batch-norm weight and bias included, buffers excluded; weights
                             that layers share count once
    n_stored                 as n_params, but counted layer by layer, as torchsummary counts: shared weights count in
                             every layer
    macs                     multiply-adds of convolutions and linear layers
    peak_activation_bytes    largest sum of maps that must exist at once, in float32; batch norm, activation and dropout
                             work in place
    peak_activation_bytes_int8  largest sum of maps that exist at once in the exported C program; there a max pool is
                             applied while its input is computed, and logits are not counted
    receptive_field          in input pixels, at the logits; not clipped to the image, and without the factors of
                             squeeze-and-excitation, which depend on the whole image
    feature_receptive_field  receptive field at the last map before the head pools or flattens it
    layers                   one row a layer, in forward order
    """

    n_params: int
    n_stored: int
    macs: int
    peak_activation_bytes: int
    peak_activation_bytes_int8: int
    receptive_field: int
    feature_receptive_field: int
    layers: tuple[LayerCost, ...]


def trace_features(spec: ArchSpec) -> list[LayerCost]:
    """Return the rows of all stages, preceded by a row for the input."""
    channels, height, width = spec.input_shape
    n_values = channels * height * width
    rows = [LayerCost("input", "input", channels, height, width, 1, 1, 0, 0, n_values, n_values)]
    for i, stage in enumerate(spec.stages, start=1):
        for j, block in enumerate(stage.blocks, start=1):
            rows += BLOCKS[block.kind].cost(block, rows[-1], f"stage{i}.block{j}")
        if stage.pool:
            rows.append(pool_cost(stage.pool_kind, stage.pool, rows[-1], f"stage{i}.pool"))
            is_convolution = "Conv2d" in rows[-2].modules and "Residual" not in rows[-2].modules
            if is_convolution and stage.pool_kind == "max":
                rows[-2:] = pooled_rows(*rows[-2:])
    return rows


def compute_cost(spec: ArchSpec) -> Cost:
    """Return the parameters, multiply-adds, activation memory and receptive field of `spec`."""
    features = trace_features(spec)
    layers = features[1:] + HEADS[spec.head.kind].cost(spec.head, features[-1], spec.n_classes)
    n_params = sum([row.n_params for row in layers])
    return Cost(
        n_params=n_params,
        n_stored=n_params + sum([row.n_shared for row in layers]),
        macs=sum([row.macs for row in layers]),
        peak_activation_bytes=FLOAT32_BYTES * max([row.live for row in layers]),
        peak_activation_bytes_int8=max([row.live_int8 for row in layers]),
        receptive_field=layers[-1].receptive_field,
        feature_receptive_field=features[-1].receptive_field,
        layers=tuple(layers),
    )
