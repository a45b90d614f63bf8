"""Small made-up images, and networks of a few hundred parameters to train on them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from models.build import build_model
from models.recipe import RecipeConfig, Schedule
from models.spec import ArchSpec, Block, Head, Stage
from search.data.dataset import Dataset, Split
from search.engine.train import EpochMetrics

N_CLASSES = 3
STEPS_PER_EPOCH = 8  # 256 images in batches of 32

RECIPE = RecipeConfig(epochs=4, batch_size=32, lr=0.1, schedule=Schedule("constant"))
ADAM = replace(RECIPE, optimizer="adam", lr=0.01)
SOAP = replace(ADAM, optimizer="soap")


def made_up_data(n_train: int = 256, n_test: int = 128) -> Dataset:
    """8x8 images of noise, in which a brighter pair of rows tells the class."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        labels = torch.randint(0, N_CLASSES, (n,), generator=generator)
        images = torch.randint(0, 100, (n, 1, 8, 8), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            image[0, 2 * label + 1 : 2 * label + 3] += 60
        return Split(images.to(torch.uint8), labels)

    classes = tuple(map(str, range(N_CLASSES)))
    return Dataset("made up", classes, split(n_train), None, split(n_test), mean=(0.25,), std=(0.15,), checksum="")


def network(seed: int = 0, **settings: Any) -> nn.Sequential:
    """A convolution, a pool and a convolution over the whole map; `settings` are the block's."""
    torch.manual_seed(seed)
    return build_model(ArchSpec((1, 8, 8), N_CLASSES, (Stage((Block(6, **settings),), pool=2),), Head("conv")))


def timeless(curve: tuple[EpochMetrics, ...]) -> list[EpochMetrics]:
    """The curve without what differs between two equal runs."""
    return [replace(metrics, seconds=0.0) for metrics in curve]


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def parameters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network without batch norm's statistics."""
    return {name: tensor for name, tensor in state.items() if name.endswith(("weight", "bias"))}


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def holding(state: dict[str, Tensor], make: Callable[..., nn.Module] = network) -> nn.Module:
    """A fresh network with these weights."""
    model = make(seed=99)
    model.load_state_dict(state)
    return model
