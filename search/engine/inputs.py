"""Convert stored images to the inputs of a network, and divide the images of an epoch into batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from search.data.dataset import Dataset


def normalise(images: Tensor, data: Dataset) -> Tensor:
    """Scale images in [0, 1], (N, C, H, W), to zero mean and unit variance per channel over the training images."""
    return (images - per_channel(data.mean, images.device)) / per_channel(data.std, images.device)


@cache
def per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return `values` as (C, 1, 1) on the device, created only once, as a recorded step cannot copy from the host."""
    with torch.inference_mode(False):  # training cannot use a tensor that was created in inference mode
        return torch.tensor(values, device=device).view(-1, 1, 1)


def inputs_of(images: Tensor, data: Dataset) -> Tensor:
    """Return the inputs of a network for stored images, (N, C, H, W) uint8."""
    return normalise(images.float().div(255), data)


def batches(n_images: int, batch_size: int) -> Iterator[slice]:
    """Yield the slices of an epoch, without a last batch of one image, which batch norm cannot learn from."""
    for start in range(0, n_images, batch_size):
        if n_images - start > 1:
            yield slice(start, start + batch_size)
