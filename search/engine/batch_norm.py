"""Estimate the statistics of batch norm from the training images, after too few steps to have learned them.

Batch norm scores with running estimates, into which every training step mixes a tenth of the statistics of its batch.
After 15 steps a fifth of an estimate is still its initial value. Averaged weights lag further behind, because the
estimates are averaged as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Number of steps from which on the running estimates are used. Training images are augmented and test images are not,
# so new estimates help for longer than the arithmetic of the running ones suggests; measurements are in docs/method.md.
# The first epoch of the published data sets of 60,000 images has more steps, 391 or 469 of 128 images.
FEW_STEPS = 300
# Number of images that the statistics are computed from, and number of images in memory at once.
MOST_IMAGES = 4096
BATCH = 512


def norms_of(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch norms of a model."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def measured_batches(n_images: int) -> tuple[Tensor, ...]:
    """Return the indices of the training images that statistics are measured on, in batches of nearly equal sizes.

    Of more than MOST_IMAGES images they are an evenly spaced part.
    """
    index = torch.arange(0, n_images, math.ceil(n_images / MOST_IMAGES))
    return torch.tensor_split(index, math.ceil(len(index) / BATCH))


@torch.no_grad()
def estimate_statistics(model: nn.Module, images: Tensor, to_inputs: Callable[[Tensor], Tensor]) -> None:
    """Replace the running statistics of every batch norm in `model` by those of images, (N, C, H, W).

    The images are not augmented and dropout is off, as when the model is scored, so nothing is drawn at random. Of more
    than MOST_IMAGES images an evenly spaced part is used.

    to_inputs: function that converts images to inputs of the model.
    """
    norms = norms_of(model)
    if not norms:
        return
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, which have equal sizes
        norm.train()
    for index in measured_batches(len(images)):
        model(to_inputs(images[index]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)
