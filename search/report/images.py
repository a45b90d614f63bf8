"""Store misread images as one sheet, draw them as a page, and cut the sheet into tiles for the report."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from search.engine.confusion import Confusion
from search.report.fonts import drawable, font_file

TILES_PER_ROW = 10


def sprite(mistakes: Confusion, images: Tensor) -> bytes:
    """Return the misread images as one PNG, with TILES_PER_ROW images in a row.

    images holds all images of the split as (N, C, H, W), uint8. If they do not have three channels, the first one is
    shown in grey.
    """
    _, channels, height, width = images.shape
    n_rows = max(1, -(-len(mistakes.misread) // TILES_PER_ROW))
    sheet = np.zeros((n_rows * height, TILES_PER_ROW * width, 3 if channels == 3 else 1), dtype=np.uint8)
    for position, misread in enumerate(mistakes.misread):
        row, column = divmod(position, TILES_PER_ROW)
        tile_area = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
        sheet[tile_area] = images[misread.index, : sheet.shape[2]].permute(1, 2, 0).numpy()
    return png_file(Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet))


def tiles(sheet: bytes, n: int, height: int, width: int) -> list[bytes]:
    """Return the first `n` images of a sprite, each as a PNG."""
    sheet_image = Image.open(io.BytesIO(sheet))
    pictures = []
    for position in range(n):
        row, column = divmod(position, TILES_PER_ROW)
        left, top = column * width, row * height
        pictures.append(png_file(sheet_image.crop((left, top, left + width, top + height))))
    return pictures


def png_file(image: Image.Image) -> bytes:
    """Return the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


N_SHOWN = 40
# In pixels. Images are enlarged by a whole factor, to sides of at most TILE_SIDE.
TILE_SIDE, LETTER_SIZE = 84, 13


def misread_page(mistakes: Confusion, images: Tensor, classes: Sequence[str]) -> bytes:
    """Return a PNG of the first N_SHOWN misread images with labels, on a white background.

    images holds all images of the split as (N, C, H, W), uint8. If they do not have three channels, the first one is
    shown in grey and inverted.
    """
    shown_images = mistakes.misread[:N_SHOWN]
    names = drawable(classes)
    captions = [f"{names[misread.label]} → {names[misread.answer]}" for misread in shown_images]
    fonts = [ImageFont.truetype(font_file(caption), LETTER_SIZE) for caption in captions]
    scale = max(1, TILE_SIDE // max(images.shape[2:]))
    height, width = (scale * side for side in images.shape[2:])
    cell_height = height + 2 * LETTER_SIZE
    lengths = [round(font.getlength(caption)) for font, caption in zip(fonts, captions, strict=True)]
    cell_width = max([width, *lengths]) + LETTER_SIZE
    n_rows = max(1, -(-len(shown_images) // TILES_PER_ROW))
    mode = "RGB" if images.shape[1] == 3 else "L"
    page = Image.new(mode, (TILES_PER_ROW * cell_width, n_rows * cell_height), "white")
    pen = ImageDraw.Draw(page)
    for position, (misread, caption, font) in enumerate(zip(shown_images, captions, fonts, strict=True)):
        row, column = divmod(position, TILES_PER_ROW)
        middle, top = column * cell_width + cell_width // 2, row * cell_height
        tile = _picture(images[misread.index]).resize((width, height), Image.Resampling.NEAREST)
        page.paste(tile, (middle - width // 2, top))
        pen.text((middle, top + height + LETTER_SIZE), caption, "black", font, anchor="mm")
    return png_file(page)


def _picture(image: Tensor) -> Image.Image:
    """Return an image tensor of shape (C, H, W) as a PIL image."""
    if len(image) == 3:
        return Image.fromarray(image.permute(1, 2, 0).numpy())
    return ImageOps.invert(Image.fromarray(image[0].numpy()))
