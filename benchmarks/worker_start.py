"""Measure the cost of a worker before it trains: python -m benchmarks.worker_start [--workers 2]

Workers are started in two ways: forked from a server, as a search does, and as separate interpreters. Each takes one
training step, because the imports of that step belong to the cost. Printed are the seconds until all are ready, and the
processor time and memory of all of them, the server included; then the same for one additional worker, which is the
cost of replacing a killed one. Memory is the proportional share (PSS), in which memory shared by n processes counts 1/n
in each. Linux only.
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
    """Cost of workers: seconds until all are ready, processor seconds of all, MiB of all."""

    wall: float
    cpu: float
    memory: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu, self.memory - other.memory)

    def __str__(self) -> str:
        return f"{self.wall:8.1f}{self.cpu:8.1f}{self.memory:8.0f}"


def work(ready: Connection) -> None:
    """Take one training step, report readiness, and wait until the pipe is closed."""
    torch.set_num_threads(1)
    baseline = BASELINES["s004_net3"]
    model = build_model(baseline.spec)
    optimizer = make_optimizer(model, next(iter(baseline.recipes.values())))
    model(torch.zeros(2, *baseline.spec.input_shape)).sum().backward()
    optimizer.step()
    ready.send((objective.__name__, search.workers.pool.__name__))
    ready.recv()


def own_interpreter(work: Callable[..., None], *arguments: object) -> Any:
    """Start a process as an interpreter that shares nothing with others, and return it."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    return process


def start(start_process: Callable[..., Any], n_workers: int) -> tuple[Cost, Cost]:
    """Return the cost of `n_workers` workers, and that of one additional worker."""
    began = time.perf_counter()
    pipes = [multiprocessing.Pipe() for _ in range(n_workers + 1)]
    processes = [start_process(work, sender) for _, sender in pipes[:-1]]
    try:
        for receiver, _ in pipes[:-1]:
            receiver.recv()
        cost = _cost(processes, time.perf_counter() - began)
        began = time.perf_counter() - cost.wall
        processes.append(start_process(work, pipes[-1][1]))
        pipes[-1][0].recv()
        return cost, _cost(processes, time.perf_counter() - began) - cost
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
    """Start workers in both ways, and print their costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    n_workers = parser.parse_args().workers
    print(f"{'':28} seconds     cpu     MiB")
    for name, start_process in (("own interpreters", own_interpreter), ("forked", spawn)):
        cost, additional = start(start_process, n_workers)
        print(f"{name + f', {n_workers}':28}{cost}\n{name + ', one more':28}{additional}", flush=True)


if __name__ == "__main__":
    main()
