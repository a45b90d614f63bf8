"""Benchmark that compares the engine with the usual training loop, run by `python search.py bench`.

Every repeat measures each network in turn: an epoch of the usual loop without and with DataLoader workers, an epoch of
the engine on all cores, and an epoch of the engine with one training on every core. An epoch is one pass over the
training images with rotation, and one over the test images. The figures are medians over the repeats.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from models.baselines import BASELINES
from models.build import build_model
from models.cost import compute_cost
from models.recipe import Augmentation, RecipeConfig, Schedule
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig
from search.data.dataset import Dataset, Split
from search.data.load import load_dataset, resolve_auto
from search.engine.process import end_with_parent, keep_freed_memory
from search.engine.train import engine_for, train
from search.engine.usual_loop import train_usually
from search.errors import InputError

USUAL_LOADERS = (0, 2)
# The engine's first epoch warms it up. Only its last is scored exactly, by PyTorch. Neither is measured.
ENGINE_EPOCHS = 4
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
class Ratios:
    """Figures that were measured for one network.

    Seconds are those of one epoch of one network. Ratios are relative to the faster usual loop.
    """

    n_params: int
    macs: int
    usual_loader_workers: int
    usual_s_per_epoch: float
    engine_s_per_epoch: float
    parallel_s_per_epoch: float
    ratio_single: float
    ratio_parallel: float
    floor_s_per_epoch: float
    floor_fraction_single: float
    floor_fraction_parallel: float


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
        data = load_dataset(config) if config.dataset == "mnist" else _noise()
        n_test = max(1, self.n_training // 6)
        return replace(data, train=_first_images(data.train, self.n_training), test=_first_images(data.test, n_test))


def _first_images(split: Split, n: int) -> Split:
    return split.take(torch.arange(min(n, len(split))))


def _noise() -> Dataset:
    """Return noise of MNIST's shape, which takes as long to train on as MNIST."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        images = torch.randint(0, 256, (n, 1, 28, 28), generator=generator, dtype=torch.uint8)
        return Split(images, torch.randint(0, 10, (n,), generator=generator))

    classes = tuple(map(str, range(10)))
    return Dataset("noise", classes, split(60_000), None, split(10_000), mean=(0.5,), std=(0.29,), checksum="")


def bench(images: Images, names: list[str] | None, repeats: int, n_cores: int, *, as_json: bool) -> int:
    """Measure the named networks, print a table or one JSON object, and return the exit status."""
    unknown = [name for name in names or () if name not in NETWORKS]
    if unknown:
        raise InputError(f"no network {unknown[0]!r:.80} to measure; there are {', '.join(NETWORKS)}")
    figures = measure(images, names or list(NETWORKS), repeats, n_cores)
    print(json.dumps(figures, indent=2) if as_json else table(figures))
    return 0


def measure(images: Images, networks: Iterable[str], repeats: int, n_cores: int) -> dict[str, Any]:
    """Return the figures of the named NETWORKS as plain data, with those of the first at the top level, too."""
    data = images.load()
    peak = matrix_flops(n_cores)
    memory: list[float] = []
    context = get_context("spawn")
    barrier = context.Barrier(n_cores)
    # The barrier makes every process of the pool wait for the others before it trains.
    with context.Pool(n_cores, _start_worker, (images, barrier)) as pool:
        ratios_of = {name: _measure_network(name, data, pool, repeats, n_cores, peak, memory) for name in networks}
    return {
        **asdict(next(iter(ratios_of.values()))),
        "networks": {name: asdict(ratios) for name, ratios in ratios_of.items()},
        "data": data.name,
        "n_images": len(data.train),
        "repeats": repeats,
        "n_cores": n_cores,
        "engine": engine_for(CPU),
        "matrix_gflops": peak / 1e9,
        "worker_peak_mib": max(memory),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _measure_network(
    name: str, data: Dataset, pool: Pool, repeats: int, n_cores: int, peak: float, memory: list[float]
) -> Ratios:
    spec = NETWORKS[name]
    usual: dict[int, list[float]] = {loaders: [] for loaders in USUAL_LOADERS}
    single: list[float] = []
    parallel: list[float] = []
    for repeat in range(1, repeats + 1):
        for loaders, seconds in usual.items():
            seconds.append(_usual_epoch(spec, data, loaders))
            _log(f"{name} {repeat}/{repeats}: usual loop, {loaders} loader workers: {seconds[-1]:.2f} s an epoch")
        single_seconds, mib = pool.apply(_engine_epoch, (name, n_cores, True))
        single.append(single_seconds)
        _log(f"{name} {repeat}/{repeats}: engine, one training on {n_cores} cores: {single_seconds:.2f} s an epoch")
        results = pool.starmap(_engine_epoch, [(name, 1, False)] * n_cores, chunksize=1)
        parallel.append(statistics.mean(seconds for seconds, _ in results) / n_cores)
        memory += [mib, *(mib for _, mib in results)]
        _log(f"{name} {repeat}/{repeats}: engine, {n_cores} at once: {parallel[-1]:.2f} s an epoch of one network")
    medians = {loaders: statistics.median(seconds) for loaders, seconds in usual.items()}
    loaders = min(medians, key=medians.__getitem__)
    cost = compute_cost(spec)
    # Forward and two gradients of every multiply-add in training, forward alone in the test pass.
    floor = 2 * cost.macs * (3 * len(data.train) + len(data.test)) / peak
    single_median, parallel_median = statistics.median(single), statistics.median(parallel)
    return Ratios(
        n_params=cost.n_params,
        macs=cost.macs,
        usual_loader_workers=loaders,
        usual_s_per_epoch=medians[loaders],
        engine_s_per_epoch=single_median,
        parallel_s_per_epoch=parallel_median,
        ratio_single=medians[loaders] / single_median,
        ratio_parallel=medians[loaders] / parallel_median,
        floor_s_per_epoch=floor,
        floor_fraction_single=floor / single_median,
        floor_fraction_parallel=floor / parallel_median,
    )


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


def _seconds_of(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _usual_epoch(spec: ArchSpec, data: Dataset, n_loaders: int) -> float:
    seconds: list[float] = []
    torch.manual_seed(0)
    train_usually(
        build_model(spec), data, replace(RECIPE, epochs=1), n_loaders, lambda _epoch, _accuracy, s: seconds.append(s)
    )
    return seconds[0]


_worker: dict[str, Any] = {}


def _start_worker(images: Images, barrier: Barrier) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    _worker.update(data=images.load(), barrier=barrier)


def _engine_epoch(name: str, n_threads: int, is_alone: bool) -> tuple[float, float]:
    """Return (seconds of an epoch in the middle of a training, peak memory of this process in MiB)."""
    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    if not is_alone:  # all trainings run at the same time
        _worker["barrier"].wait()
    result = train(build_model(NETWORKS[name]), _worker["data"], replace(RECIPE, epochs=ENGINE_EPOCHS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
    return statistics.median(metrics.seconds for metrics in result.curve[1:-1]), peak


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table(figures: dict[str, Any]) -> str:
    """Format the figures of `measure` as a table."""
    lines = [
        f"{'seconds an epoch':16}{'usual':>9}{'engine':>9}{'ratio':>8}"
        f"{'at once':>9}{'ratio':>8}{'floor':>8}{'reached':>9}"
    ]
    for name, network in figures["networks"].items():
        lines.append(
            f"{name:16}{network['usual_s_per_epoch']:9.2f}{network['engine_s_per_epoch']:9.2f}{network['ratio_single']:8.1f}"
            f"{network['parallel_s_per_epoch']:9.2f}{network['ratio_parallel']:8.1f}"
            f"{network['floor_s_per_epoch']:8.2f}{network['floor_fraction_parallel']:9.0%}"
        )
    lines += [
        "",
        f"usual    PIL, torchvision, DataLoader, PyTorch {figures['torch']}; the faster of "
        f"{' and '.join(map(str, USUAL_LOADERS))} loader workers",
        f"engine   one training on {figures['n_cores']} cores, engine {figures['engine']}",
        f"at once  {figures['n_cores']} trainings, one a core; per network",
        f"floor    the arithmetic at the {figures['matrix_gflops']:.0f} GFLOP/s of a large float32 matrix product here",
        f"Medians of {figures['repeats']}. An epoch: {figures['n_images']:,} training images ({figures['data']}) "
        "and a test.",
        f"A worker's memory peaked at {figures['worker_peak_mib']:,.0f} MiB.",
    ]
    return "\n".join(lines)
