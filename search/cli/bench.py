"""Compare the engine with the usual training loop, for `python search.py bench`.

Every repeat measures all networks, each in turn: an epoch of the usual loop without and with DataLoader workers, an
epoch of the engine on all cores, and an epoch of the engine with one training on every core. The figures are medians
over the repeats.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Self

import torch
from tqdm import tqdm

from models.cost import compute_cost
from search.data.dataset import Dataset
from search.engine.benchmark import (
    CPU,
    NETWORKS,
    USUAL_LOADERS,
    Images,
    engine_epoch,
    matrix_flops,
    multiply_add_flops,
    usual_epoch,
)
from search.engine.process import end_with_parent, keep_freed_memory
from search.engine.train import engine_for
from search.errors import FailureError, InputError
from search.text import duration
from search.workers.processes import spawn, stop

# Number of ways in which an epoch of a network is measured.
N_WAYS = len(USUAL_LOADERS) + 2


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


class Team:
    """Processes that hold the images and measure epochs of the engine when they are asked to."""

    def __init__(self, images: Images, n_processes: int) -> None:
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []
        for _ in range(n_processes):
            ours, theirs = Pipe()
            self._processes.append(spawn(_work, images, theirs))
            self._pipes.append(ours)
            theirs.close()  # the process has a copy

    def measure(self, name: str, n_threads: int, n_processes: int) -> list[tuple[float, float]]:
        """Return the result of engine_epoch in each of `n_processes` that train at the same time.

        Raises FailureError if one of them ends.
        """
        pipes = self._pipes[:n_processes]
        try:
            for pipe in pipes:
                pipe.send((name, n_threads))
            return [pipe.recv() for pipe in pipes]
        except (EOFError, OSError) as error:
            raise FailureError("a process of the benchmark was ended, perhaps for lack of memory") from error

    def wait_until_ready(self) -> None:
        """Wait until every process has loaded the images, so that none trains alone while others load."""
        self.measure("", 0, len(self._pipes))

    def end(self) -> None:
        """End the processes."""
        stop(self._processes)


@contextmanager
def _team(images: Images, n_processes: int) -> Iterator[Team]:
    team = Team(images, n_processes)
    try:
        yield team
    finally:
        team.end()


def _work(images: Images, pipe: Connection) -> None:
    """Measure what is asked for through the pipe, until the process is ended."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    data = images.load()
    with suppress(EOFError, BrokenPipeError):  # the main process has ended
        while True:
            name, n_threads = pipe.recv()
            pipe.send(engine_epoch(name, data, n_threads) if name else None)


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
    data, names = images.load(), list(networks)
    matrix_peak, loop_peak = matrix_flops(n_cores), multiply_add_flops(n_cores)
    memory: list[float] = []
    print(f"an epoch is {len(data.train):,} training images ({data.name}) and a test", file=sys.stderr, flush=True)
    with _team(images, n_cores) as team, _Progress(repeats * len(names) * N_WAYS) as progress:
        progress.show("loading the images")
        team.wait_until_ready()
        ways = {(name, way): epoch for name in names for way, epoch in _ways(name, data, team, n_cores, memory).items()}
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
        for repeat in range(1, repeats + 1):
            for (name, way), epoch in ways.items():
                progress.show(f"{name} {repeat}/{repeats}: {way}")
                seconds[name, way].append(epoch())
                progress.end(f"{name} {repeat}/{repeats}: {way}: {seconds[name, way][-1]:.2f} s an epoch")
    peak = loop_peak or matrix_peak
    ratios_of = {}
    for name in names:
        *usual, single, parallel = (statistics.median(seconds[key]) for key in seconds if key[0] == name)
        ratios_of[name] = _ratios(name, data, peak, usual, single, parallel)
    return {
        **asdict(ratios_of[names[0]]),
        "networks": {name: asdict(ratios) for name, ratios in ratios_of.items()},
        "data": data.name,
        "n_images": len(data.train),
        "repeats": repeats,
        "n_cores": n_cores,
        "engine": engine_for(CPU),
        "matrix_gflops": matrix_peak / 1e9,
        "multiply_add_gflops": None if loop_peak is None else loop_peak / 1e9,
        "worker_peak_mib": max(memory),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _ways(name: str, data: Dataset, team: Team, n_cores: int, memory: list[float]) -> dict[str, Callable[[], float]]:
    """Return functions that measure the seconds of an epoch of one network in N_WAYS ways, by what they measure.

    The usual loops come first, then the engine with one training and with one on every core.
    """

    def engine(n_threads: int, n_processes: int) -> float:
        results = team.measure(name, n_threads, n_processes)
        memory.extend(mib for _, mib in results)
        return statistics.mean(seconds for seconds, _ in results) / n_processes

    usual = {
        f"usual loop, {n_loaders} loader workers": partial(usual_epoch, NETWORKS[name], data, n_loaders)
        for n_loaders in USUAL_LOADERS
    }
    return {
        **usual,
        f"engine, one training on {n_cores} cores": lambda: engine(n_cores, 1),
        f"engine, {n_cores} at once": lambda: engine(1, n_cores),
    }


def _ratios(name: str, data: Dataset, peak: float, usual: list[float], single: float, parallel: float) -> Ratios:
    """Return the figures of a network from its seconds; usual: of the usual loops in the order of USUAL_LOADERS."""
    cost, fastest = compute_cost(NETWORKS[name]), min(usual)
    # Forward and two gradients of every multiply-add in training, forward alone in the test pass.
    floor = 2 * cost.macs * (3 * len(data.train) + len(data.test)) / peak
    return Ratios(
        n_params=cost.n_params,
        macs=cost.macs,
        usual_loader_workers=USUAL_LOADERS[usual.index(fastest)],
        usual_s_per_epoch=fastest,
        engine_s_per_epoch=single,
        parallel_s_per_epoch=parallel,
        ratio_single=fastest / single,
        ratio_parallel=fastest / parallel,
        floor_s_per_epoch=floor,
        floor_fraction_single=floor / single,
        floor_fraction_parallel=floor / parallel,
    )


class _Progress:
    """Display of what is measured: one line on a terminal that is rewritten, and a line for each measurement in a file.

    Both are on standard error. The remaining time is that of the measurements so far.
    """

    def __init__(self, n_total: int) -> None:
        self._bar = tqdm(total=n_total, bar_format="{desc}", dynamic_ncols=True, disable=None)
        self._n_total, self._n_done, self._started = n_total, 0, time.monotonic()

    def show(self, what: str) -> None:
        """Show what is measured now."""
        left = (time.monotonic() - self._started) / self._n_done * (self._n_total - self._n_done) if self._n_done else 0
        words = f", about {duration(left)} left" if self._n_done else ""
        self._bar.set_description_str(f"{self._n_done}/{self._n_total} measured{words} | {what}")

    def end(self, line: str) -> None:
        """Count a measurement that has ended."""
        self._n_done += 1
        if self._bar.disable:
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()


def _peak(figures: dict[str, Any]) -> str:
    """Describe the speed that the floor is computed from."""
    matrix = f"{figures['matrix_gflops']:.0f}"
    if figures["multiply_add_gflops"] is None:
        return f"the {matrix} GFLOP/s of a large float32 matrix product here"
    loop = f"{figures['multiply_add_gflops']:.0f}"
    return f"the {loop} GFLOP/s of a loop of multiply-adds here; a large float32 matrix product: {matrix}"


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
        f"floor    the arithmetic at {_peak(figures)}",
        f"Medians of {figures['repeats']}. An epoch: {figures['n_images']:,} training images ({figures['data']}) "
        "and a test.",
        f"A worker's memory peaked at {figures['worker_peak_mib']:,.0f} MiB.",
    ]
    return "\n".join(lines)
