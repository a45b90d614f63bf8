"""Read the modules of a network as layers for an integer network, with batch norm folded and dropout removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from models.layers import FirstChannels, Residual, SqueezeExcite
from search.export.int8.fixed_point import NO_FREEDOM, Freedom
from search.export.int8.network import FloatArray, QuantisationError

_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.Hardswish, nn.GELU, nn.Hardsigmoid)
_LAYERS = (
    nn.Conv2d,
    nn.Linear,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    Residual,
    SqueezeExcite,
    FirstChannels,
)
# Modules without effect in evaluation mode; flattening keeps the values and their order.
_WITHOUT_EFFECT = (nn.Dropout, nn.Flatten, nn.Identity)


@dataclass
class Layer:
    """Layer with the modules that follow it.

    norm        batch norm that can be folded into the layer
    activation  activation after the layer and `norm`
    norm_after  batch norm after the activation
    shuffle     channel shuffle between the layer and `norm`
    is_shared   whether another layer has the same weights
    """

    module: nn.Module
    norm: nn.BatchNorm2d | None = None
    activation: nn.Module | None = None
    norm_after: nn.BatchNorm2d | None = None
    shuffle: nn.ChannelShuffle | None = None
    is_shared: bool = False


def layers_of(modules: Iterable[nn.Module], shared: Collection[Tensor] = ()) -> list[Layer]:
    """Group modules, in forward order, into layers. Raises QuantisationError for a module that has no integer form.

    shared: the weights that several layers have
    """
    layers: list[Layer] = []
    for module in modules:
        if isinstance(module, _LAYERS):
            weighted = module.reduce if isinstance(module, SqueezeExcite) else module
            layers.append(Layer(module, is_shared=isinstance(weighted, nn.Conv2d) and weighted.weight in shared))
        elif isinstance(module, nn.ChannelShuffle) and layers and isinstance(layers[-1].module, nn.Conv2d):
            layers[-1].shuffle = module
        elif isinstance(module, _ACTIVATIONS):
            layers[-1].activation = module
        elif isinstance(module, nn.BatchNorm2d) and layers[-1].activation is None:
            layers[-1].norm = module
        elif isinstance(module, nn.BatchNorm2d):
            layers[-1].norm_after = module
        elif not isinstance(module, _WITHOUT_EFFECT):
            raise QuantisationError(f"no integer form is known for a layer of type {type(module).__name__}")
    for layer in layers:
        if isinstance(layer.module, nn.Conv2d) and not _has_integer_form(layer.module, layer.shuffle):
            shuffled = f", then {layer.shuffle}" if layer.shuffle else ""
            raise QuantisationError(f"no integer form is known for a convolution like {layer.module}{shuffled}")
    return layers


def _has_integer_form(conv: nn.Conv2d, shuffle: nn.ChannelShuffle | None) -> bool:
    """Return whether filter o, in the order of the shuffled channels, reads group o % groups."""
    if shuffle is None:
        return conv.groups == 1 or conv.groups == conv.in_channels == conv.out_channels
    return conv.groups == shuffle.groups and conv.kernel_size == conv.stride == (1, 1)


def by_filter(values: FloatArray, groups: int, n_filters: int) -> FloatArray:
    """Return values of the channels (C, ...) as the filters of a convolution read them, (O, C / groups, ...)."""
    if groups == 1:
        return values[None]
    grouped = values.reshape(groups, -1, *values.shape[1:])
    return grouped[np.arange(n_filters) % groups]


def split_head(layers: list[Layer]) -> tuple[list[Layer], Layer, bool]:
    """Return the layers before the classifier, the classifier, and whether it reads the means of the channels.

    A 1x1 convolution before global average pooling can be computed after it. The means then need no rounding.
    """
    body = list(layers)
    last = body.pop()
    if isinstance(last.module, nn.AdaptiveAvgPool2d):
        return body[:-1], body[-1], True
    if body and isinstance(body[-1].module, nn.AdaptiveAvgPool2d):
        return body[:-1], last, True
    return body, last, False


def freedom_before(following: Sequence[Layer]) -> Freedom:
    """Return the freedom between the channels of a map that is the input of the layers `following`.

    No layers mean that the map is an input of a sum.
    """
    scales = centres = signs = True
    for layer in following:
        match layer.module:
            case nn.Conv2d() as conv:
                # Layers that share weights have the same integers only if no scale of a channel is folded into them.
                # If a filter reads one channel, as in a depthwise convolution, such a scale goes into its factor.
                scales &= (conv.groups > 1 and conv.weight.shape[1] == 1) or not layer.is_shared
                return Freedom(scales, centres=centres and conv.padding[0] == 0, signs=signs and scales)
            case nn.Linear() | FirstChannels():
                return Freedom(scales, centres, signs=signs and scales)
            case nn.MaxPool2d():
                signs = False
            case SqueezeExcite():
                # A factor multiplies the distance from 0, and its first layer reads the means of the channels.
                centres = False
                scales &= not layer.is_shared
            case Residual():
                break
    return NO_FREEDOM


def folded_weight(
    module: nn.Module, norm: nn.BatchNorm2d | None = None, shuffle: nn.ChannelShuffle | None = None
) -> FloatArray:
    """Return the weight (O, C / groups, k, k) or (O, n), in shuffled order, times the factor of the batch norm."""
    assert isinstance(module, nn.Conv2d | nn.Linear)
    tensor = module.weight.double()
    weight: FloatArray = (tensor if shuffle is None else shuffle(tensor.transpose(0, 1)).transpose(0, 1)).numpy()
    return weight if norm is None else weight * scale_and_shift(norm)[0][:, None, None, None]


def classifier_weight(module: nn.Module, channels: int) -> FloatArray:
    """Return the weight (O, C, k, k) or (O, n) of the last layer, whose input has that many channels."""
    if isinstance(module, FirstChannels):
        return np.eye(module.n_channels, channels) * module.weight.item()
    return folded_weight(module)


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[FloatArray, FloatArray]:
    """Return the factor and the offset of batch norm in evaluation mode, (C,) each."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    # torch's annotations do not tell that a batch norm may have no weight.
    weight: Tensor | None = norm.weight
    factor = (1.0 if weight is None else weight.double()) / (norm.running_var.double() + norm.eps).sqrt()
    offset = norm.bias.double() - norm.running_mean.double() * factor
    return factor.numpy(), offset.numpy()
