"""Run an integer network in numpy, as the reference that the generated C must match bit for bit.

Sums of products are computed in float64, which holds every integer below 2^53 exactly and has fast matrix products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.export.int8.network import (
    INT8_MAX,
    INT8_MIN,
    Add,
    Affine,
    AveragePool,
    Classify,
    Convolution,
    Int8Array,
    Int8Network,
    Int32Array,
    MaxPool,
    Mean,
    ReadImage,
    Scale,
    Step,
    Table,
    UInt8Array,
)

Int64Array = NDArray[np.int64]

# Images per batch: few enough that the maps of a batch stay in the cache of a processor.
BATCH = 50


def run(network: Int8Network, images: UInt8Array) -> Int32Array:
    """Return the logits (N, classes) of images (N, C, H, W).

    Raises ValueError for images that are not uint8 or have another shape.
    """
    if images.dtype != np.uint8 or images.shape[1:] != network.input_shape:
        raise ValueError(f"images must be uint8 (N, *{network.input_shape}), got {images.dtype} {images.shape}")
    logits = np.empty((len(images), network.n_classes), np.int32)
    for start in range(0, len(images), BATCH):
        maps: dict[int, Int8Array] = {}
        for step in network.steps:
            run_step(step, maps, images[start : start + BATCH])
        logits[start : start + BATCH] = classify(network.last, maps[network.last.source])
    return logits


def run_step(step: Step, maps: dict[int, Int8Array], images: UInt8Array) -> None:
    """Run one step: write its target in `maps`, which holds each map (N, C, H, W) by its number."""
    match step:
        case ReadImage():
            maps[step.target] = _per_channel(step, images)
        case Affine():
            maps[step.target] = _per_channel(step, maps[step.target])
        case Convolution():
            scaled = rescaled(convolution_sum(step, maps[step.source]), step.multiplier, step.shift)
            maps[step.target] = saturated(scaled + step.zero_out)
        case Table():
            maps[step.target] = step.values[maps[step.target].astype(np.int64) - INT8_MIN]
        case MaxPool():
            maps[step.target] = np.maximum.reduce(_window_values(maps[step.source], step.size))
        case AveragePool():
            values = np.array(_window_values(maps[step.source], step.size))
            sums = values.sum(0, np.int64)
            maps[step.target] = saturated((sums * step.multiplier + step.offset) >> step.shift)
        case Mean():
            sums = maps[step.source].sum((2, 3), np.int64, keepdims=True)
            maps[step.target] = saturated((sums * step.multiplier + step.offset) >> step.shift)
        case Add():
            main, shortcut = maps[step.source].astype(np.int64), maps[step.target].astype(np.int64)
            total = main * step.main_multiplier + shortcut * step.shortcut_multiplier + step.offset
            maps[step.target] = saturated(total >> step.shift)
        case Scale():
            factors = maps[step.source].astype(np.int64) - INT8_MIN
            products = (maps[step.target].astype(np.int64) - step.zero_in) * factors
            maps[step.target] = saturated((products * step.multiplier + step.offset) >> step.shift)


def classify(step: Classify, source: Int8Array) -> Int32Array:
    """Return the logits (N, classes) of the last map (N, C, H, W)."""
    return rescaled(classify_sum(step, source), step.multiplier, step.shift).astype(np.int32)


def convolution_sum(step: Convolution, source: Int8Array) -> Int64Array:
    """Return the sums of a convolution, with the bias: (N, O, H', W') for a source (N, C, H, W)."""
    sides = (step.padding, step.padding)
    inputs = np.pad(source.astype(np.float64) - step.zero_in, ((0, 0), (0, 0), sides, sides))
    n_filters, _, side, _ = step.weight.shape
    n_images, channels, height, width = inputs.shape
    height, width = (height - side) // step.stride + 1, (width - side) // step.stride + 1
    sums = np.zeros((n_images, n_filters, height, width))
    weight = step.weight.astype(np.float64)
    for row in range(side):
        for column in range(side):
            window = inputs[:, :, row :: step.stride, column :: step.stride][:, :, :height, :width]
            tap = weight[:, :, row, column]
            if step.depthwise:
                sums += tap[:, None] * window
            else:
                by_group = tap.reshape(-1, step.groups, channels // step.groups).swapaxes(0, 1)
                products = by_group @ window.reshape(n_images, step.groups, channels // step.groups, -1)
                sums += products.swapaxes(1, 2).reshape(sums.shape)
    return (sums + step.bias[:, None, None]).astype(np.int64)


def classify_sum(step: Classify, source: Int8Array) -> Int64Array:
    """Return the sums of the last layer, with the bias: (N, classes) for a source (N, C, H, W)."""
    inputs = source.astype(np.float64) - step.zero_in
    if step.pooled:
        inputs = inputs.sum((2, 3))
    sums = inputs.reshape(len(inputs), -1) @ step.weight.reshape(len(step.weight), -1).T.astype(np.float64)
    return (sums + step.bias).astype(np.int64)


def rescaled(sums: Int64Array, multiplier: Int32Array, shift: int) -> Int64Array:
    """Return sums (N, O, ...) in the units of the next map, rounded to nearest, halves up. multiplier: (O,)."""
    factor = multiplier.astype(np.int64).reshape(-1, *(1 for _ in sums.shape[2:]))
    return (sums * factor + (1 << (shift - 1))) >> shift


def saturated(values: Int64Array) -> Int8Array:
    """Return values clamped to the range of int8."""
    return values.clip(INT8_MIN, INT8_MAX).astype(np.int8)


def _per_channel(step: ReadImage | Affine, values: Int8Array | UInt8Array) -> Int8Array:
    scaled = values.astype(np.int64) * step.multiplier[:, None, None] + step.offset[:, None, None]
    return saturated(scaled >> step.shift)


def _window_values(source: Int8Array, size: int) -> list[Int8Array]:
    """Return the values at each position of the windows of a pool: size * size arrays (N, C, H', W')."""
    height, width = source.shape[2] // size, source.shape[3] // size
    covered = source[:, :, : height * size, : width * size]
    return [covered[:, :, row::size, column::size] for row in range(size) for column in range(size)]
