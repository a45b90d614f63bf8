"""Real numbers as integers: which levels a map has, and factors as an integer multiplier and a right shift."""

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
# Either end of a range is tried at these shares of the smallest and the largest value seen. Relative error of the
# logits of a training of the reference's trial 87 on 1,500 held training images: 2.7 to 2.9 % for the full range; 2.5,
# 2.4, 2.8 and 4.4 % where shares go down to 0.9, 0.85, 0.75 and 0.3; 3.1 % for the fourth power of the error and shares
# down to 0.1. With other values drawn to fit to, 0.85 has 2.3 to 2.7 %: the choice matters little, but for cutting far,
# which does more harm than the squared error of one map says, since what is cut off is always wrong in the same
# direction.
SHARES = np.linspace(1.0, 0.85, 10)
# Values of a channel that a range is fitted to.
MAX_VALUES = 8192
# A channel's scale is at least this share of the largest: one that was constant on all images would have none.
LEAST_SCALE = 2.0**-10


class Grid(NamedTuple):
    """The real values of a map (C, H, W): scale[c] * (q - zero) + centre[c]. scale, centre: (C,)."""

    scale: FloatArray
    zero: int
    centre: FloatArray

    def quantised(self, values: FloatArray) -> Int8Array:
        """The nearest levels of values (C, n)."""
        levels = (values - self.centre[:, None]) / self.scale[:, None] + self.zero
        return np.floor(levels + 0.5).clip(INT8_MIN, INT8_MAX).astype(np.int8)

    def first(self) -> Grid:
        """The grid of the first channel alone."""
        return Grid(self.scale[:1], self.zero, self.centre[:1])

    def real(self, levels: Int8Array) -> FloatArray:
        """The values of levels (C, n)."""
        return (levels.astype(np.float64) - self.zero) * self.scale[:, None] + self.centre[:, None]


class Freedom(NamedTuple):
    """Factors that may differ between the channels of a map at no cost, as the next layer has weights for each.

    scales   each channel its own scale
    centres  each channel its own centre; not before a padding, whose zeros are one level for all channels
    signs    scales may be negative; not before a maximum
    """

    scales: bool
    centres: bool
    signs: bool


NO_FREEDOM = Freedom(scales=False, centres=False, signs=False)
FULL_FREEDOM = Freedom(scales=True, centres=True, signs=True)


def _same(values: FloatArray) -> FloatArray:
    return values


def fitted_grid(values: FloatArray, freedom: Freedom, function: Function = _same) -> Grid:
    """The grid for values (C, n) that changes `function` of them least, by squared error; each end searched in turn."""
    rows = values if freedom.scales else values.reshape(1, -1)
    low, high = rows.min(1), rows.max(1)
    if not freedom.centres:
        low, high = low.clip(max=0), high.clip(min=0)
    n_values = rows.shape[1]
    # Drawn, because even steps may meet the same columns of every map; the same ones every time.
    chosen = np.random.default_rng(0).choice(n_values, min(n_values, MAX_VALUES), replace=False)
    sample = rows[:, chosen]
    expected = function(sample)

    def error(low: FloatArray, high: FloatArray) -> FloatArray:
        grid = _grid(low, high, freedom)
        means: FloatArray = ((function(grid.real(grid.quantised(sample))) - expected) ** 2).mean(1)
        return means

    # A range shrinks towards 0, which must stay in it, or towards its other end.
    highs = [high * share + low * (1 - share) * freedom.centres for share in SHARES]
    high = _least(highs, [error(low, one) for one in highs])
    lows = [low * share + high * (1 - share) * freedom.centres for share in SHARES]
    low = _least(lows, [error(one, high) for one in lows])
    grid = _grid(low, high, freedom)
    n = len(values)
    return Grid(np.broadcast_to(grid.scale, n), grid.zero, np.broadcast_to(grid.centre, n))


def _least(candidates: list[FloatArray], errors: list[FloatArray]) -> FloatArray:
    """Return the candidate with the least error for each channel, (C,)."""
    best = np.argmin(errors, 0)[None]
    chosen: FloatArray = np.take_along_axis(np.array(candidates), best, 0)[0]
    return chosen


def _grid(low: FloatArray, high: FloatArray, freedom: Freedom) -> Grid:
    """The grid from `low` to `high`, (C,). Without free centres 0 is a level, the same one in all channels."""
    if freedom.centres:
        return Grid(_positive((high - low) / STEPS), INT8_MIN, low)
    if len(low) == 1:
        span = float(high[0] - low[0])
        zero = INT8_MIN + (int(np.floor(-low[0] / span * STEPS + 0.5)) if span else 0)
        return Grid(_positive((high - low) / STEPS), zero, np.zeros_like(low))
    # The zero that lets the scales be smallest: channels may lie on either side of it.
    zeros = np.arange(INT8_MIN, INT8_MAX + 1)
    above, below = (INT8_MAX - zeros).clip(min=1e-3), (zeros - INT8_MIN).clip(min=1e-3)
    scales = np.maximum(high / above[:, None], -low / below[:, None])
    best = int((scales**2).sum(1).argmin())
    return Grid(_positive(scales[best]), int(zeros[best]), np.zeros_like(low))


def _positive(scale: FloatArray) -> FloatArray:
    largest = float(scale.max())
    return scale.clip(min=largest * LEAST_SCALE) if largest > 0 else np.ones_like(scale)


def wide_factors(real: FloatArray) -> tuple[Int32Array, int]:
    """Multipliers (n,) and their shift for products of 64 bits. real: (n,); beyond 2^20 any sum saturates a map."""
    largest = float(np.abs(real).max())
    # Up to 48 the zero of a map, shifted left, stays far below 64 bits.
    shift = 48 if largest == 0 else int(np.clip(np.floor(30.999 - np.log2(largest)), 10, 48))
    return np.rint(real * 2.0**shift).clip(-INT32_MAX, INT32_MAX).astype(np.int32), shift


def narrow_factors(real: FloatArray, zero: FloatArray, offset: FloatArray) -> tuple[Int32Array, Int32Array, int]:
    """Multipliers, offsets (n,) and their shift such that (q * multiplier + offset) >> shift needs 32 bits.

    The result is real * (q - zero) + offset, rounded to nearest, for two such terms at once and q in -128..255.
    real, zero, offset: (n,). What is cut off here saturates any map.
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


WEIGHT_MAX = 127
# No filter's unit is below this share of the largest one's: their factors share one shift.
LEAST_UNIT = 2.0**-16


class Filters(NamedTuple):
    """Integers of one layer: weight (O, C, k, k), bias (O,); unit: what one unit of each sum is worth, (O,)."""

    weight: Int8Array
    bias: Int32Array
    unit: FloatArray


def quantised_filters(weight: FloatArray, windows: FloatArray, means: FloatArray, n_summed: int = 1) -> Filters:
    """The integers for inputs q - zero.

    weight    (O, C, k, k), the real value of one level of the input included
    windows   what a filter sees on average, q - zero: (C, k, k), or (O, 1, k, k) where each filter sees another channel
    means     the real value that each sum must have on average, (O,): its bias follows from it
    n_summed  values of the map in each input of the sum

    Raises QuantisationError where a sum may pass 32 bits.
    """
    rest = means - (weight * windows).sum((1, 2, 3))
    unit = np.maximum(np.abs(weight).max((1, 2, 3)) / WEIGHT_MAX, np.abs(rest) / 2**29)
    unit = unit.clip(min=unit.max() * LEAST_UNIT) if unit.any() else np.ones_like(unit)
    levels = np.rint(weight / unit[:, None, None, None])
    bias = np.rint(means / unit - (levels * windows).sum((1, 2, 3)))
    # A value less its zero is at most 255.
    largest = (np.abs(levels).sum((1, 2, 3)) * 255 * n_summed + np.abs(bias)).max()
    if largest > INT32_MAX:
        raise QuantisationError(f"a sum of {levels[0].size * n_summed:,} products may pass 32 bits")
    return Filters(levels.astype(np.int8), bias.astype(np.int32), unit)


def mean_windows(inputs: FloatArray, side: int, padding: int) -> FloatArray:
    """Return the mean input of a kernel, (C, k, k), over inputs (N, C, H, W) in a frame of `padding` zeros."""
    height, width = (size + 2 * padding - side + 1 for size in inputs.shape[2:])
    total = np.pad(inputs.mean(0), ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(total, (height, width), (1, 2))
    means: FloatArray = windows.mean((3, 4))
    return means
