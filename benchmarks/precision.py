"""Does bfloat16 cost accuracy? One network, one recipe, float32 against bfloat16, the same seeds.

    python -m benchmarks.precision --data-dir data --seeds 3 [--epochs 15]

Prints last-epoch test accuracies, mean and sd, and seconds per epoch for both. Runs the two precisions side by side,
one thread each, so that the ratio of their times holds on a shared machine.
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch

from models.baselines import BASELINES
from models.build import build_model
from search.config import DataConfig
from search.data import load_dataset
from search.train import TrainResult, keep_freed_memory, train
from space import DEFAULTS, assemble

NETWORK = "s001_model3"


def run(directory: str, epochs: int, seed: int, bf16: bool) -> TrainResult:
    """Train NETWORK once, with the space's default recipe."""
    torch.set_num_threads(1)
    keep_freed_memory()
    recipe = replace(assemble(DEFAULTS).recipe, epochs=epochs)
    torch.manual_seed(seed)
    model = build_model(BASELINES[NETWORK].spec)
    return train(model, load_dataset(DataConfig("mnist", directory)), recipe, seed=seed, bf16=bf16)


def main() -> None:
    """Run every seed in both precisions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    args = parser.parse_args()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        futures = {
            (seed, bf16): pool.submit(run, args.data_dir, args.epochs, seed, bf16)
            for seed in range(args.seeds)
            for bf16 in (False, True)
        }
        results = {key: future.result() for key, future in futures.items()}
    print(f"{NETWORK}, {args.epochs} epochs, {args.seeds} seeds, last epoch, test accuracy in percent")
    for bf16 in (False, True):
        own = [results[seed, bf16] for seed in range(args.seeds)]
        last = [100 * result.curve[-1].accuracy for result in own]
        seconds = statistics.median(metrics.seconds for result in own for metrics in result.curve)
        sd = statistics.stdev(last) if len(last) > 1 else float("nan")
        print(
            f"{'bfloat16' if bf16 else 'float32':9}{' '.join(f'{value:.2f}' for value in last)}  "
            f"mean {statistics.mean(last):.3f}  sd {sd:.3f}  {seconds:.1f} s per epoch"
        )


if __name__ == "__main__":
    main()
