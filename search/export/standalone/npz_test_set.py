"""Read the test images of a NumPy archive as the search read it; the exported model.py holds a copy of this source."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from search.data.own.naming import shorten_names
from search.data.own.npz_rules import (
    CLASS_NAMES,
    as_bytes,
    channels_first,
    extrema,
    in_shape,
    label_numbers,
    level_kind,
    names_of_labels,
    read_arrays,
)
from search.data.own.pictures import shown
from search.export.standalone.stand_ins import CLASSES, INPUT_SHAPE, LEVEL_RANGES

# What --test takes.
TEST_SET = "FILE.npz", "NumPy archive with x_test and y_test"


def read_test_set(path: str | Path) -> tuple[Tensor, Tensor, str]:
    """Return the test images, uint8 (N, C, H, W), their labels (N,), and which images these are.

    path: an archive with the arrays x_test and y_test, and class_names if that of the search has it. Raises OSError for
    a file that cannot be read, and ValueError for one that cannot be used.
    """
    file = Path(path)
    arrays, _ = read_arrays(file, ("x_test", "y_test"), (CLASS_NAMES,))
    levels = channels_first(arrays["x_test"], "x_test")
    kind = level_kind(levels)
    if kind not in ("", *LEVEL_RANGES) or (LEVEL_RANGES and not kind):
        trained = "floating-point" if "F" in LEVEL_RANGES else "integer" if LEVEL_RANGES else "uint8"
        form = f"x_test in {shown(file)} has the type {levels.dtype}"
        raise ValueError(f"{form}; the network was trained on {trained} levels")
    if not levels.size:
        raise ValueError(f"x_test in {shown(file)} is empty; add images")
    lowest, highest = extrema(levels, "x_test")
    limits = LEVEL_RANGES.get(kind)
    images = in_shape(as_bytes(levels, limits), INPUT_SHAPE)
    numbers = label_numbers(arrays["y_test"], "y_test", len(images))
    names = names_of_labels({**arrays, "y_test": numbers}, ["y_test"], file)
    known = {label: CLASSES.index(name) for label, name in names.items() if name in CLASSES}
    rows = [row for row, label in enumerate(numbers) if label in known]
    if not rows:
        raise ValueError(f"{shown(file)} has no test image of a class of the network: {', '.join(CLASSES)}")
    text = f"test images: x_test in {shown(file)}"
    if limits and not limits[0] <= lowest <= highest <= limits[1]:
        searched = f"{limits[0]:g} to {limits[1]:g}"
        text += f"\nlevels from {lowest:g} to {highest:g} are cut to the range of the search, {searched}"
    unknown = [names[label] for label in sorted({*numbers} - {*known})]
    if unknown:
        text += f"\nleft out, as the network does not know these classes: {shorten_names(unknown)}"
    return images[rows], torch.tensor([known[numbers[row]] for row in rows]), text
