"""Compare the accuracies of the engine and the usual training loop, for one network, one recipe and the same seeds.

    python -m benchmarks.equal_learning [--network s004_net3] [--seeds 3] [--epochs 15] [--only engine]

Prints test accuracies after the last epoch with mean and standard deviation. The recipe is the default of the search
space; the usual loop augments with torchvision's transforms, which round shifts to whole pixels. There are as many
trainings at a time as cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch

from models.baselines import BASELINES
from models.build import build_model
from search.config import DataConfig
from search.data.load import load_dataset
from search.engine.process import keep_freed_memory
from search.engine.train import train
from search.engine.usual_loop import train_usually
from space import DEFAULTS, assemble

LOOPS = ("usual", "engine")


def run(loop: str, network: str, directory: str, epochs: int, seed: int) -> float:
    """Train a network in one of the LOOPS; return the test accuracy in percent after the last epoch."""
    torch.set_num_threads(1)
    data = load_dataset(DataConfig("mnist", directory))
    recipe = replace(assemble(DEFAULTS).recipe, epochs=epochs)
    torch.manual_seed(seed)
    model = build_model(BASELINES[network].spec)
    if loop == "engine":
        keep_freed_memory()
        return 100 * train(model, data, recipe, seed=seed).curve[-1].accuracy
    accuracies: list[float] = []
    train_usually(model, data, recipe, 0, lambda _epoch, accuracy, _seconds: accuracies.append(accuracy))
    return 100 * accuracies[-1]


def main() -> None:
    """Train every seed in both loops, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="s004_net3", choices=BASELINES)
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--only", choices=LOOPS)
    args = parser.parse_args()
    loops = (args.only,) if args.only else LOOPS
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = {
            loop: [pool.submit(run, loop, args.network, args.data_dir, args.epochs, seed) for seed in range(args.seeds)]
            for loop in loops
        }
        print(f"{args.network}, {args.epochs} epochs, {args.seeds} seeds, last epoch, test accuracy in percent")
        for loop, trainings in futures.items():
            values = [future.result() for future in trainings]
            sd = statistics.stdev(values) if len(values) > 1 else float("nan")
            shown = " ".join(f"{value:.2f}" for value in values)
            print(f"{loop:8}{shown}  mean {statistics.mean(values):.3f}  sd {sd:.3f}", flush=True)


if __name__ == "__main__":
    main()
