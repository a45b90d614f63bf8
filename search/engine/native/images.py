"""Hand images and the changes that are drawn for them to the kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from models.recipe import Augmentation
from search.data.dataset import Dataset, Split
from search.engine.augment import check_crop, positions
from search.engine.draws import Draws
from search.engine.native.structures import INTERPOLATIONS, Images

# Fields of struct Change of native/images.hpp.
CHANGES = [
    "mirrored",
    "brightness",
    "contrast",
    "brightness_first",
    "cropped",
    "crop_x",
    "crop_y",
    "xx",
    "xy",
    "x",
    "yx",
    "yy",
    "y",
    "top",
    "left",
    "height",
    "width",
]


class NativeImages:
    """Images of a split, with the structure that the kernels read them by.

    Raises InputError if the crop of the augmentation is larger than the images.
    """

    def __init__(self, split: Split, data: Dataset, augmentation: Augmentation) -> None:
        _, height, width = data.input_shape
        warps = augmentation.rotation or augmentation.shift or augmentation.scale or augmentation.shear
        if augmentation.crop_p:
            check_crop(augmentation.crop_side, height, width)
        self._pixels, self._labels = split.images.contiguous(), split.labels.contiguous()
        self._mean, self._std = torch.tensor(data.mean), torch.tensor(data.std)
        self._size = (height, width)
        self.structure = Images(
            *(tensor.data_ptr() for tensor in (self._pixels, self._labels, self._mean, self._std)),
            *data.input_shape,
            mirror=augmentation.mirror_p > 0,
            brightness=augmentation.brightness > 0,
            contrast=augmentation.contrast > 0,
            crop_side=augmentation.crop_side if augmentation.crop_p else 0,
            crop_padding=augmentation.crop_padding > 0,
            warp=INTERPOLATIONS[augmentation.interpolation] if warps else 0,
            erase=augmentation.erase_p > 0,
            fill=augmentation.fill,
        )

    def changes(self, draws: Draws) -> Tensor | None:
        """Return draws for n images as the kernels read them, (n, len(CHANGES)), or None if nothing was drawn."""
        if not draws:
            return None
        n = len(next(iter(draws.values())))
        columns = dict(draws)
        if "angle" in draws:
            columns |= zip(("xx", "xy", "x", "yx", "yy", "y"), positions(draws, *self._size), strict=True)
        unused = torch.ones(n)
        return torch.stack([columns.get(name, unused).float() for name in CHANGES], 1)
