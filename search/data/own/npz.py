"""Read a NumPy archive with training and test images as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.config import MAX_SIDE, MIN_SIDE, NPZ
from search.data.dataset import Split
from search.data.own.copies import first_copies
from search.data.own.copy_rules import leave_out_copies
from search.data.own.folder_rules import TEST, TRAIN, VAL
from search.data.own.image_remarks import (
    class_counts,
    contrast_remarks,
    empty_classes_remark,
    form_remark,
    level_remark,
    thin_class_remarks,
)
from search.data.own.naming import shorten_names
from search.data.own.npz_rules import (
    CLASS_NAMES,
    archive_range,
    as_bytes,
    channels_first,
    extrema,
    in_shape,
    label_numbers,
    level_kind,
    names_of_labels,
    read_arrays,
)
from search.data.own.own_images import OwnImages, check_learnable
from search.data.own.pictures import shown
from search.errors import InputError

_SPLITS = (TRAIN, VAL, TEST)
_REQUIRED = ("x_train", "y_train", "x_test", "y_test")
_OPTIONAL = ("x_val", "y_val", CLASS_NAMES)


def read_npz(path: Path, size: tuple[int, ...] = ()) -> OwnImages:
    """Read images and labels from the arrays x_train, y_train, x_test, y_test and optionally x_val, y_val, class_names.

    Levels that are not unsigned bytes are scaled to eight bits, by one range for all images. The images have one
    channel (grey) where none of them has a colour, else three. With `size` (height, width) they are cropped in the
    middle to its aspect ratio and scaled to it. Training images that are copies of test images are left out.

    Raises InputError for a file that cannot be read, for arrays of other shapes or types, for fewer than two classes,
    for labels without training images, and for images without contrast.
    """
    if shown(path) != str(path):
        raise InputError(f"the path {shown(path)} is not UTF-8 text; rename that file, or give a link to it")
    try:
        arrays, unread = read_arrays(path, _REQUIRED, _OPTIONAL)
        return _read(path, arrays, unread, size)
    except OSError as error:
        state = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"
        raise InputError(f"{path} {state}; --dataset npz:FILE takes a NumPy archive") from error
    except ValueError as error:
        raise InputError(str(error)) from error


def _read(path: Path, arrays: Mapping[str, Any], unread: list[str], size: tuple[int, ...]) -> OwnImages:
    """Return the images of loaded arrays. Raises ValueError and InputError for arrays that cannot be used."""
    splits = [split for split in _SPLITS if f"x_{split}" in arrays]
    for one, other in (("x_val", "y_val"), ("y_val", "x_val")):
        if one in arrays and other not in arrays:
            raise ValueError(f"{path} has {one}, but no {other}; add it, or leave out both")
    form = _common_form(path, {f"x_{split}": arrays[f"x_{split}"] for split in splits})
    levels = {split: channels_first(arrays[f"x_{split}"], f"x_{split}") for split in splits}
    ranges, level_remarks = _level_ranges(levels)
    images = torch.cat([as_bytes(levels[split], next(iter(ranges.values()), None)) for split in splits])
    if bool((images == images[:, :1]).all()):
        images = images[:, :1]
    height, width = size or form
    images = in_shape(images.contiguous(), (images.shape[1], height, width))
    numbers = {split: label_numbers(arrays[f"y_{split}"], f"y_{split}", len(levels[split])) for split in splits}
    classes, labels, empty = _classes(path, arrays, numbers)
    everything = Split(images, labels)
    part_of = [split for split in splits for _ in numbers[split]]
    is_test = torch.tensor([split == TEST for split in part_of])
    is_val = torch.tensor([split == VAL for split in part_of])

    def name_of(row: int) -> str:
        return f"x_{part_of[row]}[{row - part_of.index(part_of[row])}]"

    is_train, copy_remarks = leave_out_copies(name_of, labels, first_copies(images), is_test)
    train, test = everything.take(is_train), everything.take(is_test)
    check_learnable(path, classes, train)
    remarks = (
        class_counts(classes, train, test),
        *empty_classes_remark(empty),
        *([f"Arrays that are not read: {shorten_names([shown(name) for name in unread])}."] if unread else []),
        form_remark(images, [(form, len(images))]),
        *level_remarks,
        *contrast_remarks(train),
        *thin_class_remarks(classes, train, test),
        *copy_remarks,
    )
    name = f"{NPZ}:{shown(path.resolve().stem)}"
    return OwnImages(name, classes, train, is_val[is_train], test, (), True, ranges, remarks, keeps_copies=False)


def _common_form(path: Path, arrays: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of all images. Raises ValueError for arrays that do not fit together, or are empty."""
    shapes = {name: channels_first(array, name).shape for name, array in arrays.items()}
    shape, dtype = shapes["x_train"][1:], arrays["x_train"].dtype
    for name, array in arrays.items():
        if not array.size:
            raise ValueError(f"{name} in {path} is empty; add images{', or leave it out' if name == 'x_val' else ''}")
        if shapes[name][1:] != shape:
            sizes = f"images of {_sizes(shapes[name][1:])}, x_train of {_sizes(shape)}"
            raise ValueError(f"{name} in {path} has {sizes}; give all images one shape")
        if array.dtype != dtype:
            raise ValueError(f"{name} in {path} has the type {array.dtype}, x_train {dtype}; give all images one type")
    _, height, width = shape
    if not MIN_SIDE <= min(height, width) <= max(height, width) <= MAX_SIDE:
        raise ValueError(
            f"the images of {path} have {height}x{width} pixels (height x width); a side needs {MIN_SIDE} to {MAX_SIDE}"
        )
    return height, width


def _sizes(shape: tuple[int, ...]) -> str:
    return f"{'x'.join(map(str, shape))} (channels, height, width)"


def _level_ranges(levels: Mapping[str, Any]) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Return the range of the levels that becomes eight bits, by its kind, and a sentence on it; nothing for bytes."""
    kind = level_kind(levels[TRAIN])
    if not kind:
        return {}, []
    lows, highs = zip(*(extrema(array, f"x_{split}") for split, array in levels.items()), strict=True)
    found = min(lows), max(highs)
    limits = archive_range(kind, *found)
    name = f"Levels of type {levels[TRAIN].dtype}"
    if limits == (0, 256):
        return {kind: limits}, [f"{name}, from {found[0]:g} to {found[1]:g}, are read as 0 to 255."]
    return {kind: limits}, [level_remark(name, kind, found, limits)]


def _classes(
    path: Path, arrays: Mapping[str, Any], numbers: Mapping[str, list[int]]
) -> tuple[tuple[str, ...], Tensor, list[str]]:
    """Return the names of the classes, the labels of all images, int64 (N,), and the names of classes without images.

    Raises ValueError for fewer than two classes, and for a label that no training image has.
    """
    named = {f"y_{split}": found for split, found in numbers.items()}
    names = names_of_labels({**arrays, **named}, list(named), path)
    trained = sorted(set(numbers[TRAIN]) | set(numbers.get(VAL, ())))
    if len(trained) < 2:
        raise ValueError(f"{path} has training images of one class alone, {names[trained[0]]!r}; add others")
    for name, found in named.items():
        unknown = sorted(set(found) - set(numbers[TRAIN]))
        if unknown:
            raise ValueError(
                f"{name} in {path} has the label {unknown[0]}, of which y_train has none; add training images of it"
            )
    number_of = {label: number for number, label in enumerate(trained)}
    labels = torch.tensor([number_of[label] for split in numbers for label in numbers[split]], dtype=torch.int64)
    empty = [name for label, name in names.items() if label not in number_of]
    return tuple(names[label] for label in trained), labels, empty
