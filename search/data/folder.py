"""Read a folder of images as a data set: decode the images, bring them to one size and split them.

They are decoded as an exported network decodes its pictures.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from search.config import FOLDER
from search.data.dataset import Split, choose_by_class
from search.data.folder_files import TEST, VAL, FolderFiles, list_files, shorten_names
from search.data.pictures import pixels, upright
from search.errors import InputError

# Largest share of the image files that may be unreadable.
MOST_UNREADABLE = 0.05
# Longest side of the images, unless their size is requested.
LONGEST_SIDE = 64
# One in so many images is a test image, where there is no folder of test images.
TEST_PARTS = 5
TERMS = "They are the images of a folder; on what terms they may be used, only those who have them can say."

_ORIENTATION = 0x0112  # the EXIF tag for the orientation of the camera
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class FolderData:
    """Images and labels read from a folder.

    train    all images to train with, including those of a folder `val`
    is_val   mask of the training images that come from a folder `val`, bool (N,)
    remarks  sentences that their user should know
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    is_val: Tensor
    test: Split
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _DecodedImages:
    """Images decoded from files.

    images       uint8 (N, C, H, W), of the readable files
    is_readable  mask of the files that could be read, bool, one value a file
    unreadable   path and error of every other file
    sizes        number of files of each (height, width)
    """

    images: Tensor
    is_readable: Tensor
    unreadable: tuple[tuple[str, str], ...]
    sizes: Counter[tuple[int, int]]


def read_folder(folder: Path, size: tuple[int, ...] = ()) -> FolderData:
    """Read all images of a folder and split them into training and test images.

    Images are rotated as their cameras recorded it. Transparency is filled with black or white, and sixteen bits are
    reduced to eight. The images have one channel (grey) where none of them has a colour, else three. They are cropped
    in the middle to the aspect ratio of `size` (height, width) and scaled to it. Without `size` they get the most
    common size, scaled down until no side exceeds LONGEST_SIDE. Without a folder `test`, one in TEST_PARTS images of
    every class is a test image, always the same ones.

    Raises InputError as `list_files` does, if more than MOST_UNREADABLE of the files are unreadable, and if a class has
    no image left to train with or the data set has none to test with.
    """
    folder_files = list_files(folder)
    entries = [(split, file, label) for split, files in folder_files.files.items() for file, label in files]
    files = tuple(file for _, file, _ in entries)
    decoded = _decode(files, tuple(map(_stamp, files)), size)
    remarks = _remarks(folder, decoded)
    readable = [entry for entry, is_readable in zip(entries, decoded.is_readable, strict=True) if is_readable]
    all_images = Split(decoded.images, torch.tensor([label for _, _, label in readable], dtype=torch.int64))
    splits = [split for split, _, _ in readable]
    is_test = torch.tensor([split == TEST for split in splits])
    is_val = torch.tensor([split == VAL for split in splits])
    if not is_test.any():
        # Validation images stay out of the test set.
        rows = (~is_val).nonzero().flatten()
        is_test[rows[choose_by_class(all_images.labels[rows], TEST_PARTS)]] = True
    train, test = all_images.take(~is_test), all_images.take(is_test)
    _check_splits(folder, folder_files, train, test)
    remarks += folder_files.remarks + _split_remarks(folder_files, train, test)
    # Resolved, because the path may be a link or end in "..".
    name = f"{FOLDER}:{folder.resolve().name}"
    return FolderData(name, folder_files.classes, train, is_val[~is_test], test, remarks)


def _stamp(file: Path) -> tuple[int, int]:
    """Return the size and the modification time of a file, or (-1, -1) where it cannot be examined.

    They are part of the key of `_decode`'s cache, so that unchanged files are not read again.
    """
    try:
        status = os.stat(file)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _decode(
    files: tuple[Path, ...], _stamps: tuple[tuple[int, int], ...], requested_size: tuple[int, ...]
) -> _DecodedImages:
    sizes: list[tuple[int, int] | None] = []
    errors: dict[Path, str] = {}
    for file in files:
        try:
            sizes.append(_size(file))
        except Exception as error:  # Pillow raises almost anything for a damaged file
            sizes.append(None)
            errors[file] = _short_message(error)
    counts = Counter(size for size in sizes if size)
    height, width = requested_size or _usual_size(counts)
    images, is_readable = [], []
    for file, size in zip(files, sizes, strict=True):
        try:
            if size:
                images.append(_levels(file, height, width))
        except Exception as error:
            errors[file] = _short_message(error)
        is_readable.append(file not in errors)
    colours = torch.cat(images) if images else torch.empty(0, 3, height, width, dtype=torch.uint8)
    is_grey = bool((colours == colours[:, :1]).all())
    unreadable = tuple((str(file), errors[file]) for file in files if file in errors)
    levels = colours[:, :1].contiguous() if is_grey else colours
    return _DecodedImages(levels, torch.tensor(is_readable, dtype=torch.bool), unreadable, counts)


def _size(file: Path) -> tuple[int, int]:
    """Return the height and width of the upright image without reading its pixels."""
    if not file.is_file():
        raise FileNotFoundError("not a file" if file.exists() else "a link to nothing")
    with Image.open(file) as picture:
        width, height = picture.size
        is_sideways = picture.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (width, height) if is_sideways else (height, width)


def _usual_size(counts: Counter[tuple[int, int]]) -> tuple[int, int]:
    """Return the most common size, scaled down until no side exceeds LONGEST_SIDE.

    Of equally common sizes the smallest is used.
    """
    if not counts:
        return 1, 1
    height, width = min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _levels(file: Path, height: int, width: int) -> Tensor:
    """Return the pixels of an image file in the requested size, uint8 (1, 3, height, width)."""
    picture = upright(file).convert("RGB")
    return pixels(picture if picture.size == (width, height) else ImageOps.fit(picture, (width, height)))


def _short_message(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # The message of Pillow repeats the path, which the caller prints itself.
    return "no image" if isinstance(error, UnidentifiedImageError) else " ".join(str(text).split())[:80]


def _remarks(folder: Path, decoded: _DecodedImages) -> tuple[str, ...]:
    """Return sentences on the files that could not be read and on the form of the images.

    Raises InputError if more than MOST_UNREADABLE of the files could not be read.
    """
    n_files = len(decoded.is_readable)
    errors = [f"{os.path.relpath(file, folder)} ({error})" for file, error in decoded.unreadable]
    remarks: list[str] = []
    if errors:
        count = f"{len(errors):,} of {n_files:,} image files cannot be read"
        if len(errors) > MOST_UNREADABLE * n_files:
            raise InputError(
                f"{count} in {folder}, more than {MOST_UNREADABLE:.0%}: {shorten_names(errors)}; repair or remove them"
            )
        remarks.append(f"Left out, as {count}: {shorten_names(errors)}.")
    _, channels, height, width = decoded.images.shape
    kind = "grey" if channels == 1 else "colour"
    if set(decoded.sizes) == {(height, width)}:
        remarks.append(f"All images are {kind} and {height}x{width} (height x width).")
    else:
        sizes = shorten_names([f"{high}x{wide}" for (high, wide), _ in decoded.sizes.most_common()])
        remarks.append(f"Images are {kind}, and were brought to {height}x{width} (height x width) from {sizes}.")
    return tuple(remarks)


def _check_splits(folder: Path, folder_files: FolderFiles, train: Split, test: Split) -> None:
    missing = [name for label, name in enumerate(folder_files.classes) if not (train.labels == label).any()]
    if missing:
        raise InputError(
            f"no image of {shorten_names(missing)} in {folder} can be read; repair or remove these classes"
        )
    if not len(test):
        raise InputError(f"{folder} has no class with two images, so none is left to test with; add images")


def _split_remarks(folder_files: FolderFiles, train: Split, test: Split) -> tuple[str, ...]:
    remarks = []
    if TEST not in folder_files.files:
        remarks.append(
            f"There is no folder of test images: one in {TEST_PARTS} of the images to train with is a test image, "
            "class by class, always the same ones."
        )
    untested = [name for label, name in enumerate(folder_files.classes) if not (test.labels == label).any()]
    if untested:
        remarks.append(f"The test set has no image of {shorten_names(untested)}.")
    counts = torch.bincount(train.labels, minlength=len(folder_files.classes)).tolist()
    small_classes = [f"{name} ({n})" for name, n in zip(folder_files.classes, counts, strict=True) if n < TEST_PARTS]
    return (*remarks, *([f"Very few images to train with: {shorten_names(small_classes)}."] if small_classes else []))
