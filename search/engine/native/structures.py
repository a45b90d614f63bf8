"""Structures that the kernels read, field by field those of operation.hpp, images.hpp, optimizers.hpp, training.cpp."""

from __future__ import annotations

import ctypes

_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
_Fields = tuple[tuple[str, type], ...]

# enum BatchNorm, Kind and Gradient of operation.hpp.
NO_NORM, BATCH_NORM, RUNNING_NORM = 0, 1, 2
CONVOLVE, READ, SUM, SCALE, GATE = 0, 1, 2, 3, 4
NO_GRADIENT, WRITE, ADD = 0, 1, 2
# enum Interpolation of images.hpp.
INTERPOLATIONS = {"nearest": 1, "bilinear": 2}
# enum OptimizerKind of optimizers.hpp.
OPTIMIZERS = {"sgd": 0, "adam": 1, "adamw": 2, "soap": 3}


def _fields(kind: type, names: str) -> _Fields:
    return tuple((name, kind) for name in names.split())


class Reading(ctypes.Structure):
    """Operations that are applied to a value as it is read."""

    _fields_ = (
        *_fields(_INT, "images channels height width norm activation pool mean_pool average"),
        *_fields(_FLOAT, "slope drop"),
        ("seed", ctypes.c_uint64),
    )


class Kernel(ctypes.Structure):
    """Kernel of a convolution with its padding and stride."""

    _fields_ = _fields(_INT, "height width padding stride")


class Layer(ctypes.Structure):
    """Convolution with its reading of the input and its batch norm."""

    _fields_ = (
        ("input", Reading),
        *_fields(_INT, "out_channels groups shuffled"),
        *_fields(Kernel, "depthwise kernel"),
        *_fields(_INT, "activation batch_norm"),
        *_fields(_FLOAT, "slope epsilon momentum"),
    )


class Value(ctypes.Structure):
    """Maps with their gradients and the batch norm that readers apply to them."""

    _fields_ = _fields(_POINTER, "maps gradients statistics gamma beta dstatistics dgamma dbeta")


class Input(ctypes.Structure):
    """Input of an operation: the value, the use of its gradient, and the position of its dropout's seed."""

    _fields_ = _fields(_INT, "value gradient dropout")


class Operation(ctypes.Structure):
    """Computation of one value from one or two others."""

    _fields_ = (
        *_fields(_INT, "kind output"),
        ("inputs", Input * 2),
        ("layer", Layer),
        ("second_reading", Reading),
        *_fields(_POINTER, "depthwise weight bias running_mean running_var unactivated ddepthwise dweight dbias"),
    )


class Images(ctypes.Structure):
    """Images of a data set and the steps that change them."""

    _fields_ = (
        *_fields(_POINTER, "pixels labels mean deviation"),
        *_fields(_INT, "channels height width mirror brightness contrast crop_side crop_padding warp erase"),
        ("fill", _FLOAT),
    )


class Parameter(ctypes.Structure):
    """Parameter with its gradient and the states of the optimizer."""

    _fields_ = (
        *_fields(_POINTER, "values gradient mean square"),
        *_fields(_LONG, "size rows columns"),
        *_fields(_POINTER, "left left_basis right right_basis"),
    )


class Averaged(ctypes.Structure):
    """Tensor and its moving average."""

    _fields_ = (*_fields(_POINTER, "values average"), ("size", _LONG))


class Optimizer(ctypes.Structure):
    """Optimizer with the parameters and the tensors that are averaged."""

    _fields_ = (
        *_fields(_INT, "kind nesterov n_parameters n_averaged"),
        *_fields(_FLOAT, "weight_decay beta2 epsilon covariance_decay"),
        *_fields(_POINTER, "parameters averaged memory"),
    )


class Training(ctypes.Structure):
    """Settings and memory of the steps of an epoch."""

    _fields_ = (
        ("program", _POINTER),
        ("images", Images),
        ("optimizer", Optimizer),
        ("sums", _POINTER),
        *_fields(_LONG, "n_sums n_images batch_size n_seeds n_steps_before"),
        *_fields(_POINTER, "order changes seeds lr momentum average_weight losses correct"),
        ("smoothing", _FLOAT),
    )
