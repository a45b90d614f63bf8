"""Random images, and what is drawn when they are augmented."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.recipe import Augmentation
from search.engine import augment as module
from search.engine.augment import augment

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
