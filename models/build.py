"""From a spec to a torch module."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from models.blocks import BLOCKS, HEADS
from models.cost import trace_features
from models.spec import ArchSpec


def build_model(spec: ArchSpec) -> nn.Sequential:
    """The network of `spec`, with PyTorch's default initialisation drawn from torch's global generator.

    Input (N, C, H, W) float32, output (N, n_classes) logits. Children are stage1, stage2, ... and head, each a flat
    nn.Sequential; the state_dict keys of the same spec are always the same.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    channels = spec.input_shape[0]
    for i, stage in enumerate(spec.stages, start=1):
        layers: list[nn.Module] = []
        for block in stage.blocks:
            layers += BLOCKS[block.kind].modules(block, channels)
            channels = block.out_channels
        if stage.pool:
            layers.append(nn.MaxPool2d(stage.pool))
        parts[f"stage{i}"] = nn.Sequential(*layers)
    last_map = trace_features(spec)[-1]
    parts["head"] = nn.Sequential(*HEADS[spec.head.kind].modules(spec.head, last_map, spec.n_classes))
    return nn.Sequential(parts)
