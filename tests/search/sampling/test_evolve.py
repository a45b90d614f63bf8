"""Children of the best trials: whose they are, what they change, and that they fit."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.sampling.evolve import EvolveSampler, NoLimits, is_better, mutate_value, trained_points
from search.search_space.buildable import is_of_recipe
from search.study.loop import StopRule, run_trials
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED
from tests.search.study.test_study import memory_study

WIDTH = IntDistribution(3, 32, log=True)
DEPTH = IntDistribution(1, 4)
LR = FloatDistribution(0.02, 1.0, log=True)
ROTATION = FloatDistribution(0.0, 15.0)
KIND = CategoricalDistribution(("conv", "separable", "residual"))
GRID = FloatDistribution(0.0, 1.0, step=0.25)
SWITCH = CategoricalDistribution((False, True))
KINDS: list[BaseDistribution] = [WIDTH, DEPTH, LR, ROTATION, KIND, GRID, SWITCH]

# Dimensions of every kind, as many as a real search has, of which four are of the recipe.
RECIPE: dict[str, BaseDistribution] = {"sgd.lr": LR, "rotation": ROTATION, "shift": ROTATION, "shear": ROTATION}
SPACE: dict[str, BaseDistribution] = {f"{i:02}": KINDS[i % len(KINDS)] for i in range(42)} | RECIPE


def drawn(rng: random.Random) -> dict[str, Any]:
    """A random point of SPACE."""
    values = {WIDTH: lambda: rng.randint(3, 32), DEPTH: lambda: rng.randint(1, 4), LR: lambda: rng.uniform(0.02, 1.0)}
    values |= {ROTATION: lambda: rng.uniform(0, 15), KIND: lambda: rng.choice(KIND.choices)}
    values |= {GRID: lambda: 0.25 * rng.randrange(5), SWITCH: lambda: rng.choice(SWITCH.choices)}
    return {name: values[distribution]() for name, distribution in SPACE.items()}


def trial_of(outcome: str, values: list[float], rng: random.Random) -> FrozenTrial:
    """A trial of that outcome at a random point with a value after each epoch, as the objective would leave it."""
    state = {REFUSED: TrialState.PRUNED, STOPPED: TrialState.PRUNED, DIVERGED: TrialState.FAIL}
    return create_trial(
        state=state.get(outcome, TrialState.COMPLETE),
        value=values[-1] if outcome in (FINISHED, REPEATED) else None,
        intermediate_values=dict(enumerate(values, start=1)) if outcome in (FINISHED, STOPPED) else {},
        params=drawn(rng),
        distributions=SPACE,
        user_attrs={"outcome": outcome},
    )


@pytest.fixture(scope="module")
def explored() -> optuna.Study:
    """20 trained trials, the better the earlier, of which every other one was stopped, among untrained ones."""
    study = optuna.create_study(direction="maximize")
    rng = random.Random(0)
    for number in range(20):
        value = 0.99 - number / 1000
        study.add_trial(trial_of(FINISHED, [value, value], rng) if number % 2 else trial_of(STOPPED, [value], rng))
        for outcome in (REFUSED, DIVERGED, REPEATED):
            study.add_trial(trial_of(outcome, [0.999], rng))
    study.ask()  # the one to propose for
    return study


def proposals(study: optuna.Study, n: int, **settings: Any) -> list[dict[str, Any]]:
    """What samplers of n seeds propose next."""
    trial = study.trials[-1]
    return [EvolveSampler(seed, **settings).sample_relative(study, trial, SPACE) for seed in range(n)]


def differing(point: dict[str, Any], trial: FrozenTrial) -> list[str]:
    return [name for name in SPACE if point[name] != trial.params[name]]


def nearest(point: dict[str, Any], study: optuna.Study) -> FrozenTrial:
    return min(study.trials[:-1], key=lambda trial: len(differing(point, trial)))


# --- parents --------------------------------------------------------------------------------------------------------


def test_parents_are_the_trained_trials_and_of_these_the_better_ones_more_often(explored: optuna.Study) -> None:
    parents = Counter(nearest(point, explored).number for point in proposals(explored, 400, crossover_share=0.0))
    trained = [trial.number for trial in trained_points(explored.trials)]
    assert len(trained) == 20
    assert set(parents) <= set(trained)
    by_rank = [parents[number] for number in trained]
    # Four of twenty compete: the best one is among them, and wins, in one case of five.
    assert by_rank[0] / 400 == pytest.approx(0.2, abs=0.06)
    assert by_rank[0] > by_rank[5] > by_rank[10]
    assert sum(by_rank[:10]) > 0.9 * 400


def test_all_compete_where_all_are_drawn(explored: optuna.Study) -> None:
    best = trained_points(explored.trials)[0]
    assert {nearest(p, explored).number for p in proposals(explored, 20, tournament_share=1.0)} == {best.number}


@pytest.mark.parametrize(
    ("values", "others", "wins"),
    [
        pytest.param([0.5, 0.6], [0.4, 0.7], False, id="at the last epoch"),
        pytest.param([0.5], [0.4, 0.9], True, id="where it was stopped"),
        pytest.param([0.3, 0.9], [0.4], False, id="where the other was stopped"),
        pytest.param([0.5], [0.5], False, id="equal"),
    ],
)
def test_trials_are_compared_at_the_last_epoch_that_both_have(
    values: list[float], others: list[float], wins: bool
) -> None:
    rng = random.Random(0)
    trial, other = (trial_of(FINISHED, one, rng) for one in (values, others))
    assert is_better(trial, other) is wins


def test_there_is_no_child_of_too_few_parents(explored: optuna.Study) -> None:
    assert proposals(explored, 3, n_explore=21) == [{}, {}, {}]
    assert {} not in proposals(explored, 3, n_explore=20)


# --- children -------------------------------------------------------------------------------------------------------


def test_a_child_changes_few_values_of_its_parent(explored: optuna.Study) -> None:
    points = proposals(explored, 400, crossover_share=0.0)
    n_changes = [len(differing(point, nearest(point, explored))) for point in points]
    assert all(
        distribution._contains(distribution.to_internal_repr(p[n])) for p in points for n, distribution in SPACE.items()
    )
    assert min(n_changes) == 1
    assert max(n_changes) <= 10
    assert sum(n_changes) / 400 == pytest.approx(3, abs=0.25)


def test_every_value_is_changed_sooner_or_later(explored: optuna.Study) -> None:
    best = trained_points(explored.trials)[0]
    points = proposals(explored, 400, tournament_share=1.0, crossover_share=0.0)
    assert {name for point in points for name in differing(point, best)} == set(SPACE)


def test_a_child_of_two_has_the_recipe_of_the_second_one(explored: optuna.Study) -> None:
    points = proposals(explored, 100, crossover_share=1.0, mean_changes=1.0)
    parents = trained_points(explored.trials)
    n_crossed = 0
    for point in points:
        network = [trial for trial in parents if all(point[n] == trial.params[n] for n in SPACE if not is_of_recipe(n))]
        recipe = [trial for trial in parents if all(point[name] == trial.params[name] for name in RECIPE)]
        n_crossed += len(network) == len(recipe) == 1 and network != recipe
    assert n_crossed > 60  # otherwise both are one parent, of which a value is changed


class EvenWidths(NoLimits):
    """A point fits if the sum of its widths is at most `most`, and only widths and depths act."""

    most = 100
    acting_names = frozenset(name for name, distribution in SPACE.items() if distribution in (WIDTH, DEPTH))

    def key(self, point: dict[str, Any]) -> str | None:
        acting = {name: point[name] for name in self.acting_names}
        return super().key(acting) if self.total(point) <= self.most else None

    def acting(self, _point: dict[str, Any], /) -> set[str]:
        return set(self.acting_names)

    def fitted(self, point: dict[str, Any], kept: set[str]) -> dict[str, Any]:
        point = dict(point)
        for name in sorted(self.acting_names - kept):
            if SPACE[name] == WIDTH and self.total(point) > self.most:
                point[name] = 3
        return point

    def total(self, point: dict[str, Any]) -> int:
        return sum(point[name] for name, distribution in SPACE.items() if distribution == WIDTH)


def test_children_fit_and_only_values_that_act_are_changed(explored: optuna.Study) -> None:
    limits = EvenWidths()
    points = proposals(explored, 100, limits=limits, crossover_share=0.0)
    assert {} not in points
    assert all(limits.key(point) for point in points)
    assert {n for point in points for n in differing(point, nearest(point, explored))} <= limits.acting_names


def test_children_of_parents_that_do_not_fit_are_narrowed(explored: optuna.Study) -> None:
    limits = EvenWidths()
    limits.most = 20
    assert not any(limits.key(trial.params) for trial in trained_points(explored.trials))
    assert all(point and limits.key(point) for point in proposals(explored, 30, limits=limits))


def test_children_that_narrowing_does_not_help_are_drawn_again() -> None:
    class Stubborn(EvenWidths):
        def fitted(self, point: dict[str, Any], _kept: set[str], /) -> dict[str, Any]:
            return point

    limits, study = Stubborn(), optuna.create_study(direction="maximize")
    for number in range(10):
        trial = trial_of(FINISHED, [number / 10], random.Random(number))
        trial.params = trial.params | {name: 16 for name, distribution in SPACE.items() if distribution == WIDTH}
        study.add_trial(trial)
    study.ask()
    limits.most = limits.total(study.trials[0].params)  # every trial fits, and none with a wider layer does
    assert all(point and limits.key(point) for point in proposals(study, 40, limits=limits))


def test_no_candidate_is_proposed_again_until_all_are_used_up() -> None:
    class EveryOther(NoLimits):
        """x and X are one candidate."""

        def key(self, point: dict[str, Any]) -> str | None:
            return str(point["x"]).lower()

    study = memory_study()
    study.sampler = EvolveSampler(0, EveryOther(), n_explore=2)
    for point in ("a", "b"):
        study.enqueue_trial({"x": point})

    def small(trial: optuna.Trial) -> float:
        trial.set_user_attr("outcome", FINISHED)
        return ord(trial.suggest_categorical("x", tuple("abcdefABCDEF")).lower())

    study.optimize(small, n_trials=6)
    assert {trial.params["x"].lower() for trial in study.trials} == set("abcdef")
    study.optimize(small, n_trials=2)
    assert len(study.trials) == 8


def test_evolve_finds_more_than_random_search() -> None:
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
