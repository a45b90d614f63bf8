"""The module of a network read as layers that integers can compute: batch norm folded, dropout gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from models.blocks import Residual
from models.heads import FirstChannels
from search.export.int8.fixed_point import NO_FREEDOM, Freedom
from search.export.int8.network import FloatArray

_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.Hardswish, nn.GELU)
_LAYERS = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AdaptiveAvgPool2d, Residual, FirstChannels)
# Nothing in evaluation; a flattened map has the same values in the same order.
_NOTHING = (nn.Dropout, nn.Flatten, nn.Identity)


@dataclass
class Layer:
    """A layer and what follows it: batch norm that folds into it, an activation, batch norm after the activation."""

    module: nn.Module
    norm: nn.BatchNorm2d | None = None
    activation: nn.Module | None = None
    norm_after: nn.BatchNorm2d | None = None


def layers_of(modules: Iterable[nn.Module]) -> list[Layer]:
    """Modules in forward order as layers. Raises TypeError for a module that is not known here."""
    layers: list[Layer] = []
    for module in modules:
        if isinstance(module, _LAYERS):
            layers.append(Layer(module))
        elif isinstance(module, _ACTIVATIONS):
            layers[-1].activation = module
        elif isinstance(module, nn.BatchNorm2d) and layers[-1].activation is None:
            layers[-1].norm = module
        elif isinstance(module, nn.BatchNorm2d):
            layers[-1].norm_after = module
        elif not isinstance(module, _NOTHING):
            raise TypeError(f"no integer form is known for a layer of type {type(module).__name__}")
    return layers


def split_head(layers: list[Layer]) -> tuple[list[Layer], Layer, bool]:
    """Return all layers but the classifying one, that one, and whether it works on the means of the channels.

    A 1x1 convolution and the mean can change places, so that the mean never has to be rounded.
    """
    body = list(layers)
    last = body.pop()
    if isinstance(last.module, nn.AdaptiveAvgPool2d):
        return body[:-1], body[-1], True
    if body and isinstance(body[-1].module, nn.AdaptiveAvgPool2d):
        return body[:-1], last, True
    return body, last, False


def freedom_before(rest: Sequence[Layer]) -> Freedom:
    """Return the freedom between the channels of a map that goes into `rest`; into nothing: into a sum."""
    signs = True
    for layer in rest:
        match layer.module:
            case nn.Conv2d() as conv:
                return Freedom(scales=True, centres=conv.padding[0] == 0, signs=signs)
            case nn.Linear() | FirstChannels():
                return Freedom(scales=True, centres=True, signs=signs)
            case nn.MaxPool2d():
                signs = False
            case Residual():
                break
    return NO_FREEDOM


def folded_weight(module: nn.Module, norm: nn.BatchNorm2d | None = None) -> FloatArray:
    """Weight (O, C, k, k) or (O, n) with the factor of the batch norm in it."""
    assert isinstance(module, nn.Conv2d | nn.Linear)
    weight: FloatArray = module.weight.double().numpy()
    return weight if norm is None else weight * scale_and_shift(norm)[0][:, None, None, None]


def classifier_weight(module: nn.Module, channels: int) -> FloatArray:
    """Weight (O, C, k, k) or (O, n) of the last layer, which sees that many channels."""
    if isinstance(module, FirstChannels):
        return np.eye(module.n_channels, channels) * module.weight.item()
    return folded_weight(module)


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[FloatArray, FloatArray]:
    """Return the factor and the offset of batch norm in evaluation, (C,) each."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    offset = norm.bias.double() - norm.running_mean.double() * factor
    return factor.numpy(), offset.numpy()
