"""Compare the accuracies of the engine, an earlier one and the usual training loop, for the same recipe and seeds.

    python -m benchmarks.training.equal_learning [--network s004_net3] [--seeds 3] [--epochs 15] [--loops engine usual]
    python -m benchmarks.training.equal_learning --loops old engine --old FOLDER [--network separable]

Prints test accuracies after the last epoch with mean and standard deviation, and the difference of each loop from the
first with its standard error. The recipe is the default of the search space; the usual loop augments with
torchvision's transforms, which round shifts to whole pixels; "old" is the engine of the source in FOLDER. There are as
many trainings at a time as cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOOPS = ("usual", "old", "engine")


def run(loop: str, network: dict[str, object], directory: str, epochs: int, seed: int) -> float:
    """Train a network in one of the LOOPS; return the test accuracy in percent after the last epoch."""
    import torch

    from models.build import build_model
    from models.spec import ArchSpec
    from search.config import DataConfig
    from search.data.load import load_dataset
    from search.engine.process import keep_freed_memory
    from search.engine.train import train
    from search.engine.usual_loop import train_usually
    from space import DEFAULTS, assemble

    torch.set_num_threads(1)
    data = load_dataset(DataConfig("mnist", directory))
    recipe = replace(assemble(DEFAULTS).recipe, epochs=epochs)
    torch.manual_seed(seed)
    model = build_model(ArchSpec.from_dict(network))
    if loop != "usual":
        keep_freed_memory()
        return 100 * train(model, data, recipe, seed=seed).curve[-1].accuracy
    accuracies: list[float] = []
    train_usually(model, data, recipe, 0, lambda _epoch, accuracy, _seconds: accuracies.append(accuracy))
    return 100 * accuracies[-1]


def run_with_source(source: Path, *arguments: object) -> float:
    """Run a training in a process that imports the source of a folder; return its accuracy in percent."""
    # Not as a script, because its folder has modules that would hide installed ones.
    code = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
    process = subprocess.run(
        [sys.executable, "-c", code, "--worker", json.dumps(arguments)],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source.resolve())},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(process.stdout)


def print_table(values: dict[str, list[float]]) -> None:
    """Print the accuracies of every loop, and differences from the first loop with standard errors."""
    first = next(iter(values.values()))
    for loop, column in values.items():
        sd = statistics.stdev(column) if len(column) > 1 else math.nan
        shown = " ".join(f"{value:.2f}" for value in column)
        line = f"{loop:8}{shown}  mean {statistics.mean(column):.3f}  sd {sd:.3f}"
        if column is not first and len(column) > 1:
            error = math.sqrt((statistics.variance(column) + statistics.variance(first)) / len(column))
            line += f"  difference {statistics.mean(column) - statistics.mean(first):+.3f} +- {error:.3f}"
        print(line)


def main() -> None:
    """Train every seed in all loops, and print the table."""
    if sys.argv[1:2] == ["--worker"]:
        print(run(*json.loads(sys.argv[2])))
        return
    from models.baselines import MNIST_BASELINES
    from search.engine.benchmark import SEPARABLE

    networks = {"separable": SEPARABLE} | {name: baseline.spec for name, baseline in MNIST_BASELINES.items()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="s004_net3", choices=networks)
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=["usual", "engine"])
    parser.add_argument("--old", type=Path)
    args = parser.parse_args()
    if "old" in args.loops and args.old is None:
        parser.error("the loop 'old' needs --old FOLDER, a folder with the source of this project")
    network, directory = networks[args.network].to_dict(), str(Path(args.data_dir).resolve())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        trainings = {
            pool.submit(
                run_with_source, args.old if loop == "old" else ROOT, loop, network, directory, args.epochs, seed
            ): (loop, seed)
            for seed in range(args.seeds)
            for loop in args.loops
        }
        accuracies: dict[tuple[str, int], float] = {}
        for training in as_completed(trainings):
            accuracies[trainings[training]] = training.result()
            print(*trainings[training], f"{training.result():.2f}", file=sys.stderr, flush=True)
    print(f"{args.network}, {args.epochs} epochs, {args.seeds} seeds, last epoch, test accuracy in percent")
    print_table({loop: [accuracies[loop, seed] for seed in range(args.seeds)] for loop in args.loops})


if __name__ == "__main__":
    main()
