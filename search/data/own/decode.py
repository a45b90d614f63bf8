"""Decode image files and bring the images to one size, as an exported network decodes its pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import ImageOps, UnidentifiedImageError
from torch import Tensor

from search.data.own.pictures import deep_kind, finite_extrema, level_range, opened, orientation, pixels, upright

# Longest side of the images, unless their size is requested.
LONGEST_SIDE = 64

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations


class PictureFacts(NamedTuple):
    """Facts about an image file.

    size      height and width of the upright image
    n_frames  number of pages or frames
    kind      search.data.own.pictures.INTEGER or FLOAT for more than eight bits a level, else empty
    extrema   lowest and highest level of such an image
    is_cut    whether Pillow reads only the upper eight of sixteen bits
    """

    size: tuple[int, int]
    n_frames: int
    kind: str
    extrema: tuple[float, float]
    is_cut: bool


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Images decoded from files.

    images        uint8 (N, C, H, W), of the readable files
    facts         facts about these files
    errors        reasons why the other files cannot be read
    level_ranges  ranges of levels that were scaled to eight bits, as in search.data.own.pictures.upright
    """

    images: Tensor
    facts: tuple[PictureFacts, ...]
    errors: Mapping[Path, str]
    level_ranges: Mapping[str, tuple[float, float]]


def decode_files(files: tuple[Path, ...], size: tuple[int, ...]) -> DecodedImages:
    """Return the images of the readable files, in their order; unchanged files are not read a second time.

    size: height and width of the images, or () for the most common size, scaled down until no side exceeds
    LONGEST_SIDE. They have one channel where none of them has a colour, else three.
    """
    return _decode(files, tuple(map(_stamp, files)), size)


def _stamp(file: Path) -> tuple[int, int]:
    """Return the size and the modification time of a file, or (-1, -1) where it cannot be examined.

    They are part of the key of the cache, so that changed files are read again.
    """
    try:
        status = os.stat(file)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _decode(
    files: tuple[Path, ...], _stamps: tuple[tuple[int, int], ...], requested_size: tuple[int, ...]
) -> DecodedImages:
    facts: dict[Path, PictureFacts] = {}
    errors: dict[Path, str] = {}
    for file in files:
        try:
            facts[file] = _examine(file)
        except (OSError, ValueError) as error:
            errors[file] = _reason(error)
    ranges = _level_ranges(facts.values())
    height, width = requested_size or _usual_size(Counter(fact.size for fact in facts.values()))
    images = []
    for file in list(facts):
        try:
            images.append(_levels(file, height, width, ranges))
        except (OSError, ValueError) as error:
            errors[file] = _reason(error)
            del facts[file]
    colours = torch.cat(images) if images else torch.empty(0, 3, height, width, dtype=torch.uint8)
    is_grey = bool((colours == colours[:, :1]).all())
    levels = colours[:, :1].contiguous() if is_grey else colours
    return DecodedImages(levels, tuple(facts.values()), errors, ranges)


def _examine(file: Path) -> PictureFacts:
    """Return facts about an image file; its pixels are read only if it has more than eight bits a level."""
    if not file.exists():
        raise FileNotFoundError("a link to nothing")
    with opened(file) as picture:
        width, height = picture.size
        kind = deep_kind(picture)
        # Pillow names the form of the pixels in the file, for example "RGB;16B".
        is_cut = not kind and ";16" in str([tile.args for tile in getattr(picture, "tile", ())])
        # Pillow gives the size of the upright image for TIFF alone.
        is_sideways = picture.format != "TIFF" and orientation(picture) in _SIDEWAYS
        n_frames = getattr(picture, "n_frames", 1)
        extrema = finite_extrema(picture) if kind else (0, 255)
    return PictureFacts((width, height) if is_sideways else (height, width), n_frames, kind, extrema, is_cut)


def _level_ranges(facts: Collection[PictureFacts]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for kind in sorted({fact.kind for fact in facts if fact.kind}):
        lows, highs = zip(*(fact.extrema for fact in facts if fact.kind == kind), strict=True)
        ranges[kind] = level_range(kind, min(lows), max(highs))
    return ranges


def _usual_size(counts: Counter[tuple[int, int]]) -> tuple[int, int]:
    """Return the most common size, scaled down until no side exceeds LONGEST_SIDE.

    Of equally common sizes the smallest is used.
    """
    if not counts:
        return 1, 1
    height, width = min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _levels(file: Path, height: int, width: int, ranges: Mapping[str, tuple[float, float]]) -> Tensor:
    """Return the pixels of an image file in the requested size, uint8 (1, 3, height, width)."""
    picture = upright(file, ranges).convert("RGB")
    return pixels(picture if picture.size == (width, height) else ImageOps.fit(picture, (width, height)))


def _reason(error: OSError | ValueError) -> str:
    """Return why an image file cannot be read, on one line and without its path."""
    if isinstance(error.__cause__, UnidentifiedImageError):
        return "no picture that Pillow can read"
    return " ".join(str(getattr(error, "strerror", None) or error).split())
