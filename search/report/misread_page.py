"""The images that a network misreads, enlarged, each over what it shows and what it was taken for."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from search.engine.confusion import TILES_PER_ROW, Mistakes, png_file

N_SHOWN = 40
# In pixels. Images are enlarged by whole numbers, to at most so large a side.
TILE_SIDE, LETTER_SIZE = 84, 13
# As arrows and most alphabets are in it, and matplotlib brings it along.
FONT = "DejaVu Sans"


def misread_page(mistakes: Mistakes, images: Tensor, classes: Sequence[str]) -> bytes:
    """The first N_SHOWN misread images as one PNG on white. images: (N, C, H, W) of the split, uint8.

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
    """image: (C, H, W)"""
    if len(image) == 3:
        return Image.fromarray(image.permute(1, 2, 0).numpy())
    return ImageOps.invert(Image.fromarray(image[0].numpy()))
