"""Write model_input.h, which converts grey pictures to the input, and describe the input in words."""

from __future__ import annotations

import string
from pathlib import Path

from torch import Tensor

from search.export.int8.c_source import renamed
from search.export.standalone.framing import Framing

TEMPLATE = Path(__file__).parents[1] / "templates" / "model_input.h"
_CHANNELS = {1: "grey levels", 3: "levels of red, green and blue"}
# Training images that the mean levels are taken over.
_MAX_IMAGES = 2000


def input_header(framing: Framing, prefix: str) -> str:
    """Return the text of model_input.h. prefix: beginning of all public names, in capitals for macros."""
    text = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(settings=_settings(framing))
    return renamed(text, prefix)


def _settings(framing: Framing) -> str:
    if framing.background is None:
        return ""
    row, column = framing.centre
    point = "the centre of mass" if framing.by_mass else "the middle"
    return f"""\
/* Level around the object in the training images. */
#define MODEL_INPUT_BACKGROUND {framing.background}
/* Longer side of the object, in pixels. */
#define MODEL_INPUT_EXTENT {framing.extent}
/* Row and column of {point} of the object, in half pixels from the upper left corner. */
#define MODEL_INPUT_CENTRE_Y {round(2 * row)}
#define MODEL_INPUT_CENTRE_X {round(2 * column)}
#define MODEL_INPUT_BY_MASS {int(framing.by_mass)}
"""


def input_note(framing: Framing, images: Tensor) -> str:
    """Return sentences that say what an image must look like. images: the training images, uint8 (N, C, H, W)."""
    channels, height, width = images.shape[1:]
    levels = (
        f"An image has {_CHANNELS.get(channels, 'levels')} from 0 to 255, stored channel by channel and row by row."
    )
    if framing.background is None:
        return f"{levels} {_mean_levels(images)}"
    is_dark = framing.background < 128
    row, column = (f"{value:g}" for value in framing.centre)
    point = "centre of mass" if framing.by_mass else "middle"
    return (
        f"{levels} The training images show a {'light' if is_dark else 'dark'} object on a "
        f"{'dark' if is_dark else 'light'} background of level {framing.background}; images of the other kind must be "
        f"inverted (255 - level). The longer side of the object has {framing.extent} of {max(height, width)} pixels, "
        f"and its {point} is at row {row} and column {column} from the upper left corner."
    )


def _mean_levels(images: Tensor) -> str:
    """Return a sentence with the mean levels of the images at the border and inside it."""
    sample = images[:_MAX_IMAGES].double().mean((0, 1))
    height, width = sample.shape
    inside = sample[height // 4 : height - height // 4, width // 4 : width - width // 4]
    border = (sample.sum() - sample[1:-1, 1:-1].sum()) / (sample.numel() - sample[1:-1, 1:-1].numel())
    return f"The mean level of the training images is {border:.0f} at the border and {inside.mean():.0f} in the middle."
