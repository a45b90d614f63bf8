"""Read the C functions that a generated model.c consists of; a file gets only those that it needs.

They are the files in the folder `c`, in C99. Every count and index is an int32_t, because int has 16 bits on some of
the target processors. A map is stored row by row and pixel by pixel, with all channels of a pixel together, so that the
innermost loops run over neighbouring bytes. A `$name` in them is replaced by a property of the network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

_FOLDER = Path(__file__).with_name("c")

# Texts that come before the functions, in this order, if a function needs them.
SHARED = ("processor", "lanes", "arithmetic", "saturate_wide", "window")

# Functions that the network calls, in the order of the file, each with the shared texts that it needs.
LAYERS: dict[str, tuple[str, ...]] = {
    "read_image": ("arithmetic",),
    "convolve": SHARED,
    "convolve_depthwise": SHARED,
    "convolve_groups": SHARED,
    "max_pool": (),
    "average_pool": ("saturate_wide",),
    "mean": ("saturate_wide",),
    "add": ("arithmetic",),
    "scale_channels": ("arithmetic",),
    "classify": ("arithmetic",),
    "classify_means": ("arithmetic",),
    "classify_channels": ("arithmetic",),
}


def template(name: str) -> str:
    """Return the text of a file in the folder `c`, without the line end."""
    return (_FOLDER / name).read_text(encoding="utf-8").rstrip("\n")


def layer_texts(used: Collection[str]) -> Iterator[str]:
    """Yield the texts of the functions that a network uses, after those that they need, each once."""
    needed = {text for name in used for text in LAYERS[name]}
    names = [*(text for text in SHARED if text in needed), *(name for name in LAYERS if name in used)]
    yield from (template(f"{name}.c") for name in names)
