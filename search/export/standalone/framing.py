"""Measure how a data set frames its objects, so that other pictures can be framed in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from search.data.dataset import Dataset

# A border is plain if at least this share of its pixels is within this many grey levels of the median.
_PLAIN_SHARE, _PLAIN_LEVELS = 0.98, 16
# Pixels that differ from the background by more than an eighth of the range belong to the object.
_OBJECT_LEVELS = 32
# Images that the medians are taken over.
_MAX_IMAGES = 2000


@dataclass(frozen=True)
class Framing:
    """Size and position of the object in the images of a data set.

    background  grey level around the object; None if the images have no plain border or are not grey
    extent      longer side of the object, in pixels
    by_mass     True if objects are positioned by their centre of mass, False if by the middle of their bounding box
    centre      row and column of that point, in pixels from the top left corner of the image
    """

    background: int | None = None
    extent: int = 0
    by_mass: bool = False
    centre: tuple[float, float] = (0.0, 0.0)


def framing_for(data: Dataset) -> Framing:
    """Return the framing of the training images, or an empty Framing for the images of a user.

    Their pictures are used as they are.
    """
    return Framing() if data.is_own else framing_of(data.train.images)


def framing_of(images: Tensor) -> Framing:
    """Return the framing of images, uint8 (N, C, H, W), as medians over the first _MAX_IMAGES of them."""
    if images.shape[1] != 1:
        return Framing()
    grey = images[:_MAX_IMAGES, 0]
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
    mass_centres = torch.stack([_mean_position(weight.sum(2)), _mean_position(weight.sum(1))], dim=1)
    box_centres = torch.stack([rows.double().mean(1), columns.double().mean(1)], dim=1)
    # The images were centred by the point whose position varies less among them.
    by_mass = bool(mass_centres.std(0).norm() < box_centres.std(0).norm())
    # Images are centred to half a pixel at best.
    row, column = ((mass_centres if by_mass else box_centres).median(0).values * 2).round().div(2).tolist()
    return Framing(background, int(extent.median()), by_mass, (row, column))


def _ends(mask: Tensor) -> Tensor:
    """Return the start and the end of the True values in each row of mask, (N, 2).

    mask: bool (N, L), with at least one True in each row. The end is exclusive.
    """
    positions = torch.arange(mask.shape[1])
    first = torch.where(mask, positions, mask.shape[1]).amin(1)
    return torch.stack([first, torch.where(mask, positions + 1, 0).amax(1)], dim=1)


def _mean_position(weight: Tensor) -> Tensor:
    """Return the weighted mean position in each row of weight (N, L), as (N,); the first position is 0.5."""
    positions = torch.arange(weight.shape[1], dtype=torch.float64) + 0.5
    return (weight * positions).sum(1) / weight.sum(1)
