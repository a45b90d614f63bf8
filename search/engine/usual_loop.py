"""Usual training loop that the engine is compared with: PIL images, torchvision transforms, DataLoader.

It does what the tutorials and the five write-ups do: float32, PyTorch's default number of threads, transforms of one
image at a time, and a pass over the test set after every epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's customary name)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from models.recipe import RecipeConfig
from search.data.dataset import Dataset, Split
from search.engine.optimizers import make_schedules

TEST_BATCH = 1000


class PilImages(TorchDataset[tuple[Tensor, int]]):
    """Data set like torchvision.datasets.MNIST, which converts every array to a PIL image and transforms it."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], Tensor]) -> None:
        self._images = split.images.squeeze(1).numpy()
        self._labels = split.labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._images[index], mode="L")), self._labels[index]


def transforms_for(data: Dataset, recipe: RecipeConfig) -> tuple[transforms.Compose, transforms.Compose]:
    """Return the (training, test) transforms: RandomRotation for a rotation alone, RandomAffine with other changes."""
    augmentation = recipe.augmentation
    to_tensor = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    changes: list[nn.Module] = []
    if augmentation.shift or augmentation.scale or augmentation.shear:
        changes = [
            transforms.RandomAffine(
                augmentation.rotation,
                translate=(augmentation.shift, augmentation.shift),
                scale=(1 - augmentation.scale, 1 + augmentation.scale),
                shear=augmentation.shear or None,
                interpolation=transforms.InterpolationMode.BILINEAR,
            )
        ]
    elif augmentation.rotation:
        changes = [transforms.RandomRotation(augmentation.rotation)]
    return transforms.Compose([*changes, *to_tensor]), transforms.Compose(to_tensor)


def train_usually(
    model: nn.Module,
    data: Dataset,
    recipe: RecipeConfig,
    n_loaders: int,
    on_epoch: Callable[[int, float, float], None],
) -> None:
    """Train with SGD and call on_epoch(epoch, test accuracy in [0, 1], seconds) after every epoch.

    n_loaders: number of DataLoader workers.
    """
    train_transform, test_transform = transforms_for(data, recipe)
    batches = DataLoader(PilImages(data.train, train_transform), recipe.batch_size, shuffle=True, num_workers=n_loaders)
    test = DataLoader(PilImages(data.test, test_transform), TEST_BATCH, num_workers=n_loaders)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    schedule, _ = make_schedules(optimizer, recipe, math.ceil(len(data.train) / recipe.batch_size))
    average = _average(model, recipe)
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels, label_smoothing=recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if schedule:
                schedule.step()
            if average:
                average.update_parameters(model)
        accuracy = _test_accuracy(average.module if average else model, test)
        on_epoch(epoch, accuracy, time.perf_counter() - started)


def _average(model: nn.Module, recipe: RecipeConfig) -> AveragedModel | None:
    if not recipe.ema_decay:
        return None

    def average(averaged: list[Tensor], current: list[Tensor], n_averaged: Tensor) -> None:
        n = int(n_averaged)
        decay = min(recipe.ema_decay, (1 + n) / (10 + n))
        get_ema_multi_avg_fn(decay)(averaged, current, n_averaged)  # type: ignore[no-untyped-call]

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)  # type: ignore[arg-type]


@torch.no_grad()
def _test_accuracy(model: nn.Module, batches: DataLoader[tuple[Tensor, int]]) -> float:
    model.eval()
    n_correct = n_images = 0
    for images, labels in batches:
        n_correct += int((model(images).argmax(1) == labels).sum())
        n_images += len(labels)
    return n_correct / n_images
