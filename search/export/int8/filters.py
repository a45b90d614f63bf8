"""The weights and biases of one layer as integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from search.export.int8.network import INT32_MAX, FloatArray, Int8Array, Int32Array, QuantisationError

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
    """What a kernel sees on average, (C, k, k), of inputs (N, C, H, W) in a frame of `padding` zeros."""
    height, width = (size + 2 * padding - side + 1 for size in inputs.shape[2:])
    total = np.pad(inputs.mean(0), ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(total, (height, width), (1, 2))
    means: FloatArray = windows.mean((3, 4))
    return means
