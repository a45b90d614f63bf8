"""Measure an epoch of the engine and of the usual training loop, for `python search.py bench`.

An epoch is one pass over the training images with rotation, and one over the test images.
"""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch

from models.baselines import BASELINES
from models.build import build_model
from models.recipe import Augmentation, RecipeConfig, Schedule
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig
from search.data.dataset import Dataset, Split
from search.data.load import load_dataset, resolve_auto
from search.engine.batch_norm import FEW_STEPS
from search.engine.native import kernels
from search.engine.train import train
from search.engine.usual_loop import train_usually

USUAL_LOADERS = (0, 2)
N_MEASURED_EPOCHS = 2
MAX_FIRST_EPOCHS = 10
CPU = torch.device("cpu")


def _separable(out_channels: int, padding: str = "valid") -> Block:
    return Block(out_channels, kind="separable", padding=padding)


# 7,888 parameters, about as many as the write-ups' networks have, but in depthwise and 1x1 convolutions.
SEPARABLE = ArchSpec(
    (1, 28, 28),
    10,
    (
        Stage((Block(16), _separable(20), _separable(28)), pool=2),
        Stage((_separable(36, "same"), _separable(44), _separable(48))),
    ),
    Head("gap_linear"),
)
NETWORKS = {
    "s004_net3": BASELINES["s004_net3"].spec,
    "s000_net": BASELINES["s000_net"].spec,
    "separable": SEPARABLE,
}
RECIPE = RecipeConfig(lr=0.05, schedule=Schedule("constant"), augmentation=Augmentation(rotation=7.0))


@dataclass(frozen=True)
class Images:
    """First `n_training` images of MNIST with a sixth as many test images, or noise where MNIST is absent.

    directory  the data directory
    """

    directory: str
    n_training: int

    def load(self) -> Dataset:
        """Return the images as a data set, read or generated."""
        config, _ = resolve_auto(DataConfig("auto", self.directory))
        data = load_dataset(config) if config.dataset == "mnist" else noise()
        n_test = max(1, self.n_training // 6)
        return replace(data, train=_first_images(data.train, self.n_training), test=_first_images(data.test, n_test))


def _first_images(split: Split, n: int) -> Split:
    return split.take(torch.arange(min(n, len(split))))


def noise() -> Dataset:
    """Return noise of MNIST's shape, which takes as long to train on as MNIST."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        images = torch.randint(0, 256, (n, 1, 28, 28), generator=generator, dtype=torch.uint8)
        return Split(images, torch.randint(0, 10, (n,), generator=generator))

    classes = tuple(map(str, range(10)))
    return Dataset("noise", classes, split(60_000), None, split(10_000), mean=(0.5,), std=(0.29,), checksum="")


def matrix_flops(n_threads: int, side: int = 1500, repeats: int = 9) -> float:
    """Return the floating-point operations a second of a float32 matrix product on `n_threads` cores.

    The fastest of `repeats` products of PyTorch counts.
    """
    n_threads_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    a, b = torch.rand(side, side), torch.rand(side, side)
    a @ b
    seconds = min(_seconds_of(lambda: a @ b) for _ in range(repeats))
    torch.set_num_threads(n_threads_before)
    return 2 * side**3 / seconds


def multiply_add_flops(n_threads: int, rounds: int = 2_000_000, repeats: int = 9) -> float | None:
    """Return the floating-point operations a second of a loop of multiply-adds in registers, on `n_threads` cores.

    That is the most that the kernels could reach. The fastest of `repeats` loops counts; None if there are no kernels.
    """
    library = kernels.load()
    if library is None:
        return None
    best = 0.0
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in range(repeats):
            started = time.perf_counter()
            n_operations = 2 * sum(pool.map(library.peak_run, [rounds] * n_threads))
            best = max(best, n_operations / (time.perf_counter() - started))
    return best


def _seconds_of(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def usual_epoch(spec: ArchSpec, data: Dataset, n_loaders: int) -> float:
    """Return the seconds of an epoch of the usual loop with `n_loaders` DataLoader workers."""
    seconds: list[float] = []
    torch.manual_seed(0)
    train_usually(
        build_model(spec), data, replace(RECIPE, epochs=1), n_loaders, lambda _epoch, _accuracy, s: seconds.append(s)
    )
    return seconds[0]


def engine_epoch(name: str, data: Dataset, n_threads: int) -> tuple[float, float]:
    """Return (seconds of an epoch in the middle of a training, peak memory of this process in MiB)."""
    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    # Neither the first epochs are measured, in which the engine warms up and estimates the statistics of batch norm
    # anew for each score, nor the last one, which PyTorch scores. With fewer than 3,840 images, for which ten epochs
    # are not enough, the measured epochs include these estimates.
    n_first = min(MAX_FIRST_EPOCHS, math.ceil(FEW_STEPS / math.ceil(len(data.train) / RECIPE.batch_size)))
    result = train(build_model(NETWORKS[name]), data, replace(RECIPE, epochs=n_first + N_MEASURED_EPOCHS + 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
    return statistics.median(metrics.seconds for metrics in result.curve[n_first:-1]), peak
