"""Find how the images of a data set lie in their frame, so that other pictures can be brought into that form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from search.data.dataset import Dataset

# A border counts as plain if nearly all of its pixels are within so many grey levels of their median.
_PLAIN_SHARE, _PLAIN_LEVELS = 0.98, 16
# What differs from the background by more than an eighth of the range belongs to the object.
_OBJECT_LEVELS = 32
_MOST_IMAGES = 2000


@dataclass(frozen=True)
class Framing:
    """background: grey level around the object, None where images have no plain border or are not grey.

    extent     longer side of the object, in pixels
    by_mass    whether objects are put in place by their centre of mass, rather than by the middle of their box
    centre     where that point lies: row and column, in pixels from the top left corner of the frame
    """

    background: int | None = None
    extent: int = 0
    by_mass: bool = False
    centre: tuple[float, float] = (0.0, 0.0)


def framing_for(data: Dataset) -> Framing:
    """Return the framing of the training images; none for a folder, whose pictures are read as they are."""
    return Framing() if data.is_folder else framing_of(data.train.images)


def framing_of(images: Tensor) -> Framing:
    """Read the framing off images, uint8 (N, C, H, W); medians over the first of them."""
    if images.shape[1] != 1:
        return Framing()
    grey = images[:_MOST_IMAGES, 0]
    border = torch.cat([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], dim=1).int()
    background = int(border.median())
    if ((border - background).abs() <= _PLAIN_LEVELS).float().mean() < _PLAIN_SHARE:
        return Framing()
    weight = (grey.int() - background).abs()
    objects = weight > _OBJECT_LEVELS
    present = objects.any(2).any(1)
    if not present.any():
        return Framing()
    weight, objects = weight[present].double(), objects[present]
    rows, columns = _ends(objects.any(2)), _ends(objects.any(1))
    extent = torch.maximum(rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0])
    of_mass = torch.stack([_mean_place(weight.sum(2)), _mean_place(weight.sum(1))], dim=1)
    of_box = torch.stack([rows.double().mean(1), columns.double().mean(1)], dim=1)
    # Whichever point lies in the same place in all images is the one that they were put there by.
    by_mass = bool(of_mass.std(0).norm() < of_box.std(0).norm())
    # To half a pixel: that is how exactly anybody centres.
    row, column = ((of_mass if by_mass else of_box).median(0).values * 2).round().div(2).tolist()
    return Framing(background, int(extent.median()), by_mass, (row, column))


def _ends(marked: Tensor) -> Tensor:
    """Return where the marked places of each row begin and end, (N, 2); marked: bool (N, L), at least one a row."""
    places = torch.arange(marked.shape[1])
    first = torch.where(marked, places, marked.shape[1]).amin(1)
    return torch.stack([first, torch.where(marked, places + 1, 0).amax(1)], dim=1)


def _mean_place(weight: Tensor) -> Tensor:
    """(N,): the mean place in each row of weight (N, L), the middle of the first place being 0.5."""
    places = torch.arange(weight.shape[1], dtype=torch.float64) + 0.5
    return (weight * places).sum(1) / weight.sum(1)
