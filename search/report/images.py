"""Misread images: kept as one sheet, drawn as a page, cut into tiles for the report."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from search.engine.confusion import Confusion

TILES_PER_ROW = 10


def sprite(mistakes: Confusion, images: Tensor) -> bytes:
    """Return the misread images as one PNG, TILES_PER_ROW in a row. images: (N, C, H, W) of the split, uint8.

    Of another number of channels than three the first is shown, as grey.
    """
    _, channels, height, width = images.shape
    n_rows = max(1, -(-len(mistakes.misread) // TILES_PER_ROW))
    sheet = np.zeros((n_rows * height, TILES_PER_ROW * width, 3 if channels == 3 else 1), dtype=np.uint8)
    for place, one in enumerate(mistakes.misread):
        row, column = divmod(place, TILES_PER_ROW)
        of_tile = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
        sheet[of_tile] = images[one.index, : sheet.shape[2]].permute(1, 2, 0).numpy()
    return png_file(Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet))


def tiles(sheet: bytes, n: int, height: int, width: int) -> list[bytes]:
    """Return the first `n` images of a sprite, each as a PNG."""
    whole = Image.open(io.BytesIO(sheet))
    found = []
    for place in range(n):
        row, column = divmod(place, TILES_PER_ROW)
        left, top = column * width, row * height
        found.append(png_file(whole.crop((left, top, left + width, top + height))))
    return found


def png_file(image: Image.Image) -> bytes:
    """Return the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


N_SHOWN = 40
# In pixels. Images are enlarged by whole numbers, to at most so large a side.
TILE_SIDE, LETTER_SIZE = 84, 13
# As arrows and most alphabets are in it, and matplotlib brings it along.
FONT = "DejaVu Sans"


def misread_page(mistakes: Confusion, images: Tensor, classes: Sequence[str]) -> bytes:
    """Draw the first N_SHOWN misread images as one PNG on white. images: (N, C, H, W) of the split, uint8.

    Of another number of channels than three the first is shown, as grey and inverted.
    """
    shown = mistakes.misread[:N_SHOWN]
    words = [f"{classes[one.label]} → {classes[one.answer]}" for one in shown]
    font = ImageFont.truetype(findfont(FONT), LETTER_SIZE)
    scale = max(1, TILE_SIDE // max(images.shape[2:]))
    height, width = (scale * side for side in images.shape[2:])
    cell_height = height + 2 * LETTER_SIZE
    cell_width = max([width, *(round(font.getlength(text)) for text in words)]) + LETTER_SIZE
    n_rows = max(1, -(-len(shown) // TILES_PER_ROW))
    mode = "RGB" if images.shape[1] == 3 else "L"
    page = Image.new(mode, (TILES_PER_ROW * cell_width, n_rows * cell_height), "white")
    pen = ImageDraw.Draw(page)
    for place, (one, text) in enumerate(zip(shown, words, strict=True)):
        row, column = divmod(place, TILES_PER_ROW)
        middle, top = column * cell_width + cell_width // 2, row * cell_height
        tile = _picture(images[one.index]).resize((width, height), Image.Resampling.NEAREST)
        page.paste(tile, (middle - width // 2, top))
        pen.text((middle, top + height + LETTER_SIZE), text, "black", font, anchor="mm")
    return png_file(page)


def _picture(image: Tensor) -> Image.Image:
    """Return a PIL image of `image`, (C, H, W)."""
    if len(image) == 3:
        return Image.fromarray(image.permute(1, 2, 0).numpy())
    return ImageOps.invert(Image.fromarray(image[0].numpy()))
