"""Rules by which the arrays of a NumPy archive are read: layout and levels of images, labels, names of classes.

An exported model.py holds a copy of this source, so that it reads an archive as the search did. Therefore it uses only
the standard library, torch, and, where an archive is read, NumPy and Pillow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.data.own.naming import composed_name, shorten_names
from search.data.own.pictures import FLOAT, INTEGER, level_range, pixels

CLASS_NAMES = "class_names"
# Numbers of channels that images may have.
N_CHANNELS = (1, 3)
# Levels that are scaled to eight bits at once, as that takes a floating-point copy of them.
SCALED_AT_ONCE = 2**22


def read_arrays(path: Path, required: Sequence[str], optional: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the named arrays of an archive, and the names of its other arrays, which are not read.

    Nothing is unpickled. Raises OSError for a file that cannot be read, and ValueError, with the path, for one that is
    damaged, no archive, or without one of the `required` arrays.
    """
    import numpy as np

    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; name an archive that np.savez wrote")
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise ValueError(f"it is no NumPy archive; write one with np.savez(FILE, {', '.join(required)})")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            missing = [name for name in required if name not in archive.files]
            if missing:
                content = shorten_names(sorted(archive.files), 8) or "nothing"
                raise ValueError(f"it has no {missing[0]}, but {content}; it needs {', '.join(required)}")
            names = [name for name in (*required, *optional) if name in archive.files]
            return {name: read_array(archive, name) for name in names}, sorted({*archive.files} - {*names})
    except OSError:
        raise
    except MemoryError as error:
        raise ValueError(f"the arrays of {path} are too large for the memory") from error
    except Exception as error:  # zipfile and NumPy raise exceptions of many types for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, ValueError):
            reason = f"it is damaged or incomplete ({reason}); copy it again, or write it anew"
        raise ValueError(f"{path} cannot be read: {reason}") from error


def read_array(archive: Any, name: str) -> Any:
    """Return an array of an opened archive. Raises ValueError for one that has to be unpickled, or is no array."""
    try:
        array = archive[name]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise ValueError(
            f"{name} holds Python objects, which are not unpickled, as that could run a program; save it as an array "
            "of numbers, or of texts with dtype=str"
        ) from error
    if not hasattr(array, "dtype"):
        raise ValueError(f"{name} is no array")
    return array


def channels_first(array: Any, name: str) -> Any:
    """Return images as an array (N, C, H, W) of the same type, without a copy.

    array: (N, H, W), (N, H, W, C) or (N, C, H, W), with one or three channels. Raises ValueError for another shape or
    type, and where either axis may be that of the channels.
    """
    shape = f"{name} has the shape {tuple(array.shape)}"
    if array.dtype.kind not in "uif":
        numbers = f", as {name}.astype(float) makes them" if array.dtype.kind == "b" else ""
        raise ValueError(
            f"{name} has the type {array.dtype}; levels are unsigned bytes, other integers or floats{numbers}"
        )
    if array.ndim == 3:
        return array[:, None]
    if array.ndim != 4:
        raise ValueError(f"{shape}; images have the shape (N, H, W), (N, H, W, C) or (N, C, H, W): use reshape")
    is_first, is_last = array.shape[1] in N_CHANNELS, array.shape[3] in N_CHANNELS
    if is_first and is_last:
        raise ValueError(f"{shape}, of which the second and the last axis may be the channels; use larger images")
    if not is_first and not is_last:
        raise ValueError(
            f"{shape}, of which neither the second nor the last axis is one channel or three; leave out other "
            f"channels, as {name}[..., :3] leaves out transparency"
        )
    return array if is_first else array.transpose(0, 3, 1, 2)


def level_kind(array: Any) -> str:
    """Return INTEGER or FLOAT for levels that have to be scaled, and an empty text for unsigned bytes."""
    if array.dtype.kind == "f":
        return FLOAT
    return "" if array.dtype == "uint8" else INTEGER


def extrema(array: Any, name: str) -> tuple[float, float]:
    """Return the lowest and the highest level. Raises ValueError for levels that are not finite numbers."""
    low, high = float(array.min()), float(array.max())
    if not (abs(low) < float("inf") and abs(high) < float("inf")):  # NaN, which min and max pass on, is not less
        raise ValueError(f"{name} has values that are not finite numbers; leave out these images, or set the values")
    return low, high


def archive_range(kind: str, low: float, high: float) -> tuple[float, float]:
    """Return the range that becomes 256 levels: that of `level_range`, or 0 to 255 for floats that look like bytes."""
    if kind == FLOAT and low >= 0 and 1 < high <= 255 <= 4 * high:
        return 0.0, 256.0
    return level_range(kind, low, high)


def as_bytes(array: Any, limits: tuple[float, float] | None) -> Tensor:
    """Return images (N, C, H, W) as uint8, with the range `limits` divided into 256 levels; None: they are bytes."""
    import numpy as np

    if limits is None:
        return torch.from_numpy(np.ascontiguousarray(array))
    low, end = limits
    levels = torch.empty(array.shape, dtype=torch.uint8)
    n_at_once = max(1, SCALED_AT_ONCE // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), n_at_once):
        part = (array[start : start + n_at_once].astype(np.float64) - low) * (256 / (end - low))
        levels[start : start + n_at_once] = torch.from_numpy(np.floor(part).clip(0, 255).astype(np.uint8))
    return levels


def in_shape(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return images, uint8 (N, C, H, W), in a shape (C, H, W), as pictures of a folder are brought to it.

    They are cropped in the middle to the aspect ratio of the shape and scaled to it.
    """
    if images.shape[1:] == shape:
        return images
    from PIL import Image, ImageOps

    channels, height, width = shape
    size, mode = (images.shape[3], images.shape[2]), "L" if images.shape[1] == 1 else "RGB"
    parts = [
        Image.frombytes(mode, size, bytes(image.permute(1, 2, 0).contiguous().flatten().tolist())) for image in images
    ]
    return torch.cat(
        [pixels(ImageOps.fit(part.convert("L" if channels == 1 else "RGB"), (width, height))) for part in parts]
    )


def label_numbers(array: Any, name: str, n_images: int) -> list[int]:
    """Return labels, (N,) or (N, 1), as numbers. Raises ValueError for others and for another number of them."""
    shape = f"{name} has the shape {tuple(array.shape)}"
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(f"{shape}; labels are one number an image, as {name}.argmax(1) makes of one column a class")
    if array.shape not in ((n_images,), (n_images, 1)):
        raise ValueError(f"{shape}, but there are {n_images:,} images; labels have the shape (N,) or (N, 1)")
    if array.dtype.kind not in "ui":
        call = f"numpy.unique({name}, return_inverse=True)[1]" if array.dtype.kind in "US" else f"{name}.astype(int)"
        raise ValueError(f"{name} has the type {array.dtype}; labels are integers, as {call} makes them")
    numbers: list[int] = array.reshape(-1).tolist()
    if min(numbers, default=0) < 0:
        raise ValueError(f"{name} has the label {min(numbers)}; labels are counted from 0")
    return numbers


def names_of_labels(arrays: Mapping[str, Any], labels: Sequence[str], path: Path) -> dict[int, str]:
    """Return the name of each class by its label: that of the array CLASS_NAMES, else the label itself as text.

    labels: names of the arrays whose labels have names. Raises ValueError for names that are no texts, blank or alike,
    and for a label without a name.
    """
    numbers = sorted({number for name in labels for number in arrays[name]})
    if CLASS_NAMES not in arrays:
        return {number: str(number) for number in numbers}
    array = arrays[CLASS_NAMES]
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise ValueError(
            f"{CLASS_NAMES} in {path} is {array.dtype} of shape {tuple(array.shape)}; names are a row of texts"
        )
    texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in array.tolist()]
    names = [composed_name(text) for text in texts]
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            state = f"is the same as the name of {names.index(name)}" if name else "is blank"
            raise ValueError(f"the name of class {number} in {path} {state}; give every class a name of its own")
    if numbers and numbers[-1] >= len(names):
        raise ValueError(
            f"{path} has the label {numbers[-1]}, but {len(names)} {CLASS_NAMES}, counted from 0; name every label, or "
            f"leave out {CLASS_NAMES}"
        )
    return dict(enumerate(names))
