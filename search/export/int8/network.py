"""An integer network as plain data: what a processor without floating point computes, step by step.

A map is (channels, height, width) of int8; maps are numbered in the order in which they are made. A level q stands for
the real value scale * (q - zero), as in Jacob et al., arXiv 1712.05877, section 2.1. The steps hold integers only: what
the scales are, whoever runs them need not know.

Numbers change their scale by a multiplication and a right shift: (q * multiplier + offset) >> shift, where >> rounds
down and the offset holds the new zero and the half that turns this into rounding to nearest. The result is clamped to
-128..127, which is also what a ReLU does where the zero is -128.
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
    """A network that has no int8 form: weights that are not finite, or sums that may pass 32 bits."""


@dataclass(frozen=True, eq=False)
class ReadImage:
    """Grey levels 0..255 to int8: clamp((x * multiplier[c] + offset[c]) >> shift). multiplier, offset: (C,)."""

    target: int
    multiplier: Int32Array
    offset: Int32Array
    shift: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of stride 1: sum over (x - zero_in) * weight, plus bias; then to the scale of the target.

    weight      (O, C, k, k), symmetric, a scale a filter; (C, 1, k, k) where `depthwise`
    bias        (O,), in units of the sum
    multiplier  (O,); target = clamp(((sum * multiplier[o] + half) >> shift) + zero_out), with a product of 64 bits
    padding     rows and columns of zeros on every side
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
    depthwise: bool


@dataclass(frozen=True, eq=False)
class Table:
    """An activation function, in place: q becomes values[q + 128]. values: (256,)."""

    target: int
    values: Int8Array


@dataclass(frozen=True, eq=False)
class Affine:
    """Batch norm after an activation, in place: clamp((q * multiplier[c] + offset[c]) >> shift), both (C,)."""

    target: int
    multiplier: Int32Array
    offset: Int32Array
    shift: int


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Maximum over windows of side and stride `size`; rows and columns that fill no window are left out."""

    source: int
    target: int
    size: int


@dataclass(frozen=True, eq=False)
class Mean:
    """Global average pooling: clamp((sum of a channel * multiplier + offset) >> shift), with a product of 64 bits."""

    source: int
    target: int
    multiplier: int
    offset: int
    shift: int


@dataclass(frozen=True, eq=False)
class Add:
    """The sum of a residual block, in place of its shortcut.

    target = clamp((target * shortcut_multiplier + source * main_multiplier + offset) >> shift)
    """

    source: int
    target: int
    main_multiplier: int
    shortcut_multiplier: int
    offset: int
    shift: int


@dataclass(frozen=True, eq=False)
class Classify:
    """The last layer: logits of int32 on one scale, which are no map.

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


Step = ReadImage | Convolution | Table | Affine | MaxPool | Mean | Add


@dataclass(frozen=True, eq=False)
class Int8Network:
    """A network that takes images of uint8.

    input_shape  of an image, (C, H, W)
    maps         the shape of each map, (C, H, W)
    steps        in the order in which they run; the first is ReadImage
    last         what makes the logits of the last map
    logit_scale  a real logit is its integer times this
    n_params     of the network in floating point
    shares       whether layers share weights there; here each has its own, with its batch norm in them
    method       how it was quantised, in a sentence
    """

    input_shape: Shape
    maps: tuple[Shape, ...]
    steps: tuple[Step, ...]
    last: Classify
    logit_scale: float
    n_params: int
    shares: bool
    method: str

    @property
    def n_classes(self) -> int:
        """Number of logits."""
        return len(self.last.bias)


def map_bytes(shape: Shape) -> int:
    """Bytes of one map: one a value."""
    channels, height, width = shape
    return channels * height * width
