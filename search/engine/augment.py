"""Change batches of training images at random, with separate draws for every image.

These are pure functions of tensors and an explicit generator. The steps do what torchvision's transforms do, but those
draw one set of parameters for a whole batch, and applying them image by image is about ten times slower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's customary name)
from torch import Tensor

from models.recipe import Augmentation
from search.errors import InputError

# Number of rectangles that torchvision's RandomErasing draws until one fits, before it leaves the image unchanged.
ERASE_ATTEMPTS = 10
# ITU-R 601 luma, as torchvision's rgb_to_grayscale.
GREY_WEIGHTS = (0.2989, 0.587, 0.114)


def augment(
    images: Tensor, augmentation: Augmentation, generator: torch.Generator, mean: Sequence[float] | Tensor
) -> Tensor:
    """Return a changed copy of `images`, float32 (N, C, H, W) in [0, 1], on the same device.

    Steps in order: mirroring, brightness and contrast, centre crop, affine warp, erasing. A step whose parameters are 0
    is skipped and draws nothing. `generator` may be on another device than the images: a CPU generator gives the same
    draws on every device. `mean` is the level per channel of erased pixels. Raises InputError if the crop is larger
    than the image.
    """
    out = images
    if augmentation.mirror_p:
        out = _random_mirror(out, augmentation, generator)
    if augmentation.brightness or augmentation.contrast:
        out = _random_jitter(out, augmentation, generator)
    if augmentation.crop_p:
        out = _random_crop(out, augmentation, generator)
    if augmentation.rotation or augmentation.shift or augmentation.scale or augmentation.shear:
        out = _random_warp(out, augmentation, generator)
    if augmentation.erase_p:
        out = _random_erase(out, augmentation, generator, mean)
    return images.clone() if out is images else out


def _draw(generator: torch.Generator, device: torch.device, *shape: int) -> Tensor:
    """Return numbers from [0, 1) on `device`, drawn on the device of the generator."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def _random_mirror(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    chosen = _draw(generator, images.device, len(images)) < augmentation.mirror_p
    return torch.where(_per_image(chosen), images.flip(3), images)


def _random_jitter(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    u = _draw(generator, images.device, 3, len(images))
    brightness = 1 + augmentation.brightness * (2 * u[0] - 1)
    contrast = 1 + augmentation.contrast * (2 * u[1] - 1)
    if not augmentation.contrast:
        return adjust_brightness(images, brightness)
    if not augmentation.brightness:
        return adjust_contrast(images, contrast)
    # Both clamp, so their order matters; ColorJitter shuffles it.
    return torch.where(
        _per_image(u[2] < 0.5),
        adjust_contrast(adjust_brightness(images, brightness), contrast),
        adjust_brightness(adjust_contrast(images, contrast), brightness),
    )


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by its factor (N,) and clamp to [0, 1], as torchvision's adjust_brightness."""
    return (images * _per_image(factor)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move each image away from its mean grey level by its factor (N,) and clamp, as torchvision's adjust_contrast."""
    if images.shape[1] == len(GREY_WEIGHTS):
        red, green, blue = images.mean((2, 3)).unbind(1)
        grey = red * GREY_WEIGHTS[0] + green * GREY_WEIGHTS[1] + blue * GREY_WEIGHTS[2]
    else:
        grey = images.mean((1, 2, 3))
    return torch.lerp(_per_image(grey), images, _per_image(factor)).clamp_(0, 1)


def _random_crop(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    chosen = _draw(generator, images.device, len(images)) < augmentation.crop_p
    return torch.where(_per_image(chosen), center_crop_resize(images, augmentation.crop_side), images)


def center_crop_resize(images: Tensor, side: int) -> Tensor:
    """Cut out the central side x side pixels and resize them, bilinear, to the full height and width.

    Equivalent to torchvision's center_crop and resize. Raises InputError where `side` is more than the height or width.
    """
    height, width = images.shape[2:]
    if side > min(height, width):
        raise InputError(f"crop_side must be at most {min(height, width)} for {height}x{width} images, got {side}")
    # Rounds half to even, as torchvision does.
    top, left = round((height - side) / 2), round((width - side) / 2)
    crop = images[:, :, top : top + side, left : left + side]
    return F.interpolate(crop, size=(height, width), mode="bilinear", align_corners=False)


def _random_warp(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    height, width = images.shape[2:]
    u = 2 * _draw(generator, images.device, 5, len(images)) - 1
    shift_x, shift_y = u[1] * (augmentation.shift * width), u[2] * (augmentation.shift * height)
    if augmentation.interpolation == "nearest":
        # As RandomAffine, which rounds for bilinear interpolation too. There a fraction of a pixel changes the image.
        shift_x, shift_y = shift_x.round(), shift_y.round()
    return warp(
        images,
        angle=u[0] * augmentation.rotation,
        shift_x=shift_x,
        shift_y=shift_y,
        scale=1 + u[3] * augmentation.scale,
        shear=u[4] * augmentation.shear,
        interpolation=augmentation.interpolation,
        fill=augmentation.fill,
    )


def warp(
    images: Tensor,
    *,
    angle: Tensor,
    shift_x: Tensor,
    shift_y: Tensor,
    scale: Tensor,
    shear: Tensor,
    interpolation: str = "bilinear",
    fill: float = 0.0,
) -> Tensor:
    """Shear along x, scale and rotate each image about its centre, then shift it. Every parameter is (N,).

    angle (clockwise) and shear are in degrees, shifts in pixels to the right and down, as in torchvision's affine.
    Bilinear pixels on the edge differ: they are interpolated as if `fill` continued outside the image. torchvision
    blends the fill in a second time, which draws a seam.
    """
    height, width = images.shape[2:]
    radians, slope = torch.deg2rad(angle), torch.tan(torch.deg2rad(shear))
    cos, sin = torch.cos(radians) / scale, torch.sin(radians) / scale
    # From output to input position, in pixels: the inverse of rotation x scale x shear (determinant scale squared).
    xx, xy = cos - sin * slope, sin + cos * slope
    yx, yy = -sin, cos
    # grid_sample uses half sides as units. Without this factor a rotation would shear images that are not square.
    aspect = width / height
    offset_x, offset_y = -(xx * shift_x + xy * shift_y) * (2 / width), -(yx * shift_x + yy * shift_y) * (2 / height)
    # Equivalent to affine_grid, which uses a matrix product and takes three times as long.
    columns, rows = _pixel_centres(width, images)[None, None], _pixel_centres(height, images)[None, :, None]
    xx, xy, yx, yy, offset_x, offset_y = (
        value.view(-1, 1, 1) for value in (xx, xy / aspect, yx * aspect, yy, offset_x, offset_y)
    )
    grid = torch.stack((xx * columns + (xy * rows + offset_x), yx * columns + (yy * rows + offset_y)), dim=1)
    grid = grid.permute(0, 2, 3, 1)
    if fill == 0:
        return F.grid_sample(images, grid, mode=interpolation, align_corners=False)
    # grid_sample reads 0 outside the image, so 0 has to represent the fill.
    return F.grid_sample(images - fill, grid, mode=interpolation, align_corners=False).add_(fill)


def _pixel_centres(side: int, like: Tensor) -> Tensor:
    """Return the positions of a row's pixel centres, from -1 + 1 / side to 1 - 1 / side.

    The unit is half a side, counted from the middle.
    """
    return (torch.arange(side, dtype=like.dtype, device=like.device) * 2 + 1) / side - 1


def _random_erase(
    images: Tensor, augmentation: Augmentation, generator: torch.Generator, mean: Sequence[float] | Tensor
) -> Tensor:
    n, _, image_height, image_width = images.shape
    height, width = _rectangle_sizes(images, augmentation, generator)
    u = _draw(generator, images.device, 3, n)
    chosen = u[0] < augmentation.erase_p
    top = (u[1] * (image_height - height + 1)).floor()
    left = (u[2] * (image_width - width + 1)).floor()
    value = torch.as_tensor(mean, dtype=images.dtype, device=images.device)
    return erase(images, top, left, height * chosen, width, value)


def _rectangle_sizes(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return heights and widths, (N,) whole pixels, of the first drawn rectangle that fits, or 0 where none fits."""
    n, _, image_height, image_width = images.shape
    u = _draw(generator, images.device, 2, ERASE_ATTEMPTS, n)
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


def erase(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, value: Tensor) -> Tensor:
    """Set one rectangle of each image to `value` (C,). Corners and sizes are (N,), in pixels; size 0 erases nothing."""
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return torch.where(inside, value.view(1, -1, 1, 1), images)


def _per_image(values: Tensor) -> Tensor:
    """Reshape (N,) to (N, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
