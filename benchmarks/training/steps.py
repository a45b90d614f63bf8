"""Compare training steps of two versions of the source, side by side.

    python -m benchmarks.training.steps OLD [--new NEW] [--networks s004_net3 separable] [--turns 20] [--threads 1]
    python -m benchmarks.training.steps OLD --networks studies/tpe/study.db

OLD and NEW are folders with the source of this project (default of NEW: this one). For every network each version
trains in a process of its own, on noise of MNIST's shape, with the default recipe of the space or that of a study's
winner. The processes take turns: a turn is a short epoch, with all that is drawn for it, and without scoring. Prints
the fastest and the median turn of both in milliseconds of processor time a step, and the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
NETWORKS = ("s004_net3", "s000_net", "separable", "resnet8")
STEPS = 10  # steps of a turn
N_WARM_UP_TURNS = 3


def train_in_turns(n_turns: int, n_threads: int) -> None:
    """Train the candidate on standard input; wait for a line before each turn, and then print its seconds."""
    import torch

    from models.build import build_model
    from search.data.dataset import Dataset, Split
    from search.engine.process import prepare_process
    from search.engine.train import train
    from search.search_space.encoding import Candidate

    prepare_process()
    torch.set_num_threads(n_threads)
    candidate = Candidate.from_dict(json.loads(sys.stdin.readline()))
    recipe = candidate.recipe
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        images = torch.randint(0, 256, (n, *candidate.arch.input_shape), generator=generator, dtype=torch.uint8)
        return Split(images, torch.randint(0, candidate.arch.n_classes, (n,), generator=generator))

    classes = tuple(map(str, range(candidate.arch.n_classes)))
    channels = candidate.arch.input_shape[0]
    mean, std = (0.5,) * channels, (0.29,) * channels
    data = Dataset("noise", classes, split(STEPS * recipe.batch_size), None, split(2), mean, std, checksum="")
    started = 0.0

    def on_batch(_epoch: int, share: float) -> None:
        nonlocal started
        if share == 1:
            print(time.process_time() - started, flush=True)
            sys.stdin.readline()
            started = time.process_time()

    torch.manual_seed(0)
    recipe = type(recipe).from_dict({**recipe.to_dict(), "epochs": n_turns})
    train(build_model(candidate.arch), data, recipe, every_epoch=False, on_batch=on_batch)


def candidate_of(name: str) -> dict[str, object]:
    """Return the network and recipe of a name in NETWORKS, of a baseline, or of the winner of a study's file."""
    from models.baselines import BASELINES
    from models.recipe import RecipeConfig
    from models.spec import ArchSpec
    from search.engine.benchmark import SEPARABLE
    from search.search_space.encoding import Candidate
    from space import DEFAULTS, assemble

    if name.endswith(".db"):
        import optuna

        storage = f"sqlite:///file:{Path(name).resolve()}?mode=ro&uri=true"
        study = optuna.load_study(study_name=Path(name).parent.name, storage=storage)
        attributes = study.best_trial.user_attrs
        return Candidate(ArchSpec.from_dict(attributes["arch"]), RecipeConfig.from_dict(attributes["recipe"])).to_dict()
    spec = SEPARABLE if name == "separable" else BASELINES[name].spec
    return Candidate(spec, assemble(DEFAULTS).recipe).to_dict()


class Trainer:
    """Process that trains a candidate with the source of a folder."""

    def __init__(self, source: Path, candidate: dict[str, object], n_turns: int, n_threads: int) -> None:
        # Not as a script, because its folder has modules that would hide installed ones.
        code = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
        command = [sys.executable, "-c", code, "--worker", str(n_turns), str(n_threads)]
        self._process = subprocess.Popen(
            command,
            cwd=source,
            env={**os.environ, "PYTHONPATH": str(source.resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._write(json.dumps(candidate))

    def turn(self) -> float:
        """Return the seconds of processor time of the next turn."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._write("")
        return float(line)

    def close(self) -> None:
        """Wait until the training has ended."""
        self._process.communicate()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def compare(name: str, sources: list[Path], n_turns: int, n_threads: int) -> str:
    """Return the line of the table for a network."""
    candidate = candidate_of(name)
    trainers = [Trainer(source, candidate, n_turns + N_WARM_UP_TURNS, n_threads) for source in sources]
    turns = [[trainer.turn() for trainer in trainers] for _ in range(n_turns + N_WARM_UP_TURNS)]
    for trainer in trainers:
        trainer.close()
    old, new = ([1000 * seconds / STEPS for seconds in column] for column in zip(*turns[N_WARM_UP_TURNS:], strict=True))
    medians = statistics.median(old), statistics.median(new)
    figures = f"{min(old):8.2f}{min(new):8.2f}{min(old) / min(new):7.2f}"
    return f"{name[-24:]:24}{figures}{medians[0]:10.2f}{medians[1]:8.2f}{medians[0] / medians[1]:7.2f}"


def main() -> None:
    """Compare all networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("--new", type=Path, default=ROOT)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(f"{'ms a step':24}{'fastest':>16}{'ratio':>7}{'median':>18}{'ratio':>7}")
    for name in args.networks:
        print(compare(name, [args.old, args.new], args.turns, args.threads), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        train_in_turns(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
