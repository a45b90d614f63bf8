"""Write model_test.h: images with the logits that every processor must compute for them, and a self-test."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search.export.int8.c_constants import wrapped_lines
from search.export.int8.c_source import escaped, renamed
from search.export.int8.network import Int32Array, UInt8Array

TEMPLATE = Path(__file__).parents[1] / "templates" / "model_test.h"
# The images must fit beside the network into the flash of a small processor, and their text into an editor.
MAX_IMAGES, MAX_BYTES = 10, 16 * 1024


def self_test_header(
    images: UInt8Array, logits: Int32Array, labels: Sequence[int], classes: Sequence[str], prefix: str
) -> str:
    """Return the text of model_test.h.

    images   uint8 (N, C, H, W), of which one for each class is taken, as long as they are few
    logits   (N, classes), as the reference computes them
    labels   the index of each image's class
    classes  names of the classes
    prefix   beginning of all public names, in capitals for macros
    """
    numbers = self_test_images(labels, logits.argmax(1), images[0].nbytes)
    return string.Template(renamed(TEMPLATE.read_text(encoding="utf-8"), prefix)).substitute(
        n_images=len(numbers),
        image_bytes=f"{images[numbers].nbytes:,}",
        images="\n".join(_row(images[number], f" {classes[labels[number]]}") for number in numbers),
        logits="\n".join(_row(logits[number]) for number in numbers),
    )


def self_test_images(labels: Sequence[int], answers: Sequence[int], image_bytes: int) -> list[int]:
    """Return the numbers of the images for the self-test: for each class its first image that the network recognises.

    A class of which it recognises no image is represented by its first image. image_bytes: bytes of an image.
    """
    right: dict[int, int] = {}
    first: dict[int, int] = {}
    for number, (label, answer) in enumerate(zip(map(int, labels), map(int, answers), strict=True)):
        first.setdefault(label, number)
        if label == answer:
            right.setdefault(label, number)
    n_images = max(1, min(MAX_IMAGES, MAX_BYTES // image_bytes))
    return [right.get(label, first[label]) for label in sorted(first)][:n_images]


def _row(values: np.ndarray, title: str = "") -> str:
    return "\n".join(
        [f"    {{{f' /*{escaped(title)} */' if title else ''}", *wrapped_lines(values.ravel().tolist(), 8), "    },"]
    )
