"""Arms of the comparison: ways to search, each a function of a study that returns or raises TimeUpError.

A new way to search is one more row of ARMS.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler

from benchmarks.equal_time.trainer import TimedTrainer
from models.cost import compute_cost
from objective import Objective
from search.config import SearchConfig
from search.data.load import form_of
from search.limits import worst_excess
from search.sampling.feasible_start import FeasibleStart
from search.sampling.samplers import make_sampler
from search.search_space.augmentations import as_searched
from search.search_space.encoding import Candidate
from search.study.loop import StopRule, run_trials
from search.study.pruner import make_pruner
from search.study.seeds import derived_seed
from space import assemble, space_of

optuna.logging.set_verbosity(optuna.logging.ERROR)

# More trainings than any study has time for.
_UNLIMITED = 1_000_000


@dataclass(frozen=True)
class TimedSearch:
    """Search of one arm: its settings and the trainer that counts its time."""

    config: SearchConfig
    trainer: TimedTrainer


Run = Callable[[TimedSearch], None]


@dataclass(frozen=True)
class Arm:
    """Row of the table of arms; `what` describes it in a line."""

    what: str
    run: Run


def fitting_candidates(config: SearchConfig) -> Iterator[Candidate]:
    """Yield random candidates within the limits, each once, in an order that depends on the seed alone."""
    space, form = space_of(config), form_of(config.data)
    rng = random.Random(derived_seed(config.seed, "candidates"))
    seen = set[str]()
    while True:
        candidate = assemble(space.sample(rng), form.input_shape, form.n_classes)
        if worst_excess(compute_cost(candidate.arch), config) > 0 or candidate.key() in seen:
            continue
        seen.add(candidate.key())
        yield replace(candidate, recipe=as_searched(candidate.recipe, config))


def search_at_random(search: TimedSearch) -> None:
    """Train random candidates, each to the end."""
    for index, candidate in enumerate(fitting_candidates(search.config)):
        search.trainer.accuracy(candidate, index)


def search_by_one_epoch(search: TimedSearch) -> None:
    """Train random candidates for one epoch in the first half of the time, and then the best of them to the end.

    "One epoch for all, keep the best K" (arXiv 2307.15422) has a fixed number of candidates. Here the time decides how
    many there are, and K is the number of complete trainings for which it suffices. The schedule of one epoch is
    complete, too.
    """
    trainer = search.trainer
    judged: list[tuple[float, int, Candidate]] = []
    for index, candidate in enumerate(fitting_candidates(search.config)):
        if trainer.clock.spent >= trainer.clock.limit / 2:
            break
        judged.append((trainer.accuracy(candidate, index, epochs=1), index, candidate))
    for _, index, candidate in sorted(judged, key=lambda row: (-row[0], row[1])):
        trainer.accuracy(candidate, index)


def optuna_search(
    sampler: Callable[[SearchConfig], BaseSampler], pruner: Callable[[SearchConfig], BasePruner] | None = None
) -> Run:
    """Return a search by a sampler and a pruner of Optuna's interface.

    Its trials are those of the main command: proposals over the budget are refused with Optuna's constraints.
    """

    def run(search: TimedSearch) -> None:
        config = search.config
        search.trainer.every_epoch = pruner is not None
        objective = Objective(config)
        objective.training = search.trainer
        study = optuna.create_study(
            study_name=f"seed {config.seed}",  # Optuna's Hyperband draws the brackets from the name
            direction="maximize",
            sampler=sampler(config),
            pruner=pruner(config) if pruner else NopPruner(),
        )
        run_trials(study, objective, config.seed, StopRule(_UNLIMITED))

    return run


def _project_sampler(name: str) -> Callable[[SearchConfig], BaseSampler]:
    return lambda config: make_sampler(name, config.seed, FeasibleStart(config))


def _tpe(config: SearchConfig) -> BaseSampler:
    return TPESampler(seed=config.seed)


def _median(config: SearchConfig) -> BasePruner:
    return make_pruner("median", config.epochs)


def _halving(config: SearchConfig) -> BasePruner:
    return make_pruner("halving", config.epochs)


def _hyperband(config: SearchConfig) -> BasePruner:
    return HyperbandPruner(max_resource=config.epochs)


ARMS = {
    "random": Arm("random candidates within the budget, each trained to the end", search_at_random),
    "one-epoch": Arm(
        "random candidates for one epoch; from half of the time on the best to the end", search_by_one_epoch
    ),
    "tpe": Arm("Optuna's TPESampler as it comes, each trained to the end", optuna_search(_tpe)),
    "tpe-hyperband": Arm("Optuna's TPESampler and HyperbandPruner as they come", optuna_search(_tpe, _hyperband)),
    "evolve": Arm(
        "`--sampler evolve --pruner median --starts none`", optuna_search(_project_sampler("evolve"), _median)
    ),
    "evolve-halving": Arm(
        "`--sampler evolve --pruner halving --starts none`", optuna_search(_project_sampler("evolve"), _halving)
    ),
}
# Arms that every other arm is compared with.
CONTROLS = ("random", "tpe-hyperband")
