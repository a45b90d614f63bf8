import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.config import SAMPLERS
from search.sampling.proposals import N_START, n_within
from search.sampling.samplers import EvolveSampler, best_finished, make_sampler, mutate_value
from search.search_space.dimensions import SuggestsValues
from search.study.loop import StopRule, n_trained, run_trials
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED
from search.workers.recovery import requeue_abandoned
from tests.search.study.test_study import memory_study, objective

WIDTH = IntDistribution(3, 32, log=True)
DEPTH = IntDistribution(1, 4)
LR = FloatDistribution(0.02, 1.0, log=True)
ROTATION = FloatDistribution(0.0, 15.0)
KIND = CategoricalDistribution(("conv", "separable", "residual"))
GRID = FloatDistribution(0.0, 1.0, step=0.25)
SWITCH = CategoricalDistribution((False, True))
KINDS: list[BaseDistribution] = [WIDTH, DEPTH, LR, ROTATION, KIND, GRID, SWITCH]

# Dimensions of every kind, as many as a real search has.
SPACE: dict[str, BaseDistribution] = {f"{i:02}": KINDS[i % len(KINDS)] for i in range(42)}


def drawn(rng: random.Random) -> dict[str, Any]:
    """A random point of SPACE."""
    values = {WIDTH: lambda: rng.randint(3, 32), DEPTH: lambda: rng.randint(1, 4), LR: lambda: rng.uniform(0.02, 1.0)}
    values |= {ROTATION: lambda: rng.uniform(0, 15), KIND: lambda: rng.choice(KIND.choices)}
    values |= {GRID: lambda: 0.25 * rng.randrange(5), SWITCH: lambda: rng.choice(SWITCH.choices)}
    return {name: values[distribution]() for name, distribution in SPACE.items()}


def add(study: optuna.Study, outcome: str, value: float | None, rng: random.Random) -> None:
    """A trial of that outcome at a random point, as the objective would leave it."""
    state = {REFUSED: TrialState.PRUNED, STOPPED: TrialState.PRUNED, DIVERGED: TrialState.FAIL}
    study.add_trial(
        create_trial(
            state=state.get(outcome, TrialState.COMPLETE),
            value=value if outcome in (FINISHED, REPEATED) else None,
            intermediate_values={1: value} if outcome == STOPPED and value is not None else {},
            params=drawn(rng),
            distributions=SPACE,
            user_attrs={"outcome": outcome},
        )
    )


@pytest.fixture(scope="module")
def explored() -> optuna.Study:
    """25 finished trials, the better the earlier, among others that promise more."""
    study = optuna.create_study(direction="maximize")
    rng = random.Random(0)
    for number in range(25):
        add(study, FINISHED, 0.99 - number / 1000, rng)
        for outcome in (REFUSED, STOPPED, DIVERGED, REPEATED):
            add(study, outcome, 0.999, rng)
    study.ask()  # the one to propose for
    return study


def proposals(study: optuna.Study, n: int, **settings: Any) -> list[dict[str, Any]]:
    """What samplers of n seeds propose next."""
    trial = study.trials[-1]
    return [EvolveSampler(seed, **settings).sample_relative(study, trial, SPACE) for seed in range(n)]


def differing(point: dict[str, Any], trial: FrozenTrial) -> list[str]:
    return [name for name in SPACE if point[name] != trial.params[name]]


# --- every sampler --------------------------------------------------------------------------------------------------


def seen(study: optuna.Study) -> dict[int, tuple]:
    """Every decided proposal by its index."""
    return {
        trial.user_attrs["index"]: (trial.state, trial.value, trial.params, trial.user_attrs["seed"])
        for trial in study.trials
        if "outcome" in trial.user_attrs
    }


class SmallStart:
    """Of the points that `test_study.objective` asks for, those of which `n` is at most 5 fit."""

    def ask(self, trial: SuggestsValues) -> None:
        trial.suggest_float("x", 0, 1)
        trial.suggest_int("n", 1, 100, log=True)

    def point(self, first: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        return first if first["n"] <= 5 else {"x": rng.random(), "n": rng.randint(1, 5)}


STARTS = [pytest.param(None, id="no start"), pytest.param(SmallStart(), id="start")]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(sampler, start):
    whole = memory_study(sampler, start=start)
    run_trials(whole, objective, 0, StopRule(40))
    broken = memory_study(sampler, start=start)
    interrupt_at = iter([3, 4, 11, 25, 34, 38])
    next_interrupt = next(interrupt_at)

    def interrupted(trial: optuna.Trial) -> float:
        nonlocal next_interrupt
        if trial.user_attrs["index"] == next_interrupt and "retry_of" not in trial.user_attrs:
            next_interrupt = next(interrupt_at, -1)
            trial.suggest_float("x", 0, 1)
            if next_interrupt == 38:  # once after all suggestions
                trial.suggest_int("n", 1, 100, log=True)
            raise KeyboardInterrupt
        return objective(trial)

    for _ in range(7):
        requeue_abandoned(broken, running_are_abandoned=True)
        try:
            # A new sampler each time, as a new process would have.
            broken.sampler = make_sampler(sampler, 0, start)
            run_trials(broken, interrupted, 0, StopRule(40))
        except KeyboardInterrupt:
            continue
    assert sum(trial.state == TrialState.FAIL for trial in broken.trials) == 6
    assert seen(broken) == seen(whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_seed_is_another_study(sampler):
    studies = [memory_study(sampler, seed) for seed in (0, 1)]
    for seed, study in enumerate(studies):
        run_trials(study, objective, seed, StopRule(5))
    assert seen(studies[0]) != seen(studies[1])
    points = [{trial.params["x"] for trial in study.trials} for study in studies]
    assert not points[0] & points[1]


def test_proposals_and_seeds_do_not_repeat():
    study = memory_study("random")
    run_trials(study, objective, 0, StopRule(40))
    assert len({trial.params["x"] for trial in study.trials}) == len(study.trials)
    assert len({trial.user_attrs["seed"] for trial in study.trials}) == len(study.trials)


# --- the start ------------------------------------------------------------------------------------------------------


def points_of(study: optuna.Study, n: int) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials[:n]]


@pytest.mark.parametrize("sampler", ["tpe", "evolve"])
def test_the_first_proposals_fit_until_ten_trials_did(sampler):
    study = memory_study(sampler, start=SmallStart())
    # What is queued is not touched, and counts where it fits.
    queued = [30, *range(60, 69)]
    for n in queued:
        study.enqueue_trial({"x": 0.5, "n": n})
    run_trials(study, objective, 0, StopRule(40))
    assert [trial.params["n"] for trial in study.trials[:10]] == queued
    assert [trial.user_attrs["outcome"] for trial in study.trials[:10]] == [FINISHED, *[REFUSED] * 9]
    assert all(trial.params["n"] <= 5 for trial in study.trials[10:19])
    assert any(trial.params["n"] > 5 for trial in study.trials[19:])


def test_what_was_refused_for_its_latency_was_within_what_a_start_knows():
    study = memory_study()
    for outcome, attrs in ((FINISHED, {}), (REFUSED, {}), (REFUSED, {"latency_ms": 3.0}), (STOPPED, {})):
        study.add_trial(create_trial(value=0.5, user_attrs={"outcome": outcome, **attrs}))
    assert n_within(study.trials) == 3


def test_a_start_takes_the_draws_of_random_search_where_they_fit():
    by_random, started = memory_study("random"), memory_study(start=SmallStart())
    for study in (by_random, started):
        run_trials(study, objective, 0, StopRule(10))
    pairs = list(zip(points_of(by_random, 10), points_of(started, 10), strict=True))
    assert [theirs == ours for theirs, ours in pairs] == [theirs["n"] <= 5 for theirs, _ in pairs]
    assert 0 < sum(theirs == ours for theirs, ours in pairs) < 10


def test_the_control_knows_nothing_of_what_fits():
    studies = [memory_study("random", start=start) for start in (None, SmallStart())]
    for study in studies:
        run_trials(study, objective, 0, StopRule(20))
    assert seen(studies[0]) == seen(studies[1])


# --- evolve ---------------------------------------------------------------------------------------------------------


def test_evolve_explores_as_tpe_does():
    first = {}
    for sampler in ("tpe", "evolve"):
        study = memory_study(sampler)
        run_trials(study, objective, 0, StopRule(30))
        first[sampler] = [trial.params for trial in study.trials]
        finished = [trial.number for trial in study.trials if trial.user_attrs["outcome"] == FINISHED]
        n_explored = finished[N_START - 1] + 1
    assert first["evolve"][:n_explored] == first["tpe"][:n_explored]
    changed = slice(n_explored, n_explored + 4)
    assert first["evolve"][changed] != first["tpe"][changed]


def test_a_mutation_changes_few_values_of_one_of_the_best_finished_trials(explored):
    points = proposals(explored, 400, tpe_share=0.0)
    trials = explored.trials[:-1]
    parents: Counter[int] = Counter()
    n_changes = []
    for point in points:
        nearest = min(trials, key=lambda trial: len(differing(point, trial)))
        parents[nearest.number // 5] += 1
        n_changes.append(len(differing(point, nearest)))
        assert nearest.user_attrs["outcome"] == FINISHED
    assert all(
        distribution._contains(distribution.to_internal_repr(p[n])) for p in points for n, distribution in SPACE.items()
    )
    assert set(parents) == set(range(8))
    assert [rank for rank, _ in parents.most_common(2)] == [0, 1]
    assert 0.15 < parents[0] / 400 < 0.32
    assert min(n_changes) == 1
    assert max(n_changes) <= 10
    assert sum(n_changes) / 400 == pytest.approx(3, abs=0.2)


def test_every_value_is_changed_sooner_or_later(explored):
    best = best_finished(explored.trials)[0]
    points = proposals(explored, 400, tpe_share=0.0, n_parents=1)
    assert {name for point in points for name in differing(point, best)} == set(SPACE)


def test_only_finished_trials_are_parents_best_first(explored):
    parents = best_finished(explored.trials)
    assert [trial.number for trial in parents] == list(range(0, 125, 5))


def test_a_quarter_of_the_later_proposals_is_tpe_s(explored):
    points = proposals(explored, 200)
    trials = explored.trials[:-1]
    far = [point for point in points if min(len(differing(point, trial)) for trial in trials) > 12]
    assert 0.15 < len(far) / 200 < 0.35


def test_too_few_trained_trials_are_no_parents(explored):
    n = n_trained(explored.trials)
    assert proposals(explored, 5, n_explore=n + 1) == proposals(explored, 5, tpe_share=1.0)
    assert proposals(explored, 5, n_explore=n, tpe_share=0.0) != proposals(explored, 5, tpe_share=1.0)


def test_no_point_is_proposed_again_until_all_are_used_up():
    study = memory_study()
    study.sampler = EvolveSampler(0, n_explore=2, tpe_share=0.0)
    for point in ("a", "b"):
        study.enqueue_trial({"x": point})

    def small(trial: optuna.Trial) -> float:
        trial.set_user_attr("outcome", REFUSED if trial.number % 3 == 2 else FINISHED)
        x = trial.suggest_categorical("x", tuple("abcdefghijkl"))
        if trial.number % 3 == 2:
            raise optuna.TrialPruned
        return ord(x)

    study.optimize(small, n_trials=12)
    assert len({trial.params["x"] for trial in study.trials}) == 12
    study.optimize(small, n_trials=2)
    assert len(study.trials) == 14


def test_evolve_finds_more_than_random_search():
    def smooth(trial: optuna.Trial) -> float:
        trial.set_user_attr("outcome", FINISHED)
        return -sum((trial.suggest_float(f"{i}", 0, 1) - 0.3) ** 2 for i in range(12))

    best: dict[str, list[float]] = {"random": [], "evolve": []}
    for sampler, values in best.items():
        for seed in range(3):
            study = memory_study(sampler, seed)
            run_trials(study, smooth, seed, StopRule(60))
            values.append(study.best_value)
    assert min(best["evolve"]) > max(best["random"])


# --- steps ----------------------------------------------------------------------------------------------------------


def walk(distribution: BaseDistribution, start: Any, n: int = 3000) -> Iterator[Any]:
    """A value moved again and again."""
    rng = random.Random(0)
    value = start
    for _ in range(n):
        value = mutate_value(value, distribution, rng)
        yield value


@pytest.mark.parametrize(
    ("distribution", "start"),
    [(WIDTH, 12), (DEPTH, 2), (LR, 0.3), (ROTATION, 7.0), (GRID, 0.5), (IntDistribution(0, 100, step=10), 50)],
)
def test_steps_stay_in_the_range_and_reach_both_ends(distribution, start):
    steps = list(walk(distribution, start))
    assert min(steps) == distribution.low
    assert max(steps) == distribution.high
    assert all(old != new for old, new in zip([start, *steps], steps, strict=False))
    assert {type(value) for value in steps} == {type(start)}
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in steps)


def test_choices_switch_to_every_other_one():
    rng = random.Random(0)
    assert {mutate_value("conv", KIND, rng) for _ in range(50)} == {"separable", "residual"}
    assert mutate_value(False, SWITCH, rng) is True


@pytest.mark.parametrize(
    ("distribution", "start", "low", "high"),
    # Nine of ten steps end between low and high.
    [(WIDTH, 16, 13, 20), (WIDTH, 3, 4, 4), (DEPTH, 2, 1, 3), (LR, 0.15, 0.06, 0.36), (ROTATION, 7.0, 3.5, 10.5)],
)
def test_steps_are_small(distribution, start, low, high):
    rng = random.Random(0)
    steps = [mutate_value(start, distribution, rng) for _ in range(500)]
    assert sum(low <= value <= high for value in steps) >= 450
    assert len(set(steps)) > 1 or low == high
