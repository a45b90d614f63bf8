"""The affine warp of a batch against torchvision, one image at a time; what is drawn for it."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor
from torchvision.transforms import InterpolationMode

from models.recipe import Augmentation
from search.engine.augment import warp
from tests.search.random_images import SHAPES, random_images, run, spy

# angle, shift_x, shift_y, scale, shear. Simpler values (90 degrees, 0.7) put many positions halfway between two pixels.
WARPS = [
    (0.0, 0.0, 0.0, 1.0, 0.0),
    (10.0, 0.0, 0.0, 1.0, 0.0),
    (-37.0, 0.0, 0.0, 1.0, 0.0),
    (89.0, 0.0, 0.0, 1.0, 0.0),
    (180.0, 0.0, 0.0, 1.0, 0.0),
    (0.0, 3.0, -2.0, 1.0, 0.0),
    (0.0, -0.6, 1.3, 1.0, 0.0),
    (0.0, 0.0, 0.0, 0.71, 0.0),
    (0.0, 0.0, 0.0, 1.31, 0.0),
    (0.0, 0.0, 0.0, 1.0, 25.0),
    (0.0, 0.0, 0.0, 1.0, -25.0),
    (23.0, 2.0, -4.0, 0.8, 12.0),
    (-71.0, -5.0, 1.0, 1.2, -8.0),
]


def warp_reference(image: Tensor, row: tuple[float, ...], interpolation: str, fill: float) -> Tensor:
    """torchvision's affine of the image in a wide frame of fill: see `warp` on what torchvision does at an edge."""
    angle, shift_x, shift_y, scale, shear = row
    margin, (_, height, width) = 40, image.shape
    out: Tensor = tv.affine(
        tv.pad(image, [margin], fill=fill),
        angle=angle,
        translate=[shift_x, shift_y],
        scale=scale,
        shear=[shear, 0.0],
        interpolation=InterpolationMode(interpolation),
        fill=[fill] * len(image),
    )
    return out[:, margin : margin + height, margin : margin + width]


@pytest.mark.parametrize("fill", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", SHAPES)
def test_warp_agrees_with_torchvision(shape: tuple[int, int, int], interpolation: str, fill: float) -> None:
    images = random_images(len(WARPS), shape)
    columns = torch.tensor(WARPS).unbind(1)
    parameters = dict(zip(("angle", "shift_x", "shift_y", "scale", "shear"), columns, strict=True))
    out = warp(images, **parameters, interpolation=interpolation, fill=fill)
    for row, image, warped in zip(WARPS, images, out, strict=True):
        difference = (warped - warp_reference(image, row, interpolation, fill)).abs()
        if interpolation == "bilinear":
            # Positions agree to float32, about 1e-5 of a pixel.
            assert difference.max() < 1e-4, row
        else:
            # A position almost halfway between two pixels may be rounded either way.
            assert (difference > 1e-6).float().mean() < 0.01, row


def test_rotation_of_an_image_that_is_not_square_keeps_lengths() -> None:
    image = torch.zeros(1, 1, 17, 41)
    image[..., 3:14, 20] = 1
    zero = torch.zeros(1)
    turned = warp(
        image, angle=torch.tensor([90.0]), shift_x=zero, shift_y=zero, scale=torch.ones(1), shear=zero, fill=0.0
    )
    expected = torch.zeros(1, 1, 17, 41)
    expected[..., 8, 15:26] = 1
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("augmentation", "parameter", "low", "high"),
    [
        (Augmentation(rotation=30), "angle", -30, 30),
        (Augmentation(shift=0.25), "shift_x", -10, 10),
        (Augmentation(shift=0.25), "shift_y", -5, 5),
        (Augmentation(scale=0.2), "scale", 0.8, 1.2),
        (Augmentation(shear=8), "shear", -8, 8),
        (Augmentation(shear=8), "scale", 1, 1),
        (Augmentation(scale=0.2), "angle", 0, 0),
    ],
)
def test_warp_ranges(
    augmentation: Augmentation, parameter: str, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = spy(monkeypatch, "warp")
    run(torch.zeros(4000, 1, 20, 40), augmentation)
    [(_, parameters)] = calls
    drawn, slack = parameters[parameter], 0.01 * (high - low)
    assert low <= drawn.min() <= low + slack
    assert high - slack <= drawn.max() <= high
    assert drawn.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


@pytest.mark.parametrize(("interpolation", "whole"), [("nearest", True), ("bilinear", False)])
def test_nearest_shifts_by_whole_pixels(interpolation: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spy(monkeypatch, "warp")
    run(torch.zeros(64, 1, 20, 40), Augmentation(shift=0.2, interpolation=interpolation))
    [(_, parameters)] = calls
    for name in ("shift_x", "shift_y"):
        assert torch.equal(parameters[name], parameters[name].round()) is whole


def test_interpolation_and_fill_reach_the_warp() -> None:
    images = torch.ones(64, 1, 20, 20)
    out = run(images, Augmentation(rotation=45, interpolation="nearest", fill=0.25))
    assert set(out.flatten().tolist()) == {0.25, 1.0}
