"""Measure the seconds of a training on a GPU, alone and with several at once.

    python -m benchmarks.cuda [--network s004_net3] [--at-once 8] [--epochs 15]

Every training runs in its own process, as in a search. The first trainings warm up the GPU and are not counted.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.pool import Pool

import torch

from models.baselines import BASELINES
from models.build import build_model
from search.config import DataConfig
from search.data.load import load_dataset
from search.engine.train import train
from space import DEFAULTS, assemble


def run(network: str, directory: str, epochs: int, seed: int) -> tuple[float, float]:
    """Train a network once; return the seconds and the accuracy after the last epoch."""
    data = load_dataset(DataConfig("mnist", directory))
    torch.manual_seed(seed)
    model = build_model(BASELINES[network].spec).cuda()
    started = time.perf_counter()
    result = train(model, data, replace(assemble(DEFAULTS).recipe, epochs=epochs), seed=seed)
    return time.perf_counter() - started, result.curve[-1].accuracy


def measure(pool: Pool, n: int, args: argparse.Namespace) -> None:
    """Run n trainings at once, and print their durations and accuracies."""
    started = time.perf_counter()
    tasks = [(args.network, args.data_dir, args.epochs, seed) for seed in range(n)]
    results = pool.starmap(run, tasks, chunksize=1)
    wall = time.perf_counter() - started
    accuracies = " ".join(f"{accuracy:.2%}" for _, accuracy in results)
    print(f"{n} at once: {wall:.1f} s, {wall / n:.2f} s a training; alone on its own clock {results[0][0]:.1f} s")
    print(f"  accuracy after epoch {args.epochs}: {accuracies}", flush=True)


def main() -> None:
    """Warm up the GPU, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="s004_net3", choices=BASELINES)
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=15)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device: this benchmark needs one")
    print(torch.cuda.get_device_name())
    with get_context("spawn").Pool(args.at_once) as pool:
        warm_up = [(args.network, args.data_dir, 1, seed) for seed in range(args.at_once)]
        pool.starmap(run, warm_up, chunksize=1)
        measure(pool, 1, args)
        measure(pool, args.at_once, args)


if __name__ == "__main__":
    main()
