"""Images that the kernels pick, change and normalise, against PyTorch's augmentation with the same draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.recipe import Augmentation
from search.data.dataset import Dataset, Split
from search.engine.augment import apply
from search.engine.draws import Draws, draw
from search.engine.inputs import normalise
from search.engine.native import kernels
from search.engine.native.images import NativeImages
from search.engine.native.program import Program
from search.errors import InputError

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]
SHAPES = [(1, 28, 28), (3, 18, 25), (2, 20, 17)]
EVERYTHING = Augmentation(
    **{"rotation": 30.0, "shift": 0.2, "scale": 0.2, "shear": 10.0, "crop_p": 0.5, "crop_side": 13},
    **{"crop_padding": 0.1, "mirror_p": 0.5, "brightness": 0.5, "contrast": 0.5},
    **{"erase_p": 0.5, "erase_area": (0.02, 0.3)},
)
AUGMENTATIONS = {
    "none": Augmentation(),
    "mirroring": Augmentation(mirror_p=0.5),
    "brightness": Augmentation(brightness=0.9),
    "contrast": Augmentation(contrast=0.9),
    "both": Augmentation(brightness=0.9, contrast=0.9),
    "crop of all": Augmentation(crop_p=1.0, crop_side=10),
    "crop": Augmentation(crop_p=0.5, crop_side=17),
    "padded crop": Augmentation(crop_padding=0.2, fill=0.6),
    "padded crop beyond the image": Augmentation(crop_padding=1.0, crop_p=0.5, crop_side=13),
    "rotation": Augmentation(rotation=180.0),
    "shift": Augmentation(shift=0.3),
    "far shift": Augmentation(shift=1.0),
    "scale": Augmentation(scale=0.9),
    "shear": Augmentation(shear=40.0),
    "nearest": Augmentation(shift=0.5, interpolation="nearest"),
    "erasing": Augmentation(erase_p=0.7, erase_area=(0.02, 0.4)),
    "everything": EVERYTHING,
    "everything on grey": replace(EVERYTHING, fill=0.4),
}


def data_of(shape: tuple[int, int, int], n: int = 50) -> Dataset:
    images = torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    split = Split(images, torch.zeros(n, dtype=torch.int64))
    mean, std = (0.2, 0.4, 0.6)[: shape[0]], (0.3, 0.2, 0.25)[: shape[0]]
    return Dataset("made up", ("a",), split, None, split, mean=mean, std=std, checksum="")


def read(data: Dataset, augmentation: Augmentation, index: Tensor, draws: Draws) -> Tensor:
    """Return the images of `index` as the kernels write them to the input of a program."""
    images = NativeImages(data.train, data, augmentation)
    program = Program(nn.Identity(), data.input_shape, len(index), training=False)
    return program.read(images, index, images.changes(draws))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_images_are_those_of_pytorch(shape: tuple[int, int, int], augmentation: Augmentation) -> None:
    data = data_of(shape)
    index = torch.randperm(50, generator=torch.Generator().manual_seed(3))[:37]
    draws = draw(augmentation, len(index), shape[1:], torch.Generator().manual_seed(2))
    pixels = apply(data.train.images[index].float() / 255, augmentation, draws, data.mean)
    found = read(data, augmentation, index, draws)
    torch.testing.assert_close(found, normalise(pixels, data), rtol=0, atol=1e-3)
    assert (found - normalise(pixels, data)).abs().mean() < 2e-5


def test_nearest_pixels_may_differ_halfway_between_two() -> None:
    augmentation = Augmentation(rotation=30.0, scale=0.3, shear=10.0, interpolation="nearest")
    data, index = data_of((1, 28, 28)), torch.arange(50)
    draws = draw(augmentation, len(index), (28, 28), torch.Generator().manual_seed(2))
    pixels = normalise(apply(data.train.images.float() / 255, augmentation, draws, data.mean), data)
    assert ((read(data, augmentation, index, draws) - pixels).abs() > 1e-4).float().mean() < 1e-3


def test_a_crop_larger_than_the_images() -> None:
    with pytest.raises(InputError, match="crop_side must be at most 18 for 18x25 images, got 19"):
        NativeImages(data_of((3, 18, 25)).train, data_of((3, 18, 25)), Augmentation(crop_p=0.1, crop_side=19))
