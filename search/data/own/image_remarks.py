"""Write the sentences on images that folders and archives share: classes, levels, contrast, and thin classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from search.data.dataset import Split
from search.data.own.folder_rules import TEST_PARTS
from search.data.own.naming import shorten_names
from search.data.own.pictures import INTEGER

# All of so many classes are listed; of more classes, the first ones.
_ALL_LISTED, _FIRST_LISTED = 12, 10
# Images whose levels differ by less, of 255, have little contrast. This share of the levels at either end may be of
# defective pixels, which stretch the range of all images.
_LITTLE_CONTRAST, _OUTLIERS = 16, 0.001
# Images of which cropping to the common aspect ratio leaves a smaller share are counted.
_MUCH_IS_LEFT = 0.5


def class_counts(classes: Sequence[str], train: Split, test: Split) -> str:
    """Return the names of the classes, in the order of the labels, with their numbers of images."""
    n_classes = len(classes)
    counts = torch.bincount(torch.cat([train.labels, test.labels]), minlength=n_classes).tolist()
    names = [f"{name} ({n:,})" for name, n in zip(classes, counts, strict=True)]
    n_listed = n_classes if n_classes <= _ALL_LISTED else _FIRST_LISTED
    return f"{n_classes:,} classes, with their numbers of images: {shorten_names(names, n_listed)}."


def empty_classes_remark(names: Sequence[str]) -> list[str]:
    """Return a sentence on the classes that have no images, if there are such classes."""
    return [f"Left out, as there are no images of it: {shorten_names(names)}."] if names else []


def form_remark(images: Tensor, sizes: Sequence[tuple[tuple[int, int], int]]) -> str:
    """Return a sentence on the channels and the size of images, uint8 (N, C, H, W).

    sizes: heights and widths before they were brought to one size, with their numbers of images, the commonest first
    """
    _, channels, height, width = images.shape
    kind = "grey" if channels == 1 else "colour"
    if {size for size, _ in sizes} == {(height, width)}:
        return f"All images are {kind} and {height}x{width} (height x width)."
    names = shorten_names([f"{high}x{wide}" for (high, wide), _ in sizes])
    ratios = [(high * width / (wide * height), n) for (high, wide), n in sizes]
    n_cropped = sum(n for ratio, n in ratios if min(ratio, 1 / ratio) < _MUCH_IS_LEFT)
    cropped = f" Cropping leaves less than half of {n_cropped:,} of them." if n_cropped else ""
    return f"Images are {kind}, and were brought to {height}x{width} (height x width) from {names}.{cropped}"


def level_remark(levels: str, kind: str, extrema: tuple[float, float], limits: tuple[float, float]) -> str:
    """Return a sentence on levels that were scaled to eight bits.

    levels: which ones, the subject of the sentence; kind: INTEGER or FLOAT; extrema: lowest and highest level; limits:
    the range that became the 256 levels
    """
    low, end = limits
    last = end - 1 if kind == INTEGER else end
    lowest, highest = extrema
    return f"{levels}, from {_number(lowest)} to {_number(highest)}; {_number(low)} to {_number(last)} became 0 to 255."


def _number(level: float) -> str:
    return f"{level:,.0f}" if float(level).is_integer() and abs(level) < 1e12 else f"{level:.4g}"


def contrast_remarks(train: Split) -> list[str]:
    """Return sentences on channels that have one level, or few levels, in all training images."""
    channels = train.images.unbind(1)
    names = ("The images",) if len(channels) == 1 else tuple(f"Channel {name}" for name in ("red", "green", "blue"))
    remarks = []
    for name, channel in zip(names, channels, strict=True):
        counts = torch.bincount(channel.flatten(), minlength=256)
        present = counts.nonzero()
        low, high = int(present[0]), int(present[-1])
        usual_low, usual_high = _usual_levels(counts)
        if low == high:
            remarks.append(f"{name}: the same level, {low}, in all training images, so nothing is learned from it.")
        elif high - low < _LITTLE_CONTRAST:
            remarks.append(f"{name}: levels {low} to {high} of 0 to 255 alone, which is little contrast.")
        elif usual_high - usual_low < _LITTLE_CONTRAST:
            remarks.append(
                f"{name}: {1 - 2 * _OUTLIERS:.1%} of the levels are {usual_low} to {usual_high} of 0 to 255, which is "
                "little contrast; defective pixels or other ranges of levels may be the reason."
            )
    return remarks


def _usual_levels(counts: Tensor) -> tuple[int, int]:
    """Return the range of the levels, counted in (256,), without the share _OUTLIERS at either end."""
    shares = counts.cumsum(0) / counts.sum()
    return int((shares <= _OUTLIERS).sum()), int((shares < 1 - _OUTLIERS).sum())


def thin_class_remarks(classes: Sequence[str], train: Split, test: Split) -> list[str]:
    """Return sentences on classes without test images, and on those with very few images to train with."""
    untested = [name for label, name in enumerate(classes) if not (test.labels == label).any()]
    remarks = [f"The test set has no image of {shorten_names(untested)}."] if untested else []
    counts = torch.bincount(train.labels, minlength=len(classes)).tolist()
    small_classes = [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n < TEST_PARTS]
    return remarks + ([f"Very few images to train with: {shorten_names(small_classes)}."] if small_classes else [])
