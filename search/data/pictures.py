"""Read pictures of any kind and size.

The functions are also copied into exported files.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST_PIXELS = 1024


def upright(path: str | Path) -> Any:
    """Return a PIL image in RGBA without transparency, rotated upright, of at most MOST_PIXELS a side.

    Raises OSError for a file that cannot be read, ValueError for one that is not a picture.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                picture: Any = ImageOps.exif_transpose(opened)
                if picture.mode.startswith("I"):  # sixteen bits a level
                    picture = picture.convert("I").point(lambda level: level / 256).convert("L")
                picture = picture.convert("RGBA")
    except Exception as error:  # Pillow raises almost anything for a file that is damaged, and may not name it
        if isinstance(error, OSError) and error.filename:
            raise
        raise ValueError(f"{path}: {error}") from error
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    if picture.getextrema()[3][0] == 255:
        return picture
    # The background is taken to contrast with what is drawn on it.
    levels, alphas = pixels(picture.convert("LA")).double().unbind(1)
    is_dark = (levels * alphas).sum() < 128 * alphas.sum()
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white" if is_dark else "black"), picture)


def pixels(picture: Any) -> Tensor:
    """Return the levels of a PIL image, uint8 (1, C, H, W)."""
    columns, rows = picture.size
    levels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return levels.view(1, rows, columns, -1).permute(0, 3, 1, 2)
