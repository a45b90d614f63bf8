"""Represent real numbers as integers: values of a map as levels, factors as a multiplier and a right shift."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from search.export.int8.network import (
    INT8_MAX,
    INT8_MIN,
    INT32_MAX,
    FloatArray,
    Int8Array,
    Int32Array,
    QuantisationError,
)

Function = Callable[[FloatArray], FloatArray]

STEPS = INT8_MAX - INT8_MIN
# Each end of a range is tried at these shares of the smallest and the largest value of the calibration images.
# Relative error of the logits, measured on a training of trial 87 of the reference study and 1,500 held-out training
# images: 2.7 to 2.9 % with the full range; 2.5, 2.4, 2.8 and 4.4 % with shares down to 0.9, 0.85, 0.75 and 0.3; 3.1 %
# with the fourth power of the error and shares down to 0.1. With other random samples of the values, shares down to
# 0.85 give 2.3 to 2.7 %. The choice matters little unless ranges are cut far. This does more harm than the squared
# error of one map suggests, because clipped values are all wrong in the same direction.
SHARES = np.linspace(1.0, 0.85, 10)
# Most values of a channel that a range is fitted to.
MAX_VALUES = 8192
# Smallest scale of a channel, as a share of the largest: a channel that is constant on all images would have scale 0.
MIN_SCALE_SHARE = 2.0**-10


class Grid(NamedTuple):
    """Conversion of the levels q of a map (C, H, W) to real values: scale[c] * (q - zero) + centre[c].

    scale, centre: (C,)
    """

    scale: FloatArray
    zero: int
    centre: FloatArray

    def quantised(self, values: FloatArray) -> Int8Array:
        """Return the nearest levels of values (C, n)."""
        levels = (values - self.centre[:, None]) / self.scale[:, None] + self.zero
        return np.floor(levels + 0.5).clip(INT8_MIN, INT8_MAX).astype(np.int8)

    def first(self) -> Grid:
        """Return the grid of the first channel alone."""
        return Grid(self.scale[:1], self.zero, self.centre[:1])

    def real(self, levels: Int8Array) -> FloatArray:
        """Return the real values of levels (C, n)."""
        return (levels.astype(np.float64) - self.zero) * self.scale[:, None] + self.centre[:, None]


class Freedom(NamedTuple):
    """Properties of the grid of a map that may differ between channels at no cost in the next layer.

    They cost nothing if the next layer has separate weights for each channel, which can take them in.

    scales   each channel may have its own scale
    centres  each channel may have its own centre; not before padding, whose zeros have the same level in all channels
    signs    scales may be negative; not before a maximum
    """

    scales: bool
    centres: bool
    signs: bool


NO_FREEDOM = Freedom(scales=False, centres=False, signs=False)
FULL_FREEDOM = Freedom(scales=True, centres=True, signs=True)


def _identity(values: FloatArray) -> FloatArray:
    return values


def fitted_grid(values: FloatArray, freedom: Freedom, function: Function = _identity) -> Grid:
    """Return the grid for values (C, n) with the least squared error of `function` of them.

    The high end of the range is searched first, then the low end.
    """
    rows = values if freedom.scales else values.reshape(1, -1)
    low, high = rows.min(1), rows.max(1)
    if not freedom.centres:
        low, high = low.clip(max=0), high.clip(min=0)
    n_values = rows.shape[1]
    # Random, because even steps may select the same columns of every map; seeded, so that results repeat.
    indices = np.random.default_rng(0).choice(n_values, min(n_values, MAX_VALUES), replace=False)
    sample = rows[:, indices]
    expected = function(sample)

    def error(low: FloatArray, high: FloatArray) -> FloatArray:
        grid = _grid(low, high, freedom)
        means: FloatArray = ((function(grid.real(grid.quantised(sample))) - expected) ** 2).mean(1)
        return means

    # A range shrinks towards its other end, or towards 0 if it must contain 0.
    highs = [high * share + low * (1 - share) * freedom.centres for share in SHARES]
    high = _select_best(highs, [error(low, candidate) for candidate in highs])
    lows = [low * share + high * (1 - share) * freedom.centres for share in SHARES]
    low = _select_best(lows, [error(candidate, high) for candidate in lows])
    grid = _grid(low, high, freedom)
    n_channels = len(values)
    return Grid(np.broadcast_to(grid.scale, n_channels), grid.zero, np.broadcast_to(grid.centre, n_channels))


def _select_best(candidates: list[FloatArray], errors: list[FloatArray]) -> FloatArray:
    """Return the candidate with the least error for each channel, (C,)."""
    best = np.argmin(errors, 0)[None]
    selected: FloatArray = np.take_along_axis(np.array(candidates), best, 0)[0]
    return selected


def _grid(low: FloatArray, high: FloatArray, freedom: Freedom) -> Grid:
    """Return the grid from `low` to `high`, (C,) each; without free centres all channels have the same level for 0."""
    if freedom.centres:
        return Grid(_positive_scale((high - low) / STEPS), INT8_MIN, low)
    if len(low) == 1:
        span = float(high[0] - low[0])
        zero = INT8_MIN + (int(np.floor(-low[0] / span * STEPS + 0.5)) if span else 0)
        return Grid(_positive_scale((high - low) / STEPS), zero, np.zeros_like(low))
    # The level for 0 with the smallest scales: some channels may be mostly positive and others mostly negative.
    zeros = np.arange(INT8_MIN, INT8_MAX + 1)
    above, below = (INT8_MAX - zeros).clip(min=1e-3), (zeros - INT8_MIN).clip(min=1e-3)
    scales = np.maximum(high / above[:, None], -low / below[:, None])
    best = int((scales**2).sum(1).argmin())
    return Grid(_positive_scale(scales[best]), int(zeros[best]), np.zeros_like(low))


def _positive_scale(scale: FloatArray) -> FloatArray:
    largest = float(scale.max())
    return scale.clip(min=largest * MIN_SCALE_SHARE) if largest > 0 else np.ones_like(scale)


def wide_factors(real: FloatArray) -> tuple[Int32Array, int]:
    """Return multipliers (n,) and their shift for factors `real` (n,) in products of 64 bits.

    Factors beyond 2^20 are clipped, because with them any sum saturates a map.
    """
    largest = float(np.abs(real).max())
    # With at most 48 the zero of a map, shifted left, stays far below 64 bits.
    shift = 48 if largest == 0 else int(np.clip(np.floor(30.999 - np.log2(largest)), 10, 48))
    return np.rint(real * 2.0**shift).clip(-INT32_MAX, INT32_MAX).astype(np.int32), shift


def narrow_factors(real: FloatArray, zero: FloatArray, offset: FloatArray) -> tuple[Int32Array, Int32Array, int]:
    """Return multipliers and offsets, (n,) each, and their shift, for arithmetic in 32 bits.

    (q * multiplier + offset) >> shift is then real * (q - zero) + offset, rounded to nearest. Two such
    terms can be summed in 32 bits, for q in -128..255. real, zero, offset: (n,). Values that are clipped here would
    saturate any map.
    """
    real, offset = real.clip(-(2.0**10), 2.0**10), offset.clip(-(2.0**18), 2.0**18)
    largest = float((512 * np.abs(real) + np.abs(offset)).max()) + 1
    shift = min(24, int(np.floor(30.999 - np.log2(largest))))
    multiplier = np.rint(real * 2.0**shift)
    return (
        multiplier.astype(np.int32),
        (np.rint((offset + 0.5) * 2.0**shift) - zero * multiplier).astype(np.int32),
        shift,
    )


def product_factors(real: float, zero: int) -> tuple[int, int, int]:
    """Return a multiplier, an offset and their shift for products n of two numbers from -255 to 255, in 32 bits.

    (n * multiplier + offset) >> shift is then real * n + zero, rounded to nearest. A factor that is clipped here would
    saturate any map.
    """
    real = min(real, 2.0**10)
    shift = min(24, int(np.floor(30.999 - np.log2(255 * 255 * real + 129))))
    return round(real * 2.0**shift), (zero << shift) + (1 << (shift - 1)), shift


WEIGHT_MAX = 127
# Smallest unit of a filter, as a share of the largest: the factors of all filters have the same shift.
MIN_UNIT_SHARE = 2.0**-16
# Where a sum might pass 32 bits, weights get at most this factor fewer levels.
COARSEST = 4
# Sums that the units of coarser weights allow; the rest is for rounding the weights.
LARGEST_SUM = 0.9 * INT32_MAX


class Filters(NamedTuple):
    """Integers of one layer.

    weight  (O, C, k, k)
    bias    (O,)
    unit    real value of one unit of each sum, (O,)
    """

    weight: Int8Array
    bias: Int32Array
    unit: FloatArray


def quantised_filters(weight: FloatArray, windows: FloatArray, means: FloatArray, n_summed: int = 1) -> Filters:
    """Return the weights and biases of a layer as integers, for inputs q - zero.

    weight    (O, C, k, k), multiplied by the real value of one level of the input
    windows   mean input q - zero of a filter: (1, C, k, k), or (O, C / groups, k, k) if filters read different channels
    means     mean real value of each sum, (O,), which determines its bias
    n_summed  number of values of the map in each input of the sum

    A sum over a large map has coarser weights, so that it stays within 32 bits. Raises QuantisationError if these were
    too coarse.
    """
    real_bias = means - (weight * windows).sum((1, 2, 3))
    finest = np.abs(weight).max((1, 2, 3)) / WEIGHT_MAX
    largest = np.abs(weight).sum((1, 2, 3)) * 255 * n_summed + np.abs(real_bias)
    coarser = np.minimum(largest / LARGEST_SUM, finest * COARSEST)
    unit = np.maximum.reduce([finest, coarser, np.abs(real_bias) / 2**29])
    unit = unit.clip(min=unit.max() * MIN_UNIT_SHARE) if unit.any() else np.ones_like(unit)
    return _filters(np.rint(weight / unit[:, None, None, None]), unit, windows, means, n_summed)


def shared_filters(weight: FloatArray, factor: FloatArray, windows: FloatArray, means: FloatArray) -> Filters:
    """Return the weights and biases of a layer that shares its weights, as integers, for inputs q - zero.

    The weights are then those of every such layer. Only where the factors differ so much that the sums of a filter
    would lose their precision does the layer get weights of its own.

    weight          (O, C, k, k), as the layers share it
    factor          factor of each filter, (O,): the real value of one level of the input, times batch norm's factor
    windows, means  as in `quantised_filters`

    Raises QuantisationError if a sum may exceed 32 bits.
    """
    largest = np.abs(weight).max((1, 2, 3))
    steps = np.where(largest > 0, largest, largest.max() or 1) / WEIGHT_MAX
    levels = np.rint(weight / steps[:, None, None, None])
    unit = steps * factor
    real_bias = means - (levels * windows).sum((1, 2, 3)) * unit
    smallest = np.maximum(np.abs(real_bias) / 2**29, np.abs(unit).max() * MIN_UNIT_SHARE)
    if (np.abs(unit) < smallest).any() or not unit.all():
        return quantised_filters(weight * factor[:, None, None, None], windows, means)
    return _filters(levels, unit, windows, means)


def _filters(
    levels: FloatArray, unit: FloatArray, windows: FloatArray, means: FloatArray, n_summed: int = 1
) -> Filters:
    bias = np.rint(means / unit - (levels * windows).sum((1, 2, 3)))
    # |q - zero| is at most 255.
    largest = (np.abs(levels).sum((1, 2, 3)) * 255 * n_summed + np.abs(bias)).max()
    if largest > INT32_MAX:
        raise QuantisationError(f"a sum of {levels[0].size * n_summed:,} products may pass 32 bits")
    return Filters(levels.astype(np.int8), bias.astype(np.int32), unit)


def mean_windows(inputs: FloatArray, side: int, padding: int, stride: int) -> FloatArray:
    """Return the mean input of a kernel, (C, k, k), over all its positions.

    inputs: (N, C, H, W), which are padded with zeros
    """
    height, width = (size + 2 * padding - side + 1 for size in inputs.shape[2:])
    mean_image = np.pad(inputs.mean(0), ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(mean_image, (height, width), (1, 2))
    means: FloatArray = windows[..., ::stride, ::stride].mean((3, 4))
    return means
