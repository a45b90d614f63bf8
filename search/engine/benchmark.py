"""The engine against the usual loop, side by side in one run: what `python search.py bench` measures.

For every network, in every repeat and in turn: an epoch of the usual loop without and with DataLoader workers, an epoch
of the engine with all cores, and one with a training on every core at once. An epoch is one pass over the training
images with rotation, and one over the test images. Medians over the repeats.
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
# The engine's first epoch warms it up; its last is scored by PyTorch, to the last image, as only the last one is.
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
    """One network's figures. Seconds are of one epoch of one network; ratios are against the faster usual loop."""

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
    """The first `n_training` images of MNIST and a sixth as many of its test images; made-up ones where it is not."""

    directory: str
    n_training: int

    def load(self) -> Dataset:
        """Read or make them."""
        found, _ = resolve_auto(DataConfig("auto", self.directory))
        data = load_dataset(found) if found.dataset == "mnist" else _made_up()
        n_test = max(1, self.n_training // 6)
        return replace(data, train=_first(data.train, self.n_training), test=_first(data.test, n_test))


def _first(split: Split, n: int) -> Split:
    return split.take(torch.arange(min(n, len(split))))


def _made_up() -> Dataset:
    """Noise of MNIST's shape: as fast or slow as MNIST."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        images = torch.randint(0, 256, (n, 1, 28, 28), generator=generator, dtype=torch.uint8)
        return Split(images, torch.randint(0, 10, (n,), generator=generator))

    classes = tuple(map(str, range(10)))
    return Dataset("noise", classes, split(60_000), None, split(10_000), mean=(0.5,), std=(0.29,), checksum="")


def bench(images: Images, names: list[str] | None, repeats: int, n_cores: int, *, as_json: bool) -> int:
    """The command: measure, then print a table or one JSON object."""
    unknown = [name for name in names or () if name not in NETWORKS]
    if unknown:
        raise InputError(f"no network {unknown[0]!r:.80} to measure; there are {', '.join(NETWORKS)}")
    found = measure(images, names or list(NETWORKS), repeats, n_cores)
    print(json.dumps(found, indent=2) if as_json else table(found))
    return 0


def measure(images: Images, networks: Iterable[str], repeats: int, n_cores: int) -> dict[str, Any]:
    """The figures of the named NETWORKS, as plain data; at the top level those of the first."""
    data = images.load()
    peak = matrix_flops(n_cores)
    memory: list[float] = []
    context = get_context("spawn")
    barrier = context.Barrier(n_cores)
    # A pool that starts all its processes at once: each waits for the others before it trains.
    with context.Pool(n_cores, _start_worker, (images, barrier)) as pool:
        found = {name: _measure_one(name, data, pool, repeats, n_cores, peak, memory) for name in networks}
    return {
        **asdict(next(iter(found.values()))),
        "networks": {name: asdict(ratios) for name, ratios in found.items()},
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


def _measure_one(
    name: str, data: Dataset, pool: Pool, repeats: int, n_cores: int, peak: float, memory: list[float]
) -> Ratios:
    spec = NETWORKS[name]
    usual: dict[int, list[float]] = {loaders: [] for loaders in USUAL_LOADERS}
    single: list[float] = []
    parallel: list[float] = []
    for repeat in range(1, repeats + 1):
        for loaders, seconds in usual.items():
            seconds.append(_usual_epoch(spec, data, loaders))
            _say(f"{name} {repeat}/{repeats}: usual loop, {loaders} loader workers: {seconds[-1]:.2f} s an epoch")
        own, mib = pool.apply(_engine_epoch, (name, n_cores, True))
        single.append(own)
        _say(f"{name} {repeat}/{repeats}: engine, one training on {n_cores} cores: {own:.2f} s an epoch")
        results = pool.starmap(_engine_epoch, [(name, 1, False)] * n_cores, chunksize=1)
        parallel.append(statistics.mean(seconds for seconds, _ in results) / n_cores)
        memory += [mib, *(mib for _, mib in results)]
        _say(f"{name} {repeat}/{repeats}: engine, {n_cores} at once: {parallel[-1]:.2f} s an epoch of one network")
    medians = {loaders: statistics.median(seconds) for loaders, seconds in usual.items()}
    loaders = min(medians, key=medians.__getitem__)
    cost = compute_cost(spec)
    # Forward and two gradients of every multiply-add in training, forward alone in the test pass.
    floor = 2 * cost.macs * (3 * len(data.train) + len(data.test)) / peak
    one, side_by_side = statistics.median(single), statistics.median(parallel)
    return Ratios(
        n_params=cost.n_params,
        macs=cost.macs,
        usual_loader_workers=loaders,
        usual_s_per_epoch=medians[loaders],
        engine_s_per_epoch=one,
        parallel_s_per_epoch=side_by_side,
        ratio_single=medians[loaders] / one,
        ratio_parallel=medians[loaders] / side_by_side,
        floor_s_per_epoch=floor,
        floor_fraction_single=floor / one,
        floor_fraction_parallel=floor / side_by_side,
    )


def matrix_flops(n_threads: int, side: int = 1500, repeats: int = 9) -> float:
    """Floating-point operations a second of PyTorch's float32 matrix product on `n_threads` cores, the best of some."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    a, b = torch.rand(side, side), torch.rand(side, side)
    a @ b
    seconds = min(_timed(lambda: a @ b) for _ in range(repeats))
    torch.set_num_threads(before)
    return 2 * side**3 / seconds


def _timed(once: Callable[[], object]) -> float:
    started = time.perf_counter()
    once()
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


def _engine_epoch(name: str, n_threads: int, alone: bool) -> tuple[float, float]:
    """(seconds of an epoch in the middle of a training, peak memory of this process in MiB)."""
    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    if not alone:  # all trainings run at the same time
        _worker["barrier"].wait()
    result = train(build_model(NETWORKS[name]), _worker["data"], replace(RECIPE, epochs=ENGINE_EPOCHS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
    return statistics.median(metrics.seconds for metrics in result.curve[1:-1]), peak


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{'seconds an epoch':16}{'usual':>9}{'engine':>9}{'ratio':>8}"
        f"{'at once':>9}{'ratio':>8}{'floor':>8}{'reached':>9}"
    ]
    for name, one in found["networks"].items():
        lines.append(
            f"{name:16}{one['usual_s_per_epoch']:9.2f}{one['engine_s_per_epoch']:9.2f}{one['ratio_single']:8.1f}"
            f"{one['parallel_s_per_epoch']:9.2f}{one['ratio_parallel']:8.1f}"
            f"{one['floor_s_per_epoch']:8.2f}{one['floor_fraction_parallel']:9.0%}"
        )
    lines += [
        "",
        f"usual    PIL, torchvision, DataLoader, PyTorch {found['torch']}; the faster of "
        f"{' and '.join(map(str, USUAL_LOADERS))} loader workers",
        f"engine   one training on {found['n_cores']} cores, engine {found['engine']}",
        f"at once  {found['n_cores']} trainings, one a core; per network",
        f"floor    the arithmetic at the {found['matrix_gflops']:.0f} GFLOP/s of a large float32 matrix product here",
        f"Medians of {found['repeats']}. An epoch: {found['n_images']:,} training images ({found['data']}) and a test.",
        f"A worker's memory peaked at {found['worker_peak_mib']:,.0f} MiB.",
    ]
    return "\n".join(lines)
