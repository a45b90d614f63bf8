"""Layers of blocks and heads that need torch: activations, normalisation, dropout, and modules that PyTorch lacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layer_cost import ACTIVATION_LAYERS, POOL_LAYERS
from models.spec import Block


class UnscaledBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that adds a bias and has no weight, so that no counter of parameters finds one."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.register_parameter("weight", None)


def norm_and_activation(block: Block, channels: int, *, activate: bool = True) -> list[nn.Module]:
    """Return batch norm and activation of a block in its order, without those that the block lacks.

    activate: False leaves the activation out.
    """
    kind = nn.BatchNorm2d if block.norm_scale else UnscaledBatchNorm2d
    norm: list[nn.Module] = [kind(channels)] if block.batch_norm else []
    activation = [activation_layer(block.activation)] if block.activation and activate else []
    return norm + activation if block.order == "conv-bn-act" else activation + norm


def activation_layer(name: str) -> nn.Module:
    """Return the layer of an activation, one of models.spec.ACTIVATIONS."""
    kind, arguments = ACTIVATION_LAYERS[name]
    layer: nn.Module = getattr(nn, kind)(**arguments)
    return layer


def pool_layer(kind: str, size: int) -> nn.Module:
    """Return a pool of side and stride `size`; kind: one of models.spec.POOL_KINDS."""
    layer: nn.Module = getattr(nn, POOL_LAYERS[kind][1])(size)
    return layer


def dropout_layers(p: float) -> list[nn.Module]:
    """Return a list of one dropout layer of probability p, or an empty list where p is 0."""
    return [nn.Dropout(p)] if p else []


class Residual(nn.Module):
    """Module that returns main(x) + shortcut(x), from (N, C, H, W) to (N, out_channels, H, W)."""

    def __init__(self, main: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.main(x), self.shortcut(x))


class SqueezeExcite(nn.Module):
    """Module that multiplies each channel of (N, channels, H, W) by a factor from 0 to 1.

    The factors are computed from the means of all channels, by two 1x1 convolutions with `squeezed` channels between
    them and a hard sigmoid (Hu, arXiv 1709.01507; Howard, arXiv 1905.02244, section 5.3).
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.channels, self.squeezed = channels, squeezed
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        factors: Tensor = self.gate(self.expand(self.activation(self.reduce(self.squeeze(x)))))
        return x * factors


class FirstChannels(nn.Module):
    """Module that returns the first n_channels of (N, C), multiplied by one factor, as (N, n_channels)."""

    # The mean of a map after batch norm and activation is rarely above 1. Logits that small would leave every class
    # likely, so training starts from a larger factor.
    START = 4.0

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.weight = nn.Parameter(torch.full((1,), self.START))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : self.n_channels] * self.weight
