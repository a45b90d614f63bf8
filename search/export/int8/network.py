"""Integer networks as plain data: the steps that a processor without floating point computes.

A map is an int8 array (channels, height, width). Maps are numbered in the order in which they are first written. A
level q stands for the real value scale * (q - zero), as in Jacob et al., arXiv 1712.05877, section 2.1. The steps hold
only integers, because running them does not need the scales.

A step changes the scale of a number by a multiplication and a right shift: (q * multiplier + offset) >> shift. Here >>
rounds down, and the offset contains the new zero and the half that makes this rounding to nearest. The result is
clamped to -128..127. With a zero of -128 this clamp is also a ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
Int8Array = NDArray[np.int8]
Int32Array = NDArray[np.int32]
FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

INT8_MIN, INT8_MAX = -128, 127
INT32_MAX = 2**31 - 1


class QuantisationError(ValueError):
    """Error of a network without an int8 form.

    A layer has none, the weights are not finite, or a sum may exceed 32 bits.
    """


@dataclass(frozen=True, eq=False)
class ReadImage:
    """Step that reads the image: target = clamp((x * multiplier[c] + offset[c]) >> shift), x in 0..255.

    multiplier, offset: (C,)
    """

    target: int
    multiplier: Int32Array
    offset: Int32Array
    shift: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """Convolution with 32-bit sums of (x - zero_in) * weight, plus bias, rescaled to the target.

    weight      (O, C / groups, k, k), symmetric, with one scale for each filter
    bias        (O,), in units of the sum
    multiplier  (O,); target = clamp(((sum * multiplier[o] + half) >> shift) + zero_out), with a product of 64 bits
    padding     rows and columns of zeros on each side
    stride      rows and columns from one position of the kernel to the next
    groups      number of groups of input channels; filter o reads group o % groups, so that a channel shuffle after the
                convolution is part of the order of its filters
    """

    source: int
    target: int
    weight: Int8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: int
    zero_in: int
    zero_out: int
    padding: int
    stride: int
    groups: int

    @property
    def depthwise(self) -> bool:
        """Return whether each filter reads the channel of its own number."""
        return self.groups == len(self.weight) > 1 and self.weight.shape[1] == 1


@dataclass(frozen=True, eq=False)
class Table:
    """Activation function, in place: target = values[target + 128]. values: (256,)."""

    target: int
    values: Int8Array


@dataclass(frozen=True, eq=False)
class Affine:
    """Batch norm after an activation, in place: target = clamp((target * multiplier[c] + offset[c]) >> shift).

    multiplier, offset: (C,)
    """

    target: int
    multiplier: Int32Array
    offset: Int32Array
    shift: int


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Max pooling over windows of side and stride `size`, without rows and columns that fill no window."""

    source: int
    target: int
    size: int


@dataclass(frozen=True, eq=False)
class AveragePool:
    """Average pooling over windows as those of MaxPool.

    target = clamp((sum over a window * multiplier + offset) >> shift), in 64 bits
    """

    source: int
    target: int
    size: int
    multiplier: int
    offset: int
    shift: int


@dataclass(frozen=True, eq=False)
class Mean:
    """Global average pooling: target = clamp((sum of channel * multiplier + offset) >> shift), in 64 bits."""

    source: int
    target: int
    multiplier: int
    offset: int
    shift: int


@dataclass(frozen=True, eq=False)
class Add:
    """Sum of a residual block, which overwrites its shortcut.

    target = clamp((target * shortcut_multiplier + source * main_multiplier + offset) >> shift)
    """

    source: int
    target: int
    main_multiplier: int
    shortcut_multiplier: int
    offset: int
    shift: int


@dataclass(frozen=True, eq=False)
class Scale:
    """Multiplication of each channel of a map by its factor from the map `source`, in place.

    target = clamp(((target - zero_in) * (source + 128) * multiplier + offset) >> shift)
    """

    source: int
    target: int
    zero_in: int
    multiplier: int
    offset: int
    shift: int


@dataclass(frozen=True, eq=False)
class Classify:
    """Last layer, which computes int32 logits on one scale instead of a map.

    weight      (classes, C, H, W) over the whole map, or (classes, C, 1, 1) over the sums of its channels if `pooled`
    bias        (classes,), in units of the sum
    multiplier  (classes,); logit = (sum over (x - zero_in) * weight + bias) * multiplier >> shift, rounded, with a
                product of 64 bits
    """

    source: int
    weight: Int8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: int
    zero_in: int
    pooled: bool


Step = ReadImage | Convolution | Table | Affine | MaxPool | AveragePool | Mean | Add | Scale


@dataclass(frozen=True, eq=False)
class Int8Network:
    """Integer network whose input is uint8 images.

    input_shape  shape of an image, (C, H, W)
    maps         shape of each map, (C, H, W)
    steps        in the order in which they run; the first is ReadImage
    last         layer that computes the logits from the last map
    logit_scale  factor from an integer logit to the real logit
    n_params     number of parameters of the network in floating point, as models.cost.Cost has it
    n_stored     the same counted layer by layer, if layers share weights
    method       phrase that says how the network was quantised
    """

    input_shape: Shape
    maps: tuple[Shape, ...]
    steps: tuple[Step, ...]
    last: Classify
    logit_scale: float
    n_params: int
    n_stored: int
    method: str

    @property
    def n_classes(self) -> int:
        """Return the number of logits."""
        return len(self.last.bias)


def map_bytes(shape: Shape) -> int:
    """Return the bytes of a map: one for each value."""
    channels, height, width = shape
    return channels * height * width
