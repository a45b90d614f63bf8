"""Measure how fast proposals are refused: python -m benchmarks.refusals [--proposals 10000]

Prints candidates per second for the cost arithmetic alone, for sampling, cost and refusal together, and for both inside
a study, in memory and on SQLite. The sampler is random, and no network fits the budget.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable

import optuna

from models.baselines import BASELINES
from models.cost import compute_cost
from objective import Objective
from search.config import DataConfig, SearchConfig
from search.limits import refusal
from search.sampling.samplers import make_sampler
from search.storage.open import open_storage
from space import assemble, sample

CONFIG = SearchConfig(DataConfig("mnist", "unused"), max_params=50)


def rate(n: int, function: Callable[[], object]) -> float:
    """Return the number of calls of a function per second."""
    started = time.perf_counter()
    for _ in range(n):
        function()
    return n / (time.perf_counter() - started)


def study_rate(n: int, storage: optuna.storages.BaseStorage | None) -> float:
    """Return the number of refusals per second inside a study; None stands for a storage in memory."""
    study = optuna.create_study(storage=storage, direction="maximize", sampler=make_sampler("random", 0))
    started = time.perf_counter()
    study.optimize(Objective(CONFIG), n_trials=n)
    return n / (time.perf_counter() - started)


def main() -> None:
    """Measure every kind of refusal, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proposals", type=int, default=10_000)
    n = parser.parse_args().proposals
    rng = random.Random(0)
    spec = BASELINES["s004_net3"].spec
    print(f"cost of one spec            {rate(n, lambda: compute_cost(spec)):9,.0f} a second")
    drawn = rate(n, lambda: refusal(compute_cost(assemble(sample(rng)).arch), CONFIG))
    print(f"draw, assemble, cost, refuse{drawn:9,.0f} a second")
    print(f"in a study in memory        {study_rate(n, None):9,.0f} a second ({n:,} proposals)")
    with tempfile.TemporaryDirectory() as folder:
        on_disk = study_rate(max(1, n // 50), open_storage(f"sqlite:///{folder}/studies.db"))
    print(f"in a study on SQLite        {on_disk:9,.0f} a second")


if __name__ == "__main__":
    main()
