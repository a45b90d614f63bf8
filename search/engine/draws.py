"""Draw the random changes of training images, separately for every image, before they are applied.

The numbers are drawn on the device of an explicit generator. A step whose parameters are 0 draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from models.recipe import Augmentation

# Draws of a batch by name, each (N,); search.engine.augment applies them in this order.
#   mirrored                                       whether the image is mirrored
#   brightness, contrast, brightness_first         factors, and their order where there are both
#   cropped                                        whether the image is cropped
#   crop_x, crop_y                                 whole pixels by which the padded image moves right and down
#   angle, shift_x, shift_y, scale, shear          parameters of the warp, in degrees and pixels
#   top, left, height, width                       erased rectangle, in pixels; height 0 erases nothing
Draws = dict[str, Tensor]

# Number of rectangles that torchvision's RandomErasing draws until one fits, before it leaves the image unchanged.
ERASE_ATTEMPTS = 10


def draw(augmentation: Augmentation, n: int, size: Sequence[int], generator: torch.Generator) -> Draws:
    """Return the draws for n images of a size (height, width), on the device of the generator."""
    height, width = size
    draws: Draws = {}
    if augmentation.mirror_p:
        draws["mirrored"] = _uniform(generator, n) < augmentation.mirror_p
    if augmentation.brightness or augmentation.contrast:
        draws |= _jitter(augmentation, n, generator)
    if augmentation.crop_p:
        draws["cropped"] = _uniform(generator, n) < augmentation.crop_p
    if augmentation.crop_padding:
        draws |= _padded_crop(augmentation.crop_padding, n, height, width, generator)
    if augmentation.rotation or augmentation.shift or augmentation.scale or augmentation.shear:
        draws |= _warp(augmentation, n, height, width, generator)
    if augmentation.erase_p:
        draws |= _rectangles(augmentation, n, height, width, generator)
    return draws


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Return numbers from [0, 1)."""
    return torch.rand(shape, generator=generator, device=generator.device)


def _jitter(augmentation: Augmentation, n: int, generator: torch.Generator) -> Draws:
    u = _uniform(generator, 3, n)
    draws: Draws = {}
    if augmentation.brightness:
        draws["brightness"] = 1 + augmentation.brightness * (2 * u[0] - 1)
    if augmentation.contrast:
        draws["contrast"] = 1 + augmentation.contrast * (2 * u[1] - 1)
    if len(draws) == 2:
        draws["brightness_first"] = u[2] < 0.5
    return draws


def _padded_crop(padding: float, n: int, height: int, width: int, generator: torch.Generator) -> Draws:
    u = 2 * _uniform(generator, 2, n) - 1
    # Every whole number within the edge has the same probability; where the edge ends inside a pixel, a move by that
    # pixel has the part of it that is covered.
    return {"crop_x": (u[0] * (padding * width + 0.5)).round(), "crop_y": (u[1] * (padding * height + 0.5)).round()}


def _warp(augmentation: Augmentation, n: int, height: int, width: int, generator: torch.Generator) -> Draws:
    u = 2 * _uniform(generator, 5, n) - 1
    shift_x, shift_y = u[1] * (augmentation.shift * width), u[2] * (augmentation.shift * height)
    if augmentation.interpolation == "nearest":
        # As RandomAffine, which rounds for bilinear interpolation too. There a fraction of a pixel changes the image.
        shift_x, shift_y = shift_x.round(), shift_y.round()
    return {
        "angle": u[0] * augmentation.rotation,
        "shift_x": shift_x,
        "shift_y": shift_y,
        "scale": 1 + u[3] * augmentation.scale,
        "shear": u[4] * augmentation.shear,
    }


def _rectangles(
    augmentation: Augmentation, n: int, image_height: int, image_width: int, generator: torch.Generator
) -> Draws:
    height, width = _rectangle_sizes(augmentation, n, image_height, image_width, generator)
    u = _uniform(generator, 3, n)
    return {
        "top": (u[1] * (image_height - height + 1)).floor(),
        "left": (u[2] * (image_width - width + 1)).floor(),
        "height": height * (u[0] < augmentation.erase_p),
        "width": width,
    }


def _rectangle_sizes(
    augmentation: Augmentation, n: int, image_height: int, image_width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return heights and widths, (N,) whole pixels, of the first drawn rectangle that fits, or 0 where none fits."""
    u = _uniform(generator, 2, ERASE_ATTEMPTS, n)
    (area_low, area_high), (low, high) = augmentation.erase_area, augmentation.erase_ratio
    area = image_height * image_width * (area_low + u[0] * (area_high - area_low))
    ratio = torch.exp(math.log(low) + u[1] * (math.log(high) - math.log(low)))
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (height < image_height) & (width < image_width)
    # argmax of equal values is the first of them.
    first = fits.int().argmax(0, keepdim=True)
    size = torch.stack((height, width)) * fits
    height, width = size.gather(1, first.expand(2, 1, n)).squeeze(1)
    return height, width
