from __future__ import annotations

import pytest
import torch
from torch import Tensor

from search.export.standalone.framing import Framing, framing_of


def boxes(
    height: int, width: int, *positions: tuple[int, int, int, int], level: int = 255, background: int = 0
) -> Tensor:
    """Return images with one filled box each; a box is (top, left, height, width)."""
    images = torch.full((len(positions), 1, height, width), background, dtype=torch.uint8)
    for image, (top, left, rows, columns) in zip(images, positions, strict=True):
        image[0, top : top + rows, left : left + columns] = level
    return images


def test_boxes_in_the_middle() -> None:
    images = boxes(20, 30, (5, 9, 10, 12), (4, 10, 12, 10), (6, 11, 8, 8))
    assert framing_of(images) == Framing(0, 12, False, (10.0, 15.0))


@pytest.mark.parametrize(("background", "level"), [(0, 200), (255, 0), (120, 20)])
def test_background_and_object_of_any_level(background: int, level: int) -> None:
    images = boxes(20, 20, (5, 5, 10, 8), (6, 4, 10, 8), level=level, background=background)
    assert (framing_of(images).background, framing_of(images).extent) == (background, 10)


def test_centred_by_mass() -> None:
    # With a dot at the end of a faint line, the centre of mass is at the dot, whatever the direction of the line.
    images = torch.zeros(4, 1, 21, 21, dtype=torch.uint8)
    images[:, 0, 9:12, 9:12] = 255
    for image, (rows, columns) in zip(
        images,
        [(slice(10, 11), slice(2, 9)), (slice(10, 11), slice(12, 19)), (slice(2, 9), slice(10, 11)), (10, 10)],
        strict=True,
    ):
        image[0, rows, columns] = 40
    framing = framing_of(images)
    assert (framing.by_mass, framing.centre) == (True, (10.5, 10.5))


def test_faint_noise_is_not_the_object() -> None:
    images = boxes(20, 20, (5, 5, 10, 10), (5, 5, 10, 10))
    images[:, 0, 1, 1] = 12
    assert framing_of(images).extent == 10


@pytest.mark.parametrize(
    "images",
    [
        torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(5, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(5, 1, 8, 8, dtype=torch.uint8),
    ],
    ids=["no plain border", "colour", "nothing on any image"],
)
def test_no_framing(images: Tensor) -> None:
    assert framing_of(images) == Framing()
