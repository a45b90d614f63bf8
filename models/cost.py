"""Count the cost of a network by arithmetic alone: no tensor, no module, tens of thousands of networks a second."""

from __future__ import annotations

from dataclasses import dataclass

from models.blocks import BLOCKS, LayerCost, pool_cost
from models.heads import HEADS
from models.spec import ArchSpec

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass over one image.

    n_params                 every trainable number, batch-norm weight and bias included, buffers excluded; weights that
                             layers share count once
    n_stored                 the same where every layer has a copy of its weights: what files of them hold
    macs                     multiply-adds of convolutions and linear layers
    peak_activation_bytes    the largest sum of maps that must exist at once, in float32 (a quarter of it in int8);
                             batch norm, activation and dropout work in place
    receptive_field          in input pixels, at the logits; not clipped to the image
    feature_receptive_field  the same at the last map before the head pools or flattens it
    layers                   one row a layer, in forward order
    """

    n_params: int
    n_stored: int
    macs: int
    peak_activation_bytes: int
    receptive_field: int
    feature_receptive_field: int
    layers: tuple[LayerCost, ...]

    @property
    def peak_activation_values(self) -> int:
        """Peak of the activations as a number of values, of whatever size."""
        return self.peak_activation_bytes // FLOAT32_BYTES


def trace_features(spec: ArchSpec) -> list[LayerCost]:
    """The rows of all stages, headed by a row for the input itself."""
    channels, height, width = spec.input_shape
    rows = [LayerCost("input", "input", channels, height, width, 1, 1, 0, 0, channels * height * width)]
    for i, stage in enumerate(spec.stages, start=1):
        for j, block in enumerate(stage.blocks, start=1):
            rows += BLOCKS[block.kind].cost(block, rows[-1], f"stage{i}.block{j}")
        if stage.pool:
            rows.append(pool_cost(stage.pool, rows[-1], f"stage{i}.pool"))
    return rows


def compute_cost(spec: ArchSpec) -> Cost:
    """Parameters, multiply-adds, activation memory and receptive field of `spec`, in total and by layer."""
    features = trace_features(spec)
    layers = features[1:] + HEADS[spec.head.kind].cost(spec.head, features[-1], spec.n_classes)
    n_params = sum([row.n_params for row in layers])
    return Cost(
        n_params=n_params,
        n_stored=n_params + sum([row.n_shared for row in layers]),
        macs=sum([row.macs for row in layers]),
        peak_activation_bytes=FLOAT32_BYTES * max([row.live for row in layers]),
        receptive_field=layers[-1].receptive_field,
        feature_receptive_field=features[-1].receptive_field,
        layers=tuple(layers),
    )
