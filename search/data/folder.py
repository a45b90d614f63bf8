"""A folder of images as a data set: read as an exported network reads its pictures, brought to one size, split."""

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
from search.data.dataset import Split, chosen_by_class
from search.data.folder_files import TEST, VAL, FolderFiles, list_files, named
from search.data.pictures import pixels, upright
from search.errors import InputError

# Of the image files, how many may be unreadable.
MOST_UNREADABLE = 0.05
# The commonest size is taken, but with no side longer than this.
LONGEST_SIDE = 64
# One of so many images is a test image, where there is no folder of them.
TEST_PARTS = 5
TERMS = "They are the images of a folder; on what terms they may be used, only those who have them can say."

_ORIENTATION = 0x0112  # the EXIF tag of how a camera was held
_ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class FolderData:
    """Images and labels read from a folder.

    train    all images to learn from, those of a folder `val` among them: of_val, bool (N,)
    remarks  what its user should know, a sentence each
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    of_val: Tensor
    test: Split
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Decoded:
    """images: uint8 (N, C, H, W) of those files that could be read; unreadable: the others, with what is wrong."""

    images: Tensor
    is_readable: Tensor
    unreadable: tuple[tuple[str, str], ...]
    sizes: Counter[tuple[int, int]]


def read_folder(folder: Path, size: tuple[int, ...] = ()) -> FolderData:
    """Read all images of a folder.

    Turned as their cameras say, transparency on black or white, sixteen bits cut to eight; grey (one channel) where no
    image has a colour, else three channels. Cut to the shape of `size` (height, width) in the middle and scaled;
    without it to the commonest size, scaled down until no side is over LONGEST_SIDE. Without a folder `test` one image
    in TEST_PARTS is a test image, class by class, always the same ones.

    Raises InputError as `list_files` does, where more than MOST_UNREADABLE of the files are no images, and where none
    is left to train or test with.
    """
    listed = list_files(folder)
    entries = [(split, file, label) for split, files in listed.files.items() for file, label in files]
    files = tuple(file for _, file, _ in entries)
    decoded = _decode(files, tuple(map(_stamp, files)), size)
    remarks = _remarks(folder, decoded)
    kept = [entry for entry, readable in zip(entries, decoded.is_readable.tolist(), strict=True) if readable]
    everything = Split(decoded.images, torch.tensor([label for _, _, label in kept], dtype=torch.int64))
    where = [split for split, _, _ in kept]
    of_test = torch.tensor([split == TEST for split in where])
    of_val = torch.tensor([split == VAL for split in where])
    if not of_test.any():
        # Of what is no validation image.
        rows = (~of_val).nonzero().flatten()
        of_test[rows[chosen_by_class(everything.labels[rows], TEST_PARTS)]] = True
    train, test = everything.take(~of_test), everything.take(of_test)
    _check_splits(folder, listed, train, test)
    remarks += listed.remarks + _split_remarks(listed, train, test)
    # The folder's own name, also where it was given as a link or as "..".
    name = f"{FOLDER}:{folder.resolve().name}"
    return FolderData(name, listed.classes, train, of_val[~of_test], test, remarks)


def _stamp(file: Path) -> tuple[int, int]:
    """Size and time of change, so that what was read once is not read again as long as it stands."""
    try:
        found = os.stat(file)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1)
def _decode(files: tuple[Path, ...], _stamps: tuple[tuple[int, int], ...], size: tuple[int, ...]) -> _Decoded:
    sizes: list[tuple[int, int] | None] = []
    faults: dict[Path, str] = {}
    for file in files:
        try:
            sizes.append(_size(file))
        except Exception as error:  # Pillow raises almost anything for a damaged file
            sizes.append(None)
            faults[file] = _brief(error)
    counted = Counter(one for one in sizes if one)
    height, width = size or _usual_size(counted)
    images, is_readable = [], []
    for file, found in zip(files, sizes, strict=True):
        try:
            if found:
                images.append(_levels(file, height, width))
        except Exception as error:
            faults[file] = _brief(error)
        is_readable.append(file not in faults)
    together = torch.cat(images) if images else torch.empty(0, 3, height, width, dtype=torch.uint8)
    is_grey = bool((together == together[:, :1]).all())
    unreadable = tuple((str(file), faults[file]) for file in files if file in faults)
    levels = together[:, :1].contiguous() if is_grey else together
    return _Decoded(levels, torch.tensor(is_readable, dtype=torch.bool), unreadable, counted)


def _size(file: Path) -> tuple[int, int]:
    """Height and width as it is to be looked at; of the pixels nothing is read."""
    if not file.is_file():
        raise FileNotFoundError("not a file" if file.exists() else "a link to nothing")
    with Image.open(file) as picture:
        width, height = picture.size
        turned = picture.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    return (width, height) if turned else (height, width)


def _usual_size(counts: Counter[tuple[int, int]]) -> tuple[int, int]:
    """The commonest one, of equals the smallest, scaled down until no side is over LONGEST_SIDE."""
    if not counts:
        return 1, 1
    height, width = min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _levels(file: Path, height: int, width: int) -> Tensor:
    """uint8 (1, 3, H, W)."""
    picture = upright(file).convert("RGB")
    return pixels(picture if picture.size == (width, height) else ImageOps.fit(picture, (width, height)))


def _brief(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # Pillow names the whole path, which stands beside it already.
    return "no image" if isinstance(error, UnidentifiedImageError) else " ".join(str(text).split())[:80]


def _remarks(folder: Path, decoded: _Decoded) -> tuple[str, ...]:
    """Say what could not be read, and what was resized. Raises InputError where too much could not be read."""
    n_files = len(decoded.is_readable)
    faults = [f"{os.path.relpath(file, folder)} ({fault})" for file, fault in decoded.unreadable]
    found: list[str] = []
    if faults:
        cannot = f"{len(faults):,} of {n_files:,} image files cannot be read"
        if len(faults) > MOST_UNREADABLE * n_files:
            raise InputError(
                f"{cannot} in {folder}, more than {MOST_UNREADABLE:.0%}: {named(faults)}; repair or remove them"
            )
        found.append(f"Left out, as {cannot}: {named(faults)}.")
    _, channels, height, width = decoded.images.shape
    kind = "grey" if channels == 1 else "colour"
    if set(decoded.sizes) == {(height, width)}:
        found.append(f"All images are {kind} and {height}x{width} (height x width).")
    else:
        was = named([f"{high}x{wide}" for (high, wide), _ in decoded.sizes.most_common()])
        found.append(f"Images are {kind}, and were brought to {height}x{width} (height x width) from {was}.")
    return tuple(found)


def _check_splits(folder: Path, listed: FolderFiles, train: Split, test: Split) -> None:
    missing = [name for label, name in enumerate(listed.classes) if not (train.labels == label).any()]
    if missing:
        raise InputError(f"no image of {named(missing)} in {folder} can be read; repair or remove these classes")
    if not len(test):
        raise InputError(f"{folder} has no class with two images, so none is left to test with; add images")


def _split_remarks(listed: FolderFiles, train: Split, test: Split) -> tuple[str, ...]:
    found = []
    if TEST not in listed.files:
        found.append(
            f"There is no folder of test images: one in {TEST_PARTS} of the images to train with is a test image, "
            "class by class, always the same ones."
        )
    untested = [name for label, name in enumerate(listed.classes) if not (test.labels == label).any()]
    if untested:
        found.append(f"The test set has no image of {named(untested)}.")
    counts = torch.bincount(train.labels, minlength=len(listed.classes)).tolist()
    few = [f"{name} ({n})" for name, n in zip(listed.classes, counts, strict=True) if n < TEST_PARTS]
    return (*found, *([f"Very few images to train with: {named(few)}."] if few else []))
