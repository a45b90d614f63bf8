"""Measure the cost of a worker before it trains: python -m benchmarks.worker_start [--workers 2]

Starts so many workers, once as a search does, forked from a server, and once as interpreters of their own. Each takes
one step of training, as what that imports belongs to the cost. Then: seconds until all were ready, processor time and
memory of all of them, the server included, and the same of one worker more, as it replaces one that was killed. Memory
is the proportional share (PSS): what n processes share counts 1/n in each. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

import objective
import search.workers.pool
from benchmarks.kills import servers
from models.baselines import BASELINES
from models.build import build_model
from search.engine.optimizers import make_optimizer
from search.workers.processes import spawn, stop


@dataclass(frozen=True)
class Cost:
    """Seconds until all were ready, processor seconds of all, MiB of all."""

    wall: float
    cpu: float
    memory: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu, self.memory - other.memory)

    def __str__(self) -> str:
        return f"{self.wall:8.1f}{self.cpu:8.1f}{self.memory:8.0f}"


def work(ready: Connection) -> None:
    """One step of training, then nothing until the pipe is closed."""
    torch.set_num_threads(1)
    baseline = BASELINES["s004_net3"]
    model = build_model(baseline.spec)
    optimizer = make_optimizer(model, next(iter(baseline.recipes.values())))
    model(torch.zeros(2, *baseline.spec.input_shape)).sum().backward()
    optimizer.step()
    ready.send((objective.__name__, search.workers.pool.__name__))
    ready.recv()


def own_interpreter(work: Callable[..., None], *arguments: object) -> Any:
    """Start a process as search.workers.processes.spawn does, but with nothing shared."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    return process


def start(how: Callable[..., Any], n_workers: int) -> tuple[Cost, Cost]:
    """Measure the cost of `n_workers`, and of one more."""
    began = time.perf_counter()
    pipes = [multiprocessing.Pipe() for _ in range(n_workers + 1)]
    processes = [how(work, theirs) for _, theirs in pipes[:-1]]
    try:
        for ours, _ in pipes[:-1]:
            ours.recv()
        all_but_one = _cost(processes, time.perf_counter() - began)
        began = time.perf_counter() - all_but_one.wall
        processes.append(how(work, pipes[-1][1]))
        pipes[-1][0].recv()
        return all_but_one, _cost(processes, time.perf_counter() - began) - all_but_one
    finally:
        stop(processes)


def _cost(processes: Sequence[Any], wall: float) -> Cost:
    pids = [process.pid for process in processes] + servers(os.getpid())
    return Cost(wall, sum(map(_cpu, pids)), sum(map(_memory, pids)))


def _cpu(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    """Start workers both ways, and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    n_workers = parser.parse_args().workers
    print(f"{'':28} seconds     cpu     MiB")
    for name, how in (("own interpreters", own_interpreter), ("forked", spawn)):
        several, one = start(how, n_workers)
        print(f"{name + f', {n_workers}':28}{several}\n{name + ', one more':28}{one}", flush=True)


if __name__ == "__main__":
    main()
