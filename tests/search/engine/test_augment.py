"""Batch augmentations: every step; brightness, contrast and crop against torchvision; what stays untouched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as tv

from models.recipe import Augmentation
from search.engine import augment as module
from search.engine.augment import adjust_brightness, adjust_contrast, augment, center_crop_resize, move
from search.engine.draws import draw
from search.errors import InputError
from tests.search.random_images import SHAPES, generator, random_images, run, spy

EVERYTHING = Augmentation(
    rotation=15,
    shift=0.1,
    scale=0.1,
    shear=5,
    fill=0.5,
    crop_p=0.5,
    crop_side=16,
    crop_padding=0.1,
    brightness=0.3,
    contrast=0.3,
    erase_p=0.5,
)
STEPS = {
    "brightness": Augmentation(brightness=0.5),
    "contrast": Augmentation(contrast=0.5),
    "crop": Augmentation(crop_p=0.5, crop_side=16),
    "padded crop": Augmentation(crop_padding=0.2),
    "rotation": Augmentation(rotation=15),
    "shift": Augmentation(shift=0.2),
    "scale": Augmentation(scale=0.2),
    "shear": Augmentation(shear=10),
    "nearest": Augmentation(rotation=15, interpolation="nearest"),
    "erasing": Augmentation(erase_p=1.0),
    "everything": EVERYTHING,
}


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
    seen: list[str] = []

    def recorder(name: str) -> Any:
        function = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return function(*args, **kwargs)

        return call

    steps = ["_jitter", "center_crop_resize", "move", "warp", "erase"]
    for name in steps:
        monkeypatch.setattr(module, name, recorder(name))
    augment(random_images(4, (1, 28, 28)), EVERYTHING, generator(), [0.5])
    assert seen == steps


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


# --- crop of the padded image


@pytest.mark.parametrize("shape", SHAPES)
def test_a_move_is_torchvisions_crop_of_the_padded_image(shape: tuple[int, int, int]) -> None:
    corners = [(0, 0), (5, 5), (10, 10), (2, 9), (7, 0)]
    images = random_images(len(corners), shape)
    top, left = torch.tensor(corners).T
    out = move(images, 5 - left, 5 - top, fill=0.3)
    for (y, x), image, moved in zip(corners, images, out, strict=True):
        assert torch.equal(moved, tv.crop(tv.pad(image, [5] * 4, fill=0.3), y, x, *shape[1:]))


def test_a_move_beyond_the_image_leaves_the_fill() -> None:
    images = random_images(4, (3, 18, 25))
    far = move(images, torch.tensor([25, -40, 0, 3]), torch.tensor([0, 0, -18, 30]), fill=0.3)
    assert torch.equal(far, torch.full_like(far, 0.3))


@pytest.mark.parametrize(
    ("padding", "size", "expected"),
    [
        (0.125, (32, 32), ([1 / 9] * 9, [1 / 9] * 9)),  # CIFAR's usual 4 pixels
        (0.25, (4, 12), ([1 / 3] * 3, [1 / 7] * 7)),
        (0.15, (32, 32), ([0.8 / 10.6, *[1 / 10.6] * 9, 0.8 / 10.6],) * 2),  # 4.8 pixels: of the fifth, 0.8
    ],
)
def test_padded_crops_are_equally_frequent(
    padding: float, size: tuple[int, int], expected: tuple[list[float], list[float]]
) -> None:
    n = 20_000
    draws = draw(Augmentation(crop_padding=padding), n, size, generator())
    for name, shares in zip(("crop_y", "crop_x"), expected, strict=True):
        moves, counts = draws[name].unique(return_counts=True)
        furthest = len(shares) // 2
        assert moves.tolist() == list(range(-furthest, furthest + 1))
        # Four standard deviations.
        tolerance = 4 * (max(shares) / n) ** 0.5
        torch.testing.assert_close(counts / n, torch.tensor(shares), atol=tolerance, rtol=0)
    assert abs(torch.corrcoef(torch.stack((draws["crop_x"], draws["crop_y"])))[0, 1]) < 0.03
