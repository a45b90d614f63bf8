"""A trained network to an integer network: static quantisation after training.

As in Jacob et al., arXiv 1712.05877: weights are symmetric int8 with a scale for each filter, maps are int8 with a
zero, biases int32. Beyond it, at no cost on the device: where the next layer is a convolution, each channel of a map
has a scale of its own, which goes into that convolution's weights (Nagel et al., arXiv 1906.04721, section 4.1); and a
bias is what gives the sums of its channel the mean that they have in floating point, so that roundings leave no shift
(section 4.2 there, on images).

On a training of trial 87 of studies/evolve the logits of 1,500 held training images are off by 2.3 to 2.7 %
(relative root mean square; by which values the ranges are fitted to). With ranges from the smallest to the largest
value it is 2.7 to 2.9 %; then with the bias of the network itself 8.9 %, and with one scale a map 3.3 %. 1,000 images
to fit to are no better than 500.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.blocks import Residual
from models.build import blank_model
from models.cost import compute_cost
from models.spec import ArchSpec
from search.export.int8.fixed_point import (
    FULL_FREEDOM,
    NO_FREEDOM,
    Freedom,
    Grid,
    fitted_grid,
    mean_windows,
    narrow_factors,
    quantised_filters,
    wide_factors,
)
from search.export.int8.folding import (
    Layer,
    classifier_weight,
    folded_weight,
    freedom_before,
    layers_of,
    scale_and_shift,
    split_head,
)
from search.export.int8.network import (
    INT8_MAX,
    INT8_MIN,
    Add,
    Affine,
    Classify,
    Convolution,
    FloatArray,
    Int8Array,
    Int8Network,
    MaxPool,
    Mean,
    QuantisationError,
    ReadImage,
    Shape,
    Step,
    Table,
    UInt8Array,
)
from search.export.int8.reference import run_step

# Of the images given, the ranges of the maps are fitted to so many.
CALIBRATION_IMAGES = 500


def quantise(
    arch: ArchSpec, state: Mapping[str, Tensor], images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Int8Network:
    """The int8 form of a trained network; the same arguments give the same integers.

    state      the state_dict of build_model(arch)
    images     training images, uint8 (N, C, H, W); CALIBRATION_IMAGES of them, spread evenly, are used
    mean, std  per channel, of the normalisation in training

    Raises QuantisationError for a network that has no int8 form.
    """
    model = blank_model(arch)
    model.load_state_dict(state)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values()):
        raise QuantisationError("the weights are not all finite")
    chosen = images[:: -(-len(images) // CALIBRATION_IMAGES)]
    model.eval().requires_grad_(False)
    body, classifier, pooled = split_head(layers_of(layer for part in model.children() for layer in part.children()))
    walk = _Walk()
    with torch.inference_mode():
        signal = walk.read(chosen, mean, std, [*body, classifier])
        signal = walk.follow(signal, body, [classifier])
        last, logit_scale = walk.classify(signal, classifier.module, pooled)
    method = f"after training, ranges fitted to {len(chosen)} training images"
    cost = compute_cost(arch)
    maps, steps, shares = tuple(walk.maps), tuple(walk.steps), cost.n_stored > cost.n_params
    return Int8Network(arch.input_shape, maps, steps, last, logit_scale, cost.n_params, shares, method)


@dataclass
class _Signal:
    """The map that the walk has come to: its number, its true values (N, C, H, W), its levels and their grid."""

    number: int
    true: Tensor
    levels: Int8Array
    grid: Grid


@dataclass
class _Activated:
    """Form of an activation: the grid before it, its table if it needs one, true values and grid after it."""

    before: Grid
    table: Int8Array | None
    true: Tensor
    after: Grid


class _Walk:
    """Steps and maps as they are made, in forward order.

    Each layer is fitted to the levels that the integer network really has there.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.maps: list[Shape] = []

    def _run(self, step: Step, sources: Sequence[_Signal], true: Tensor, grid: Grid) -> _Signal:
        maps = {source.number: source.levels for source in sources}
        return self._append(step, maps, np.empty(0, np.uint8), true, grid)

    def _append(self, step: Step, maps: dict[int, Int8Array], images: UInt8Array, true: Tensor, grid: Grid) -> _Signal:
        run_step(step, maps, images)
        self.steps.append(step)
        levels = maps[step.target]
        if step.target == len(self.maps):
            _, channels, height, width = levels.shape
            self.maps.append((channels, height, width))
        return _Signal(step.target, true, levels, grid)

    def read(self, images: Tensor, mean: Sequence[float], std: Sequence[float], rest: Sequence[Layer]) -> _Signal:
        """Convert grey levels to the first map; the normalisation goes into its grid."""
        average, deviation = np.array(mean, np.float64), np.array(std, np.float64)
        black, white = -average / deviation, (1 - average) / deviation
        grid = fitted_grid(np.stack([black, white], 1), freedom_before(rest))
        factor = (white - black) / 255 / grid.scale
        offset = (black - grid.centre) / grid.scale + grid.zero
        step = ReadImage(0, *narrow_factors(factor, np.zeros_like(factor), offset))
        true = (images.float() / 255 - _channels(average)) / _channels(deviation)
        return self._append(step, {}, images.numpy(), true, grid)

    def follow(self, signal: _Signal, layers: Sequence[Layer], after: Sequence[Layer] = ()) -> _Signal:
        """Through `layers`, which `after` follow."""
        for i, layer in enumerate(layers):
            match layer.module:
                case nn.Conv2d() as conv:
                    signal = self._convolve(signal, conv, layer, [*layers[i + 1 :], *after])
                case Residual() as block:
                    signal = self._residual(signal, block, layer)
                case nn.MaxPool2d(kernel_size=int(size)) as pool:
                    step = MaxPool(signal.number, len(self.maps), size)
                    signal = self._run(step, [signal], pool(signal.true), signal.grid)
                case pool:
                    signal = self._mean(signal, pool(signal.true))
        return signal

    def _convolve(self, signal: _Signal, conv: nn.Conv2d, layer: Layer, rest: Sequence[Layer]) -> _Signal:
        true = conv(signal.true)
        true = layer.norm(true) if layer.norm else true
        freedom = FULL_FREEDOM if layer.norm_after else freedom_before(rest)
        activated = _activated(true, layer.activation, freedom)
        step = _convolution(signal, conv, layer.norm, true, activated.before, len(self.maps))
        found = self._run(step, [signal], activated.true, activated.before)
        found = self._table(found, activated)
        return self._affine(found, layer.norm_after, freedom_before(rest)) if layer.norm_after else found

    def _table(self, signal: _Signal, activated: _Activated) -> _Signal:
        if activated.table is None:
            return signal
        return self._run(Table(signal.number, activated.table), [signal], activated.true, activated.after)

    def _affine(self, signal: _Signal, norm: nn.BatchNorm2d, freedom: Freedom) -> _Signal:
        """Batch norm after an activation. Where the next layer can take it, it goes into the grid and is no step."""
        factor, offset = scale_and_shift(norm)
        true = norm(signal.true)
        scale, centre = signal.grid.scale * factor, signal.grid.centre * factor + offset
        if freedom.centres and (freedom.signs or bool((scale >= 0).all())):
            return _Signal(signal.number, true, signal.levels, Grid(scale, signal.grid.zero, centre))
        grid = fitted_grid(_rows(true), freedom)
        zero = np.full_like(scale, signal.grid.zero)
        factors = narrow_factors(scale / grid.scale, zero, (centre - grid.centre) / grid.scale + grid.zero)
        return self._run(Affine(signal.number, *factors), [signal], true, grid)

    def _mean(self, signal: _Signal, true: Tensor) -> _Signal:
        """The mean of a channel keeps its scale but for a factor that is the same in all: means lie closer together."""
        grid = signal.grid
        scale = np.where(grid.scale == 0, 1, grid.scale)  # batch norm may multiply a channel by 0
        own = fitted_grid((_rows(true) - grid.centre[:, None]) / scale[:, None], NO_FREEDOM)
        n_summed = signal.levels[0, 0].size
        (multiplier,), shift = wide_factors(1 / (own.scale[:1] * n_summed))
        offset = (own.zero << shift) + (1 << (shift - 1)) - grid.zero * n_summed * int(multiplier)
        step = Mean(signal.number, len(self.maps), int(multiplier), offset, shift)
        return self._run(step, [signal], true, Grid(grid.scale * own.scale, own.zero, grid.centre))

    def _residual(self, signal: _Signal, block: Residual, layer: Layer) -> _Signal:
        main = self.follow(signal, layers_of(block.main))
        shortcut = self.follow(signal, layers_of([block.shortcut]))
        activated = _activated(main.true + shortcut.true, layer.activation, NO_FREEDOM)
        grid = activated.before
        factor = np.array([main.grid.scale[0], shortcut.grid.scale[0]]) / grid.scale[0]
        zero = np.array([main.grid.zero, shortcut.grid.zero], np.float64)
        # The half that rounds to nearest is needed once.
        multiplier, offset, shift = narrow_factors(factor, zero, np.array([grid.zero, -0.5]))
        step = Add(main.number, shortcut.number, int(multiplier[0]), int(multiplier[1]), int(offset.sum()), shift)
        return self._table(self._run(step, [main, shortcut], activated.true, grid), activated)

    def classify(self, signal: _Signal, module: nn.Module, pooled: bool) -> tuple[Classify, float]:
        """The last layer, and what one unit of its logits is worth."""
        channels, height, width = signal.levels.shape[1:]
        weight = classifier_weight(module, channels)
        inputs = signal.levels - np.float64(signal.grid.zero)
        true = signal.true
        if pooled:
            inputs, true = inputs.sum((2, 3), keepdims=True), true.mean((2, 3), keepdim=True)
        expected = module(true.flatten(1) if isinstance(module, nn.Linear) else true)
        n_summed = height * width if pooled else 1
        weight = weight.reshape(len(weight), channels, *inputs.shape[2:])
        filters = quantised_filters(
            weight * signal.grid.scale[:, None, None] / n_summed, inputs.mean(0), _means(expected), n_summed
        )
        scale = float(filters.unit.max())
        factors = wide_factors(filters.unit / scale)
        return Classify(signal.number, filters.weight, filters.bias, *factors, signal.grid.zero, pooled), scale


def _convolution(
    signal: _Signal, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, true: Tensor, grid: Grid, target: int
) -> Convolution:
    """The step from `signal` to a map whose true values before any activation are `true`."""
    side, padding, depthwise = conv.kernel_size[0], int(conv.padding[0]), conv.groups > 1
    windows = mean_windows(signal.levels - np.float64(signal.grid.zero), side, padding)
    scale = signal.grid.scale[:, None, None]
    if depthwise:
        windows, scale = windows[:, None], scale[:, None]
    filters = quantised_filters(folded_weight(conv, norm) * scale, windows, _means(true) - grid.centre)
    factors = wide_factors(filters.unit / grid.scale)
    zeros = signal.grid.zero, grid.zero
    return Convolution(signal.number, target, filters.weight, filters.bias, *factors, *zeros, padding, depthwise)


def _activated(true: Tensor, activation: nn.Module | None, freedom: Freedom) -> _Activated:
    """Choose the form of an activation of `true`, (N, C, H, W), where what follows leaves `freedom`."""
    if activation is None:
        grid = fitted_grid(_rows(true), freedom)
        return _Activated(grid, None, true, grid)
    after = activation(true.clone())  # some work in place
    if isinstance(activation, nn.ReLU):
        # With 0 at the lowest level the clamp of the convolution is the activation.
        grid = fitted_grid(_rows(after), freedom._replace(centres=False))
        return _Activated(grid, None, after, grid)

    def function(values: FloatArray) -> FloatArray:
        activated: FloatArray = activation(torch.from_numpy(values.copy())).numpy()
        return activated

    # One table for all channels. What the activation flattens needs no levels: the error is counted after it.
    before = fitted_grid(_rows(true), NO_FREEDOM, function)
    grid = fitted_grid(_rows(after), NO_FREEDOM)
    every_level = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int8)[None]
    table = grid.first().quantised(function(before.first().real(every_level)))[0]
    return _Activated(before, table, after, grid)


def _channels(values: FloatArray) -> Tensor:
    return torch.from_numpy(values).float().view(-1, 1, 1)


def _rows(true: Tensor) -> FloatArray:
    """(N, C, H, W) to (C, N * H * W)."""
    rows: FloatArray = true.transpose(0, 1).flatten(1).double().numpy()
    return rows


def _means(true: Tensor) -> FloatArray:
    """The mean of every channel of (N, C) or (N, C, H, W): (C,)."""
    means: FloatArray = true.transpose(0, 1).flatten(1).double().mean(1).numpy()
    return means
