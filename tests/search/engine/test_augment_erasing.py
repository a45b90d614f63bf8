"""The erasing of rectangles in a batch: sizes as torchvision draws them; what stays untouched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import RandomErasing

from models.recipe import Augmentation
from search.engine.augment import augment, erase
from tests.search.random_images import generator, random_images, run


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
