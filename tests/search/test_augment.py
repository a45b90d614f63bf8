"""Batch augmentations against torchvision, one image at a time; what is drawn; what stays untouched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomErasing

from search import augment as module
from search.augment import adjust_brightness, adjust_contrast, augment, center_crop_resize, erase, warp
from search.config import Augmentation, InputError

EVERYTHING = Augmentation(
    rotation=15,
    shift=0.1,
    scale=0.1,
    shear=5,
    fill=0.5,
    crop_p=0.5,
    crop_side=16,
    brightness=0.3,
    contrast=0.3,
    erase_p=0.5,
)
STEPS = {
    "brightness": Augmentation(brightness=0.5),
    "contrast": Augmentation(contrast=0.5),
    "crop": Augmentation(crop_p=0.5, crop_side=16),
    "rotation": Augmentation(rotation=15),
    "shift": Augmentation(shift=0.2),
    "scale": Augmentation(scale=0.2),
    "shear": Augmentation(shear=10),
    "nearest": Augmentation(rotation=15, interpolation="nearest"),
    "erasing": Augmentation(erase_p=1.0),
    "everything": EVERYTHING,
}
SHAPES = [(1, 28, 28), (3, 18, 25), (2, 20, 17)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(n: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.rand((n, *shape), generator=generator(99))


def run(images: Tensor, augmentation: Augmentation, seed: int = 0) -> Tensor:
    return augment(images, augmentation, generator(seed), [0.5] * images.shape[1])


Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


def spy(monkeypatch: pytest.MonkeyPatch, name: str) -> Calls:
    """Record the arguments with which a function of the module under test is called."""
    function = getattr(module, name)
    calls: Calls = []

    def recorder(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, recorder)
    return calls


# --- every step


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", STEPS)
def test_returns_a_new_batch_of_the_same_kind(step: str, shape: tuple[int, int, int]) -> None:
    images = random_images(16, shape)
    before = images.clone()
    out = run(images, STEPS[step])
    assert (out.shape, out.dtype, out.device) == (images.shape, images.dtype, images.device)
    assert out.data_ptr() != images.data_ptr()
    assert torch.equal(images, before)
    assert not torch.equal(out, images)
    assert out.min() >= -1e-6
    assert out.max() <= 1 + 1e-6


@pytest.mark.parametrize("step", STEPS)
def test_seed_decides_the_output(step: str) -> None:
    images = random_images(16, (1, 28, 28))
    assert torch.equal(run(images, STEPS[step], seed=1), run(images, STEPS[step], seed=1))
    assert not torch.equal(run(images, STEPS[step], seed=1), run(images, STEPS[step], seed=2))


@pytest.mark.parametrize("step", STEPS)
def test_draws_for_every_image_on_its_own(step: str) -> None:
    images = random_images(1, (1, 28, 28)).repeat(64, 1, 1, 1)
    distinct = {tuple(image.flatten().tolist()) for image in run(images, STEPS[step])}
    # A crop has two outcomes; rectangles of a few hundred possible ones may repeat.
    assert len(distinct) == 2 if step == "crop" else len(distinct) > 50


def test_all_zero_copies_and_draws_nothing() -> None:
    images = random_images(4, (1, 28, 28))
    source = generator()
    before = source.get_state()
    out = augment(images, Augmentation(), source, [0.5])
    assert torch.equal(out, images)
    assert out.data_ptr() != images.data_ptr()
    assert torch.equal(source.get_state(), before)


def test_skipped_steps_draw_nothing() -> None:
    """The erasing alone gets the same numbers as an erasing whose other steps are given but switched off."""
    images = random_images(16, (1, 28, 28))
    switched_off = Augmentation(erase_p=1.0, interpolation="nearest", fill=0.3, crop_side=5)
    assert torch.equal(run(images, Augmentation(erase_p=1.0)), run(images, switched_off))


def test_steps_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jitter", "crop", "warp", "erase"):
        monkeypatch.setattr(module, f"_random_{name}", lambda seen, *_, name=name: [*seen, name])
    seen: Any = []
    assert augment(seen, EVERYTHING, generator(), [0.5]) == ["jitter", "crop", "warp", "erase"]


# --- affine warp

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


# --- brightness and contrast


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 18, 25)])
@pytest.mark.parametrize(
    ("ours", "reference"),
    [(adjust_brightness, tv.adjust_brightness), (adjust_contrast, tv.adjust_contrast)],
    ids=["brightness", "contrast"],
)
def test_jitter_agrees_with_torchvision(ours: Any, reference: Any, shape: tuple[int, int, int]) -> None:
    factors = [0.0, 0.4, 1.0, 1.3, 2.0]
    images = random_images(len(factors), shape)
    out = ours(images, torch.tensor(factors))
    for factor, image, changed in zip(factors, images, out, strict=True):
        torch.testing.assert_close(changed, reference(image, factor), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "augmentation"),
    [("adjust_brightness", Augmentation(brightness=0.6)), ("adjust_contrast", Augmentation(contrast=0.6))],
)
def test_jitter_ranges(name: str, augmentation: Augmentation, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spy(monkeypatch, name)
    run(torch.zeros(2000, 1, 4, 4), augmentation)
    [((_, factors), _)] = calls
    assert 0.4 <= factors.min() < 0.41
    assert 1.59 < factors.max() <= 1.6


def test_jitter_order_is_drawn_for_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    brightness_calls, contrast_calls = spy(monkeypatch, "adjust_brightness"), spy(monkeypatch, "adjust_contrast")
    images = random_images(64, (1, 8, 8))
    out = run(images, Augmentation(brightness=0.9, contrast=0.9))
    brightness, contrast = brightness_calls[0][0][1], contrast_calls[0][0][1]
    first = adjust_contrast(adjust_brightness(images, brightness), contrast)
    second = adjust_brightness(adjust_contrast(images, contrast), brightness)
    is_first, is_second = (out == first).flatten(1).all(1), (out == second).flatten(1).all(1)
    assert (is_first | is_second).all()
    assert (is_first & ~is_second).sum() > 16
    assert (is_second & ~is_first).sum() > 16


# --- centre crop


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [1, 10, 13, 16, 17])
def test_crop_agrees_with_torchvision(side: int, shape: tuple[int, int, int]) -> None:
    images = random_images(2, shape)
    reference = tv.resize(tv.center_crop(images, [side]), list(shape[1:]), antialias=True)
    torch.testing.assert_close(center_crop_resize(images, side), reference, atol=1e-5, rtol=0)


def test_crop_probability() -> None:
    images = random_images(2000, (1, 8, 8))
    out, cropped = run(images, Augmentation(crop_p=0.3, crop_side=5)), center_crop_resize(images, 5)
    is_cropped = (out == cropped).flatten(1).all(1)
    assert torch.equal(out[~is_cropped], images[~is_cropped])
    # Standard deviation 0.01.
    assert is_cropped.float().mean() == pytest.approx(0.3, abs=0.04)


def test_crop_larger_than_the_image_is_an_input_error() -> None:
    with pytest.raises(InputError, match="crop_side must be at most 20 for 20x40 images, got 21"):
        run(torch.zeros(1, 1, 20, 40), Augmentation(crop_p=0.1, crop_side=21))


# --- erasing


def rectangles(out: Tensor) -> tuple[Tensor, Tensor]:
    """Heights and widths (N,) of what is 1 in (N, 1, H, W); checks that it is a filled rectangle."""
    mask = out[:, 0] == 1
    height, width = mask.any(2).sum(1), mask.any(1).sum(1)
    assert torch.equal(height * width, mask.sum((1, 2)))
    return height.double(), width.double()


@pytest.mark.parametrize(
    ("area", "ratio"), [((0.02, 0.05), (0.3, 3.3)), ((0.02, 0.33), (0.3, 3.3)), ((0.1, 0.1), (1.0, 1.0))]
)
@pytest.mark.parametrize(("image_height", "image_width"), [(28, 28), (20, 60)])
def test_erased_rectangles_are_in_range(
    area: tuple[float, float], ratio: tuple[float, float], image_height: int, image_width: int
) -> None:
    images = torch.zeros(3000, 1, image_height, image_width)
    out = augment(images, Augmentation(erase_p=1.0, erase_area=area, erase_ratio=ratio), generator(), [1.0])
    height, width = rectangles(out)
    assert (height >= 1).all()
    # Sides are rounded to whole pixels: half a pixel of slack each.
    pixels = image_height * image_width
    assert ((height - 0.5) * (width - 0.5) <= area[1] * pixels).all()
    assert ((height + 0.5) * (width + 0.5) >= area[0] * pixels).all()
    assert ((height - 0.5) / (width + 0.5) <= ratio[1]).all()
    assert ((height + 0.5) / (width - 0.5) >= ratio[0]).all()
    covered = (out[:, 0] == 1).any(0)
    assert covered.all(), "some pixels are never erased"


def test_erased_sizes_are_distributed_as_in_torchvision() -> None:
    """On a flat image, where most tall rectangles do not fit and are drawn again."""
    area, ratio, shape = (0.05, 0.5), (0.3, 3.3), (1, 12, 60)
    out = augment(
        torch.zeros(4000, *shape), Augmentation(erase_p=1.0, erase_area=area, erase_ratio=ratio), generator(), [1.0]
    )
    height, width = rectangles(out)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = [RandomErasing.get_params(torch.zeros(shape), area, ratio, [0.0])[2:4] for _ in range(2000)]
    reference = torch.tensor(draws, dtype=torch.float64)
    # Where nothing fits torchvision names the whole image, and replaces it by itself.
    reference[(reference == torch.tensor(shape[1:])).all(1)] = 0
    # Four times the standard error of the difference, or more.
    assert height.mean().item() == pytest.approx(reference[:, 0].mean().item(), abs=0.3)
    assert width.mean().item() == pytest.approx(reference[:, 1].mean().item(), abs=0.8)


def test_erasing_probability_and_value_per_channel() -> None:
    images = torch.zeros(2000, 3, 16, 16)
    out = augment(images, Augmentation(erase_p=0.3), generator(), (0.1, 0.2, 0.3))
    erased = out.flatten(2).amax(2)
    hit = erased[:, 0] > 0
    assert hit.float().mean() == pytest.approx(0.3, abs=0.04)
    torch.testing.assert_close(erased[hit], torch.tensor([[0.1, 0.2, 0.3]]).expand(int(hit.sum()), 3))


def test_rectangle_that_never_fits_leaves_the_image_alone() -> None:
    images = random_images(8, (1, 16, 16))
    out = run(images, Augmentation(erase_p=1.0, erase_area=(1.0, 1.0), erase_ratio=(1.0, 1.0)))
    assert torch.equal(out, images)


def test_erase_sets_exactly_the_rectangle() -> None:
    out = erase(
        torch.zeros(2, 1, 4, 5),
        top=torch.tensor([1, 0]),
        left=torch.tensor([2, 0]),
        height=torch.tensor([3, 0]),
        width=torch.tensor([2, 5]),
        value=torch.tensor([1.0]),
    )
    expected = torch.zeros(2, 1, 4, 5)
    expected[0, 0, 1:4, 2:4] = 1
    assert torch.equal(out, expected)
