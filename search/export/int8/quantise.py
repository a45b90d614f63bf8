"""Quantise a trained network to an integer network, by static quantisation after training.

As in Jacob et al., arXiv 1712.05877, weights are symmetric int8 with a scale for each filter, maps are int8 with a
zero, and biases are int32. Two additions cost nothing on the device:

- If the next layer is a convolution, each channel of a map has its own scale, which is folded into the weights of that
  convolution (Nagel et al., arXiv 1906.04721, section 4.1).
- A bias is chosen so that the sums of its channel have the same mean as in floating point. Rounding then causes no
  systematic shift (the same paper, section 4.2, here measured on images).

On a training of trial 87 of studies/evolve, the logits of 1,500 held-out training images have a relative error (root
mean square) of 2.3 to 2.7 %, depending on the random sample that the ranges are fitted to. With ranges from the
smallest to the largest value the error is 2.7 to 2.9 %. With such ranges and the bias of the network itself it is
8.9 %, and with one scale for each map 3.3 %. Calibration on 1,000 images is no better than on 500.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from models.build import blank_model, shared_names
from models.cost import FLOAT32_BYTES, compute_cost
from models.layers import Residual, SqueezeExcite
from models.spec import ArchSpec
from search.export.int8.activation import Activated, fit_activation, means_of, rows_of
from search.export.int8.fixed_point import (
    FULL_FREEDOM,
    NO_FREEDOM,
    Freedom,
    Grid,
    fitted_grid,
    mean_windows,
    narrow_factors,
    product_factors,
    quantised_filters,
    shared_filters,
    wide_factors,
)
from search.export.int8.folding import (
    Layer,
    by_filter,
    classifier_weight,
    folded_weight,
    freedom_before,
    layers_of,
    scale_and_shift,
    split_head,
)
from search.export.int8.network import (
    Add,
    Affine,
    AveragePool,
    Classify,
    Convolution,
    FloatArray,
    Int8Array,
    Int8Network,
    MaxPool,
    Mean,
    QuantisationError,
    ReadImage,
    Scale,
    Shape,
    Step,
    Table,
    UInt8Array,
)
from search.export.int8.reference import run_step

# Most images that the ranges of the maps are fitted to.
CALIBRATION_IMAGES = 500
# Most values that exist at once in the maps of all these images; quantising then takes up to 2 GB.
CALIBRATION_VALUES = 2**26


def quantise(
    arch: ArchSpec, state: Mapping[str, Tensor], images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Int8Network:
    """Return the int8 form of a trained network; equal arguments give equal integers.

    state      state_dict of build_model(arch)
    images     training images, uint8 (N, C, H, W), of which at most CALIBRATION_IMAGES, evenly spaced, are used, and
               fewer if their maps are large
    mean, std  mean and standard deviation of each channel, by which training normalised

    Raises QuantisationError for a network that has no int8 form.
    """
    model = blank_model(arch)
    model.load_state_dict(state)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values()):
        raise QuantisationError("the weights are not all finite")
    cost = compute_cost(arch)
    values_at_once = cost.peak_activation_bytes // FLOAT32_BYTES
    n_used = min(CALIBRATION_IMAGES, max(1, CALIBRATION_VALUES // values_at_once))
    calibration = images[:: -(-len(images) // n_used)]
    model.eval().requires_grad_(False)
    shared = {model.get_parameter(owner) for owner in shared_names(model).values()}
    layers = layers_of((layer for part in model.children() for layer in part.children()), shared)
    body, classifier, pooled = split_head(layers)
    quantiser = _Quantiser(shared)
    with torch.inference_mode():
        signal = quantiser.read(calibration, mean, std, [*body, classifier])
        signal = quantiser.run_layers(signal, body, [classifier])
        last, logit_scale = quantiser.classify(signal, classifier.module, pooled)
    method = f"after training, ranges fitted to {len(calibration)} training images"
    maps, steps = tuple(quantiser.maps), tuple(quantiser.steps)
    return Int8Network(arch.input_shape, maps, steps, last, logit_scale, cost.n_params, cost.n_stored, method)


@dataclass
class _Signal:
    """Map of the integer network: its number, its exact values and its levels, (N, C, H, W) each, and their grid."""

    number: int
    exact: Tensor
    levels: Int8Array
    grid: Grid


class _Quantiser:
    """Quantiser that adds steps and maps in forward order.

    Each layer is fitted to the levels that the integer network computes for its input, not to exact values.

    shared: the weights that several layers have
    """

    def __init__(self, shared: Collection[Tensor]) -> None:
        self.shared = shared
        self.steps: list[Step] = []
        self.maps: list[Shape] = []

    def _run(self, step: Step, sources: Sequence[_Signal], exact: Tensor, grid: Grid) -> _Signal:
        maps = {source.number: source.levels for source in sources}
        return self._append(step, maps, np.empty(0, np.uint8), exact, grid)

    def _append(self, step: Step, maps: dict[int, Int8Array], images: UInt8Array, exact: Tensor, grid: Grid) -> _Signal:
        run_step(step, maps, images)
        self.steps.append(step)
        levels = maps[step.target]
        if step.target == len(self.maps):
            _, channels, height, width = levels.shape
            self.maps.append((channels, height, width))
        return _Signal(step.target, exact, levels, grid)

    def read(self, images: Tensor, mean: Sequence[float], std: Sequence[float], following: Sequence[Layer]) -> _Signal:
        """Add the step that reads grey levels into the first map, whose grid contains the normalisation.

        following: the layers that read the map
        """
        means, deviations = np.array(mean, np.float64), np.array(std, np.float64)
        black, white = -means / deviations, (1 - means) / deviations
        grid = fitted_grid(np.stack([black, white], 1), freedom_before(following))
        factor = (white - black) / 255 / grid.scale
        offset = (black - grid.centre) / grid.scale + grid.zero
        step = ReadImage(0, *narrow_factors(factor, np.zeros_like(factor), offset))
        exact = (images.float() / 255 - _channels(means)) / _channels(deviations)
        return self._append(step, {}, images.numpy(), exact, grid)

    def run_layers(self, signal: _Signal, layers: Sequence[Layer], following: Sequence[Layer] = ()) -> _Signal:
        """Add the steps of `layers`, which read `signal`, and return their output.

        following: the layers that read the output
        """
        for i, layer in enumerate(layers):
            match layer.module:
                case nn.Conv2d() as conv:
                    signal = self._convolve(signal, conv, layer, [*layers[i + 1 :], *following])
                case Residual() as block:
                    signal = self._residual(signal, block, layer)
                case SqueezeExcite() as squeeze:
                    factors = self.run_layers(signal, layers_of(squeeze.children(), self.shared))
                    signal = self._scale(signal, factors)
                case nn.MaxPool2d(kernel_size=int(size)) as pool:
                    step = MaxPool(signal.number, len(self.maps), size)
                    signal = self._run(step, [signal], pool(signal.exact), signal.grid)
                case nn.AvgPool2d(kernel_size=int(size)) as pool:
                    exact = pool(signal.exact)
                    grid, rescaling = _averages(signal.grid, exact, size * size)
                    signal = self._run(
                        AveragePool(signal.number, len(self.maps), size, *rescaling), [signal], exact, grid
                    )
                case pool:
                    exact = pool(signal.exact)
                    grid, rescaling = _averages(signal.grid, exact, signal.levels[0, 0].size)
                    signal = self._run(Mean(signal.number, len(self.maps), *rescaling), [signal], exact, grid)
        return signal

    def _convolve(self, signal: _Signal, conv: nn.Conv2d, layer: Layer, following: Sequence[Layer]) -> _Signal:
        exact = conv(signal.exact)
        exact = layer.shuffle(exact) if layer.shuffle else exact
        exact = layer.norm(exact) if layer.norm else exact
        freedom = FULL_FREEDOM if layer.norm_after else freedom_before(following)
        activated = fit_activation(exact, layer.activation, freedom)
        step = _convolution(signal, conv, layer, exact, activated.before, len(self.maps))
        output = self._table(self._run(step, [signal], activated.exact, activated.before), activated)
        return self._affine(output, layer.norm_after, freedom_before(following)) if layer.norm_after else output

    def _table(self, signal: _Signal, activated: Activated) -> _Signal:
        if activated.table is None:
            return replace(signal, grid=activated.after)
        return self._run(Table(signal.number, activated.table), [signal], activated.exact, activated.after)

    def _affine(self, signal: _Signal, norm: nn.BatchNorm2d, freedom: Freedom) -> _Signal:
        """Apply batch norm after an activation: in the grid if the next layer allows it, otherwise as a step."""
        factor, offset = scale_and_shift(norm)
        exact = norm(signal.exact)
        scale, centre = signal.grid.scale * factor, signal.grid.centre * factor + offset
        if freedom.scales and freedom.centres and (freedom.signs or bool((scale >= 0).all())):
            return _Signal(signal.number, exact, signal.levels, Grid(scale, signal.grid.zero, centre))
        grid = fitted_grid(rows_of(exact), freedom)
        zero = np.full_like(scale, signal.grid.zero)
        factors = narrow_factors(scale / grid.scale, zero, (centre - grid.centre) / grid.scale + grid.zero)
        return self._run(Affine(signal.number, *factors), [signal], exact, grid)

    def _scale(self, signal: _Signal, factors: _Signal) -> _Signal:
        """Add the multiplication by the factors of squeeze-and-excitation, which makes all scales smaller."""
        exact, grid = signal.exact * factors.exact, signal.grid
        scale = np.where(grid.scale == 0, 1, grid.scale)
        factor = fitted_grid(rows_of(exact) / scale[:, None], NO_FREEDOM)
        rescaling = product_factors(float(factors.grid.scale[0] / factor.scale[0]), factor.zero)
        step = Scale(factors.number, signal.number, grid.zero, *rescaling)
        return self._run(step, [factors, signal], exact, Grid(grid.scale * factor.scale, factor.zero, grid.centre))

    def _residual(self, signal: _Signal, block: Residual, layer: Layer) -> _Signal:
        main = self.run_layers(signal, layers_of(block.main, self.shared))
        shortcut = self.run_layers(signal, layers_of([block.shortcut], self.shared))
        activated = fit_activation(main.exact + shortcut.exact, layer.activation, NO_FREEDOM)
        grid = activated.before
        factor = np.array([main.grid.scale[0], shortcut.grid.scale[0]]) / grid.scale[0]
        zero = np.array([main.grid.zero, shortcut.grid.zero], np.float64)
        # Each of the two offsets contains the half for rounding to nearest, but the sum needs it only once.
        multiplier, offset, shift = narrow_factors(factor, zero, np.array([grid.zero, -0.5]))
        step = Add(main.number, shortcut.number, int(multiplier[0]), int(multiplier[1]), int(offset.sum()), shift)
        return self._table(self._run(step, [main, shortcut], activated.exact, grid), activated)

    def classify(self, signal: _Signal, module: nn.Module, pooled: bool) -> tuple[Classify, float]:
        """Return the last layer and the real value of one unit of its logits."""
        channels, height, width = signal.levels.shape[1:]
        weight = classifier_weight(module, channels)
        inputs = signal.levels - np.float64(signal.grid.zero)
        exact = signal.exact
        if pooled:
            inputs, exact = inputs.sum((2, 3), keepdims=True), exact.mean((2, 3), keepdim=True)
        expected = module(exact.flatten(1) if isinstance(module, nn.Linear) else exact)
        n_summed = height * width if pooled else 1
        weight = weight.reshape(len(weight), channels, *inputs.shape[2:])
        filters = quantised_filters(
            weight * signal.grid.scale[:, None, None] / n_summed, inputs.mean(0), means_of(expected), n_summed
        )
        scale = float(filters.unit.max())
        factors = wide_factors(filters.unit / scale)
        return Classify(signal.number, filters.weight, filters.bias, *factors, signal.grid.zero, pooled), scale


def _averages(grid: Grid, exact: Tensor, n_summed: int) -> tuple[Grid, tuple[int, int, int]]:
    """Return the grid of averages of a map, and the multiplier, offset and shift from sums of its levels to it.

    One factor makes the scales of all channels smaller, because averages vary less.

    grid      grid of the map
    exact     exact averages, (N, C, H, W)
    n_summed  number of values in each average
    """
    scale = np.where(grid.scale == 0, 1, grid.scale)  # batch norm may multiply a channel by 0
    factor = fitted_grid((rows_of(exact) - grid.centre[:, None]) / scale[:, None], NO_FREEDOM)
    (multiplier,), shift = wide_factors(1 / (factor.scale[:1] * n_summed))
    offset = (factor.zero << shift) + (1 << (shift - 1)) - grid.zero * n_summed * int(multiplier)
    return Grid(grid.scale * factor.scale, factor.zero, grid.centre), (int(multiplier), offset, shift)


def _convolution(signal: _Signal, conv: nn.Conv2d, layer: Layer, exact: Tensor, grid: Grid, target: int) -> Convolution:
    """Return the step from `signal` to map `target` with `grid`; exact: its output before any activation."""
    side, padding, stride, groups = conv.kernel_size[0], int(conv.padding[0]), conv.stride[0], conv.groups
    windows = mean_windows(signal.levels - np.float64(signal.grid.zero), side, padding, stride)
    windows = by_filter(windows, groups, conv.out_channels)
    scale = by_filter(signal.grid.scale, groups, conv.out_channels)
    means = means_of(exact) - grid.centre
    if layer.is_shared:
        norm_factor = scale_and_shift(layer.norm)[0] if layer.norm else 1.0
        factor = np.broadcast_to(scale[:, 0], len(means)) * norm_factor
        filters = shared_filters(folded_weight(conv, shuffle=layer.shuffle), factor, windows, means)
    else:
        filters = quantised_filters(
            folded_weight(conv, layer.norm, layer.shuffle) * scale[:, :, None, None], windows, means
        )
    factors = wide_factors(filters.unit / grid.scale)
    zeros = signal.grid.zero, grid.zero
    return Convolution(signal.number, target, filters.weight, filters.bias, *factors, *zeros, padding, stride, groups)


def _channels(values: FloatArray) -> Tensor:
    return torch.from_numpy(values).float().view(-1, 1, 1)
