"""Build the PyTorch module that a spec describes."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from models.blocks import BLOCKS
from models.cost import trace_features
from models.heads import HEADS
from models.layers import pool_layer
from models.spec import ArchSpec, WeightShapes


def build_model(spec: ArchSpec) -> nn.Sequential:
    """Build the network of `spec`, with PyTorch's default initialisation drawn from torch's global generator.

    Input (N, C, H, W) float32, output (N, n_classes) logits. Children are stage1, stage2, ... and head, each a flat
    nn.Sequential. The state_dict keys depend on the spec alone. Layers that share weights hold the same nn.Parameter;
    the state_dict lists it under the name of each of these layers.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    owners: dict[WeightShapes, list[nn.Conv2d]] = {}
    channels = spec.input_shape[0]
    for i, stage in enumerate(spec.stages, start=1):
        layers: list[nn.Module] = []
        for block in stage.blocks:
            modules = BLOCKS[block.kind].modules(block, channels)
            convs, weights = _convolutions(modules), block.weight_shapes(channels)
            if block.shared:
                _share_weights(convs, owners[weights])
            else:
                owners[weights] = convs
            layers += modules
            channels = block.out_channels
        if stage.pool:
            layers.append(pool_layer(stage.pool_kind, stage.pool))
        parts[f"stage{i}"] = nn.Sequential(*layers)
    last_map = trace_features(spec)[-1]
    parts["head"] = nn.Sequential(*HEADS[spec.head.kind].modules(spec.head, last_map, spec.n_classes))
    return nn.Sequential(parts)


def blank_model(spec: ArchSpec) -> nn.Sequential:
    """Build the network of `spec` without advancing torch's global generator.

    For callers that replace the initial weights or do not use them.
    """
    with torch.random.fork_rng(devices=[]):
        return build_model(spec)


def shared_names(model: nn.Module) -> dict[str, str]:
    """Return the names of parameters that belong to an earlier layer, each with its name in that layer."""
    owners: dict[nn.Parameter, str] = {}
    names = {name: owners.setdefault(value, name) for name, value in model.named_parameters(remove_duplicate=False)}
    return {name: owner for name, owner in names.items() if owner != name}


def _convolutions(modules: list[nn.Module]) -> list[nn.Conv2d]:
    return [inner for module in modules for inner in module.modules() if isinstance(inner, nn.Conv2d)]


def _share_weights(convs: list[nn.Conv2d], owners: list[nn.Conv2d]) -> None:
    for conv, owner in zip(convs, owners, strict=True):
        conv.weight, conv.bias = owner.weight, owner.bias
