"""Change batches of training images at random, with separate draws for every image.

These are pure functions of tensors and of what search.engine.draws has drawn. The steps do what torchvision's
transforms do, but those draw one set of parameters for a whole batch, and applying them image by image is about ten
times slower.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's customary name)
from torch import Tensor

from models.recipe import Augmentation
from search.engine.draws import Draws, draw
from search.errors import InputError

# ITU-R 601 luma, as torchvision's rgb_to_grayscale.
GREY_WEIGHTS = (0.2989, 0.587, 0.114)


def augment(
    images: Tensor, augmentation: Augmentation, generator: torch.Generator, mean: Sequence[float] | Tensor
) -> Tensor:
    """Return a changed copy of `images`, float32 (N, C, H, W) in [0, 1], on the same device.

    `generator` may be on another device than the images: a CPU generator gives the same draws on every device. `mean`
    is the level per channel of erased pixels. Raises InputError if the crop is larger than the image.
    """
    draws = draw(augmentation, len(images), images.shape[2:], generator)
    on_device = {name: values.to(images.device) for name, values in draws.items()}
    return apply(images, augmentation, on_device, mean)


def apply(images: Tensor, augmentation: Augmentation, draws: Draws, mean: Sequence[float] | Tensor) -> Tensor:
    """Return a copy of `images` changed as drawn: mirroring, brightness and contrast, crops, warp, erasing, in order.

    The arguments are those of `augment`; a step without draws is skipped.
    """
    out = images
    if "mirrored" in draws:
        out = torch.where(_per_image(draws["mirrored"]), out.flip(3), out)
    if "brightness" in draws or "contrast" in draws:
        out = _jitter(out, draws)
    if "cropped" in draws:
        out = torch.where(_per_image(draws["cropped"]), center_crop_resize(out, augmentation.crop_side), out)
    if "crop_x" in draws:
        out = move(out, draws["crop_x"], draws["crop_y"], augmentation.fill)
    if "angle" in draws:
        placing = {name: draws[name] for name in ("angle", "shift_x", "shift_y", "scale", "shear")}
        out = warp(out, **placing, interpolation=augmentation.interpolation, fill=augmentation.fill)
    if "top" in draws:
        value = torch.as_tensor(mean, dtype=images.dtype, device=images.device)
        out = erase(out, draws["top"], draws["left"], draws["height"], draws["width"], value)
    return images.clone() if out is images else out


def _jitter(images: Tensor, draws: Draws) -> Tensor:
    if "contrast" not in draws:
        return adjust_brightness(images, draws["brightness"])
    if "brightness" not in draws:
        return adjust_contrast(images, draws["contrast"])
    brightness, contrast = draws["brightness"], draws["contrast"]
    # Both clamp, so their order matters; ColorJitter shuffles it.
    return torch.where(
        _per_image(draws["brightness_first"]),
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


def check_crop(side: int, height: int, width: int) -> None:
    """Raise InputError where a crop of side x side pixels does not fit images of a size."""
    if side > min(height, width):
        raise InputError(f"crop_side must be at most {min(height, width)} for {height}x{width} images, got {side}")


def center_crop_resize(images: Tensor, side: int) -> Tensor:
    """Cut out the central side x side pixels and resize them, bilinear, to the full height and width.

    Equivalent to torchvision's center_crop and resize. Raises InputError where `side` is more than the height or width.
    """
    height, width = images.shape[2:]
    check_crop(side, height, width)
    # Rounds half to even, as torchvision does.
    top, left = round((height - side) / 2), round((width - side) / 2)
    crop = images[:, :, top : top + side, left : left + side]
    return F.interpolate(crop, size=(height, width), mode="bilinear", align_corners=False)


def move(images: Tensor, right: Tensor, down: Tensor, fill: float = 0.0) -> Tensor:
    """Move each image by whole pixels, (N,), with `fill` where it leaves a gap; pixels moved outside are lost.

    Equivalent to torchvision's pad and crop, and unlike `warp` without interpolation, which blurs small photographs.
    """
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - down.long()[:, None]
    columns = torch.arange(width, device=images.device) - right.long()[:, None]
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None, :]
    images = images.take_along_dim(rows.clamp(0, height - 1)[:, None, :, None], 2)
    images = images.take_along_dim(columns.clamp(0, width - 1)[:, None, None, :], 3)
    return images.masked_fill(~inside, fill)


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
    xx, xy, yx, yy = _inverse(angle, scale, shear)
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


def _inverse(angle: Tensor, scale: Tensor, shear: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the inverse (xx, xy, yx, yy) of rotation x scale x shear, which leads from output to input positions."""
    radians, slope = torch.deg2rad(angle), torch.tan(torch.deg2rad(shear))
    cos, sin = torch.cos(radians) / scale, torch.sin(radians) / scale
    # The determinant of the three together is the scale squared.
    return cos - sin * slope, sin + cos * slope, -sin, cos


def positions(draws: Draws, height: int, width: int) -> tuple[Tensor, ...]:
    """Return (xx, xy, x, yx, yy, y), each (N,), that take a pixel of a warped image to its position in the original.

    The pixel in column i and row j is sampled at column xx * i + xy * j + x and row yx * i + yy * j + y.
    """
    xx, xy, yx, yy = _inverse(draws["angle"], draws["scale"], draws["shear"])
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = middle_x + draws["shift_x"], middle_y + draws["shift_y"]
    return xx, xy, middle_x - xx * from_x - xy * from_y, yx, yy, middle_y - yx * from_x - yy * from_y


def _pixel_centres(side: int, like: Tensor) -> Tensor:
    """Return the positions of a row's pixel centres, from -1 + 1 / side to 1 - 1 / side.

    The unit is half a side, counted from the middle.
    """
    return (torch.arange(side, dtype=like.dtype, device=like.device) * 2 + 1) / side - 1


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
