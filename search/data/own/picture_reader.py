"""Read picture files in batches: their facts, and their pixels in one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import ImageOps, UnidentifiedImageError

from search.data.own.pictures import deep_kind, finite_extrema, opaque, opened, orientation, turned, upright

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations
# Formats whose facts and pixels are read in one go. To know the frames of some others, one has to read through them.
_SIMPLE_FORMATS = ("JPEG", "PNG", "BMP")


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


class Batch(NamedTuple):
    """Files that were read: facts and errors by the number of the file, and the levels (N, 3, H, W) of some of them."""

    facts: dict[int, PictureFacts]
    errors: dict[int, str]
    rows: list[int]
    pixels: bytes


@dataclass(frozen=True)
class PictureReader:
    """Function that reads files by their numbers.

    ranges: as in search.data.own.pictures.upright, once they are known; until then, files that need them, and those of
    formats whose facts and pixels are better read separately, are only examined
    """

    files: tuple[Path, ...]
    size: tuple[int, ...]
    ranges: Mapping[str, tuple[float, float]] | None = None

    def __call__(self, rows: Sequence[int]) -> Batch:
        """Read the files with these numbers."""
        batch = Batch({}, {}, [], b"")
        parts = []
        for row in rows:
            try:
                if self.ranges is None:
                    batch.facts[row], pixels = examine(self.files[row], self.size)
                else:
                    pixels = fitted(upright(self.files[row], self.ranges), self.size)
            except (OSError, ValueError) as error:
                batch.facts.pop(row, None)
                batch.errors[row] = _reason(error)
                continue
            if pixels:
                batch.rows.append(row)
                parts.append(pixels)
        if not parts:
            return batch
        levels = torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8).view(len(parts), *self.size, 3)
        return batch._replace(pixels=levels.permute(0, 3, 1, 2).contiguous().numpy().tobytes())


def examine(file: Path, size: tuple[int, ...] = ()) -> tuple[PictureFacts, bytes]:
    """Return facts about an image file, and its pixels in a size, if it is of a simple form.

    Otherwise its pixels are read only if it has more than eight bits a level.
    """
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
        facts = PictureFacts((width, height) if is_sideways else (height, width), n_frames, kind, extrema, is_cut)
        is_simple = picture.format in _SIMPLE_FORMATS and not kind and n_frames == 1
        return facts, fitted(opaque(turned(picture, {})), size) if size and is_simple else b""


def fitted(picture: Any, size: tuple[int, ...]) -> bytes:
    """Return the pixels of a PIL image, RGB, cropped and scaled to a height and a width."""
    height, width = size
    picture = picture.convert("RGB")
    picture = picture if picture.size == (width, height) else ImageOps.fit(picture, (width, height))
    pixels: bytes = picture.tobytes()
    return pixels


def _reason(error: OSError | ValueError) -> str:
    """Return why an image file cannot be read, on one line and without its path."""
    if isinstance(error.__cause__, UnidentifiedImageError):
        return "no picture that Pillow can read"
    return " ".join(str(getattr(error, "strerror", None) or error).split())
