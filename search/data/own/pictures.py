"""Read pictures of any kind and size.

An exported model.py holds a copy of this source, so that it reads pictures as the search did. Therefore it uses only
the standard library, torch and Pillow.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Most pixels of a picture that is read. They take 1 GiB in memory, and twice that with transparency.
MOST_PIXELS = 2**28
# Pictures with more pixels are reduced before anything else, because each change would copy all of them.
MANY_PIXELS = 89_478_485
# Longest side of a picture after reading.
MOST_ON_A_SIDE = 1024
# Control characters, line separators, and marks that reverse the direction of a text on a terminal.
CONTROLS = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
# EXIF orientation of a picture that is not turned.
UPRIGHT = 1
# Kinds of pictures with more than eight bits a level: integers and floating-point numbers.
INTEGER, FLOAT = "I", "F"


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Open an image file as a PIL image, without Pillow's warnings.

    Raises OSError for a file that cannot be opened. Raises ValueError, with the reason alone, for one that is damaged,
    not a picture, larger than MOST_PIXELS or of a form that Pillow misreads, also while its pixels are read, and for a
    pipe or a device.
    """
    from PIL import Image, UnidentifiedImageError

    is_device = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    if is_device:  # opening a pipe would wait for its other end
        raise ValueError("not a file")
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if form := misread_form(picture):
                    raise ValueError(f"{form}, which Pillow misreads; convert it to another form")
                yield picture
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        n_pixels = int(re.findall(r"\d+", str(error))[0])
        raise ValueError(
            f"{n_pixels / 1e6:,.0f} megapixels, more than the {MOST_PIXELS / 1e6:,.0f} that are read; scale it down"
        ) from error
    except UnidentifiedImageError as error:
        raise ValueError("cannot identify image file") from error
    except Exception as error:  # Pillow raises almost anything for a file that is damaged, and may not name it
        if isinstance(error, OSError) and error.filename:
            raise
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def misread_form(picture: Any) -> str:
    """Return the form of the levels of an opened PIL image whose levels Pillow gets wrong, else an empty text.

    It reads signed bytes and unsigned numbers of 32 bits as if they had the other sign, and inverts only levels of up
    to eight bits where 0 is white. All of these are TIFF files.
    """
    tags = getattr(picture, "tag_v2", {})
    is_signed, is_white_zero = 2 in tags.get(339, ()), tags.get(262) == 0
    if is_signed and max(tags.get(258, (1,))) == 8:
        return "signed levels of 8 bits"
    if is_white_zero and deep_kind(picture):
        return "levels of more than 8 bits of which 0 is white"
    if "I;32N" in str([tile.args for tile in picture.tile]) and picture.getextrema()[0] < 0:
        return f"unsigned levels of {2**31:,} and more"
    return ""


def upright(path: str | Path, level_ranges: Mapping[str, tuple[float, float]]) -> Any:
    """Return a PIL image in RGB or RGBA without transparency, rotated upright, of at most MOST_ON_A_SIDE pixels a side.

    level_ranges: by kind, INTEGER or FLOAT, the range of levels that becomes the 256 of the image, as `level_range`
    returns it; a picture of another kind gets the range of its own levels. Raises OSError and ValueError as `opened`.
    """
    with opened(path) as source:
        return opaque(turned(source, level_ranges))


def turned(source: Any, level_ranges: Mapping[str, tuple[float, float]]) -> Any:
    """Return an opened PIL image, which has not been read yet, rotated upright and with eight bits a level."""
    from PIL import ImageOps

    is_large = source.width * source.height > MANY_PIXELS
    if is_large:
        source.draft(None, (2 * MOST_ON_A_SIDE, 2 * MOST_ON_A_SIDE))  # JPEG files are reduced while decoded
    if orientation(source) != UPRIGHT:
        ImageOps.exif_transpose(source, in_place=True)
    picture: Any = reduced(source) if is_large else source
    kind = deep_kind(picture)
    return eight_bits(picture, kind, level_ranges) if kind else picture


def opaque(picture: Any) -> Any:
    """Return a PIL image in RGB or RGBA without transparency, of at most MOST_ON_A_SIDE pixels a side."""
    from PIL import Image

    is_opaque = picture.mode in ("L", "RGB") and "transparency" not in picture.info
    picture = picture.convert("RGB" if is_opaque else "RGBA")
    picture.thumbnail((MOST_ON_A_SIDE, MOST_ON_A_SIDE))
    if is_opaque or picture.getextrema()[3][0] == 255:
        return picture
    # The background is taken to contrast with what is drawn on it.
    levels, alphas = pixels(picture.convert("LA")).double().unbind(1)
    is_dark = (levels * alphas).sum() < 128 * alphas.sum()
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white" if is_dark else "black"), picture)


def orientation(picture: Any) -> int:
    """Return the EXIF orientation of a PIL image, or UPRIGHT without EXIF data that can be read."""
    if picture.format == "PNG":
        picture.load()  # as getexif does, whose errors would hide those of damaged pixels
    try:
        return int(picture.getexif().get(0x0112, UPRIGHT))
    except Exception:  # Pillow raises almost anything for damaged EXIF data, beside which the pixels may be whole
        return UPRIGHT


def reduced(picture: Any) -> Any:
    """Return a PIL image whose longer side is at most two to four times MOST_ON_A_SIDE."""
    # Pillow averages neither colours of a palette nor single bits nor sixteen bits.
    modes = {"1": "L", "P": "RGBA", "PA": "RGBA"}
    mode = INTEGER if deep_kind(picture) == INTEGER else modes.get(picture.mode, picture.mode)
    picture = picture if mode == picture.mode else picture.convert(mode)
    return picture.reduce(max(1, max(picture.size) // (2 * MOST_ON_A_SIDE)))


def deep_kind(picture: Any) -> str:
    """Return INTEGER or FLOAT for a PIL image with more than eight bits a level, else an empty text."""
    return str(picture.mode[0]) if picture.mode[0] in (INTEGER, FLOAT) else ""


def level_range(kind: str, low: float, high: float) -> tuple[float, float]:
    """Return the range, its end exclusive for integers, that is divided into 256 levels for levels from low to high.

    Integers are taken to have as few bits as hold them: 12 for levels up to 4,095, whatever the type of the file.
    Floating-point numbers are taken to be in [0, 1]. Levels outside these ranges, and those that fill less than a
    quarter of them, get a range of their own.
    """
    full = 2.0 ** int(high).bit_length() if kind == INTEGER else 1.0
    end = high + 1.0 if kind == INTEGER or high == low else float(high)
    if low >= 0 and high <= full and 4 * (end - low) >= full:
        return 0.0, full
    return float(low), end


def eight_bits(picture: Any, kind: str, level_ranges: Mapping[str, tuple[float, float]]) -> Any:
    """Return a PIL image of more than eight bits a level as a grey one of eight bits.

    Raises ValueError for a picture with values that are not finite.
    """
    picture = picture.convert(kind)
    extrema = finite_extrema(picture)
    low, end = level_ranges.get(kind) or level_range(kind, *extrema)
    scale = 256 / (end - low)
    offset = -low * scale
    return picture.point(lambda level: level * scale + offset).convert("L")


def finite_extrema(picture: Any) -> tuple[float, float]:
    """Return the lowest and the highest level of a grey PIL image. Raises ValueError unless all are finite numbers."""
    # Pillow finds no extrema of some kinds of sixteen bits, such as those of the other byte order.
    picture = picture.convert(deep_kind(picture))
    if picture.mode == FLOAT:
        values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.float32)
        if not values.isfinite().all():
            raise ValueError("it has values that are not finite numbers")
    low, high = picture.getextrema()
    return low, high


def pixels(picture: Any) -> Tensor:
    """Return the levels of a PIL image, uint8 (1, C, H, W)."""
    columns, rows = picture.size
    levels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return levels.view(1, rows, columns, -1).permute(0, 3, 1, 2)


def shown(path: object) -> str:
    r"""Return a path as one line that every terminal and file can hold.

    Bytes that are not UTF-8 become \xe9, and characters of CONTROLS become \n, \x1b or \u202e.
    """
    text = os.fsencode(str(path)).decode("utf-8", "backslashreplace")
    return re.sub(CONTROLS, lambda match: repr(match[0])[1:-1], text)
