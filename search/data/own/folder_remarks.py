"""Write the sentences on a folder of images that a search prints at its start and repeats in its report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from search.data.dataset import Split
from search.data.own.decode import DecodedImages
from search.data.own.folder_files import FolderFiles
from search.data.own.folder_rules import (
    SPLIT_FOLDERS,
    TEST_PARTS,
    join_names,
    left_out_text,
    shorten_names,
)
from search.data.own.pictures import FLOAT, INTEGER, shown

# All of so many classes are listed; of more classes, the first ones.
_ALL_LISTED, _FIRST_LISTED = 12, 10
# Images whose levels differ by less, of 255, have little contrast. This share of the levels at either end may be of
# defective pixels, which stretch the range of all images.
_LITTLE_CONTRAST, _OUTLIERS = 16, 0.001
# Images of which cropping to the common aspect ratio leaves a smaller share are counted.
_MUCH_IS_LEFT = 0.5


def folder_remarks(
    folder: Path, folder_files: FolderFiles, decoded: DecodedImages, train: Split, test: Split
) -> tuple[str, ...]:
    """Return what a user should know: classes, what is read and what is not, the form of the images, and the split."""
    return (
        _class_counts(folder_files, train, test),
        *_class_remarks(folder, folder_files),
        *_file_remarks(folder, folder_files, decoded),
        _form_remark(decoded),
        *_level_remarks(decoded),
        *_contrast_remarks(train),
        *_split_remarks(folder_files, train, test),
    )


def unreadable_text(folder: Path, folder_files: FolderFiles, decoded: DecodedImages, addition: str = "") -> str:
    """Return how many image files cannot be read, `addition`, and the first of these files with their reasons."""
    errors = [f"{shown(file.relative_to(folder))} ({reason})" for file, reason in sorted(decoded.errors.items())]
    count = f"{len(errors):,} of {len(folder_files.files):,} image files cannot be read{addition}"
    return f"{count}: {shorten_names(errors)}"


def _class_counts(folder_files: FolderFiles, train: Split, test: Split) -> str:
    """Return the names of the classes, in the order of the labels, with their numbers of images."""
    n_classes = len(folder_files.classes)
    counts = torch.bincount(torch.cat([train.labels, test.labels]), minlength=n_classes).tolist()
    names = [f"{name} ({n:,})" for name, n in zip(folder_files.classes, counts, strict=True)]
    n_listed = n_classes if n_classes <= _ALL_LISTED else _FIRST_LISTED
    return f"{n_classes:,} classes, with their numbers of images: {shorten_names(names, n_listed)}."


def _class_remarks(folder: Path, folder_files: FolderFiles) -> list[str]:
    remarks = []
    # Names of the folders between that of a class and an image.
    depth = 2 if folder_files.has_splits else 1
    inner = {name for file in folder_files.files for name in file.path.relative_to(folder).parts[depth:-1]}
    if inner_splits := sorted(name for name in inner if name.lower() in SPLIT_FOLDERS):
        remarks.append(
            f"Folders called {join_names(inner_splits)} inside the folder of a class are no splits: their images are "
            "read like the others of the class."
        )
    like_splits = [name for name in folder_files.classes if name.lower() in SPLIT_FOLDERS]
    if like_splits and not folder_files.has_splits:
        remarks.append(f"{join_names(like_splits)}: read as a class, not as a split, because of what lies beside it.")
    if folder_files.merged:
        names = shorten_names(folder_files.merged)
        remarks.append(f"Folders whose names differ only in spaces or in their Unicode form are one class: {names}.")
    if folder_files.empty_classes:
        remarks.append(f"Left out, as there are no images of it: {shorten_names(folder_files.empty_classes)}.")
    return remarks


def _file_remarks(folder: Path, folder_files: FolderFiles, decoded: DecodedImages) -> list[str]:
    """Return sentences on the files that were read, left out or read in part."""
    readable = [file.path for file in folder_files.files if file.path not in decoded.errors]
    suffixes = Counter(shown(path.suffix.lower()) for path in readable)
    kinds = [f"{n:,} {suffix}" for suffix, n in sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))]
    remarks = [f"Read: {', '.join(kinds)}."]
    if folder_files.left_out.total():
        remarks[0] += f" Left out: {left_out_text(folder_files.left_out)}."
    if decoded.errors:
        remarks.append(f"Left out, as {unreadable_text(folder, folder_files, decoded)}.")
    frames = [fact.n_frames for fact in decoded.facts if fact.n_frames > 1]
    if frames:
        remarks.append(
            f"Files with several pages or frames: {len(frames):,}; the first of each is read, and "
            f"{sum(frames) - len(frames):,} are left out."
        )
    return remarks


def _form_remark(decoded: DecodedImages) -> str:
    _, channels, height, width = decoded.images.shape
    kind = "grey" if channels == 1 else "colour"
    sizes = Counter(fact.size for fact in decoded.facts)
    if set(sizes) == {(height, width)}:
        return f"All images are {kind} and {height}x{width} (height x width)."
    names = shorten_names([f"{high}x{wide}" for (high, wide), _ in sizes.most_common()])
    ratios = [(high * width / (wide * height), n) for (high, wide), n in sizes.items()]
    n_cropped = sum(n for ratio, n in ratios if min(ratio, 1 / ratio) < _MUCH_IS_LEFT)
    cropped = f" Cropping leaves less than half of {n_cropped:,} of them." if n_cropped else ""
    return f"Images are {kind}, and were brought to {height}x{width} (height x width) from {names}.{cropped}"


def _level_remarks(decoded: DecodedImages) -> list[str]:
    """Return sentences on images with more than eight bits a level."""
    remarks = []
    for kind, (low, end) in decoded.level_ranges.items():
        facts = [fact for fact in decoded.facts if fact.kind == kind]
        lowest, highest = min(fact.extrema[0] for fact in facts), max(fact.extrema[1] for fact in facts)
        name = {INTEGER: "integer levels of more than eight bits", FLOAT: "floating-point levels"}[kind]
        last = end - 1 if kind == INTEGER else end
        remarks.append(
            f"Images with {name}: {len(facts):,}, from {_number(lowest)} to {_number(highest)}; "
            f"{_number(low)} to {_number(last)} became 0 to 255."
        )
    n_cut = sum(fact.is_cut for fact in decoded.facts)
    if n_cut:
        remarks.append(f"Images with sixteen bits a channel, of which Pillow reads the upper eight: {n_cut:,}.")
    return remarks


def _number(level: float) -> str:
    return f"{level:,.0f}" if float(level).is_integer() and abs(level) < 1e12 else f"{level:.4g}"


def _contrast_remarks(train: Split) -> list[str]:
    """Return sentences on channels that have one level, or few levels, in all training images."""
    channels = train.images.transpose(0, 1).flatten(1)
    names = ("The images",) if len(channels) == 1 else tuple(f"Channel {name}" for name in ("red", "green", "blue"))
    remarks = []
    for name, channel in zip(names, channels, strict=True):
        low, high = int(channel.min()), int(channel.max())
        usual_low, usual_high = _usual_levels(channel)
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


def _usual_levels(channel: Tensor) -> tuple[int, int]:
    """Return the range of the levels, uint8 (N,), without the share _OUTLIERS at either end."""
    shares = torch.bincount(channel, minlength=256).cumsum(0) / len(channel)
    return int((shares <= _OUTLIERS).sum()), int((shares < 1 - _OUTLIERS).sum())


def _split_remarks(folder_files: FolderFiles, train: Split, test: Split) -> list[str]:
    remarks = []
    if not folder_files.has_test:
        remarks.append(
            f"There is no folder of test images: one in {TEST_PARTS} of the images to train with is a test image, "
            "class by class, always the same ones."
        )
    untested = [name for label, name in enumerate(folder_files.classes) if not (test.labels == label).any()]
    if untested:
        remarks.append(f"The test set has no image of {shorten_names(untested)}.")
    counts = torch.bincount(train.labels, minlength=len(folder_files.classes)).tolist()
    small_classes = [f"{name} ({n})" for name, n in zip(folder_files.classes, counts, strict=True) if n < TEST_PARTS]
    return remarks + ([f"Very few images to train with: {shorten_names(small_classes)}."] if small_classes else [])
