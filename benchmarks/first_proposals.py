"""Measure how soon a search finds networks that fit: python -m benchmarks.first_proposals [--seeds 5] [--sampler tpe]

For each budget, with and without the feasible start, it prints the number of the first proposal that fits and the share
of the first 16 proposals that fit. The studies are in memory, without queued starting points, and nothing is built or
trained. The value of a network that fits grows with its multiply-adds, so that the sampler tends to the limit as it
does with accuracies.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from statistics import median

import optuna

from models.cost import compute_cost
from search.config import SAMPLERS, DataConfig, SearchConfig
from search.limits import refusal
from search.sampling.feasible_start import FeasibleStart
from search.sampling.samplers import make_sampler
from search.study.attributes import OUTCOME
from search.study.loop import run_trials
from search.study.trials import FINISHED, REFUSED
from space import suggest

BUDGETS = (300, 700, 1500, 8000, 100_000)
N_FIRST = 16
# Without a feasible start the first network that fits may come late; a search stops after a thousand refusals.
MAX_PROPOSALS = 200


@dataclass(frozen=True)
class Begin:
    """Result of the start of a study.

    first      number of the first proposal that fits, from 1, or None
    n_fitting  number of the first 16 proposals that fit
    """

    first: int | None
    n_fitting: int


@dataclass
class FirstFitStop:
    """Stopping rule that ends a study after 16 proposals if one of them fits, else at the first that fits.

    The study ends after MAX_PROPOSALS proposals in any case.
    """

    def is_reached(self, study: optuna.Study) -> bool:
        """Return whether the study has to stop; see search.study.loop.Stop."""
        outcomes = [trial.user_attrs.get(OUTCOME) for trial in study.get_trials(deepcopy=False)]
        return len(outcomes) >= MAX_PROPOSALS or (len(outcomes) >= N_FIRST and FINISHED in outcomes)


def begin(budget: int, sampler: str, seed: int, *, with_start: bool) -> Begin:
    """Run the start of one study, and return its result."""
    config = SearchConfig(DataConfig("mnist", "unused"), max_params=budget, sampler=sampler, seed=seed)

    def objective(trial: optuna.Trial) -> float:
        cost = compute_cost(suggest(trial).arch)
        constraints, reason = refusal(cost, config)
        for name, value in constraints.items():
            trial.set_constraint(name, value)
        trial.set_user_attr(OUTCOME, REFUSED if reason else FINISHED)
        if reason:
            raise optuna.TrialPruned(reason)
        return math.log10(cost.macs) / 10

    start = FeasibleStart(config) if with_start else None
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, seed, start))
    run_trials(study, objective, seed, FirstFitStop())
    fits = [trial.user_attrs[OUTCOME] == FINISHED for trial in study.trials]
    first = fits.index(True) + 1 if True in fits else None
    return Begin(first, sum(fits[:N_FIRST]))


def main() -> None:
    """Measure every budget, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sampler", choices=SAMPLERS, default="tpe")
    args = parser.parse_args()
    print(f"{'budget':>7}  {'start':7}  first that fits: median, worst of {args.seeds}  of the first {N_FIRST} fit")
    for budget in BUDGETS:
        for with_start in (False, True):
            starts = [begin(budget, args.sampler, seed, with_start=with_start) for seed in range(args.seeds)]
            firsts = [MAX_PROPOSALS + 1 if start.first is None else start.first for start in starts]
            share = sum(start.n_fitting for start in starts) / (N_FIRST * len(starts))
            shown = [
                f"> {MAX_PROPOSALS}" if first > MAX_PROPOSALS else str(first) for first in (median(firsts), max(firsts))
            ]
            print(
                f"{budget:7,}  {'with' if with_start else 'without':7}  {shown[0]:>10}, {shown[1]:>5}  {share:26.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
