"""The points that a search begins with: within the limits and the ranges, drawn as random search draws where it can."""

from __future__ import annotations

import pickle
import random
from typing import Any

import optuna
import pytest

import space
from models.cost import compute_cost
from objective import Objective
from search.config import SAMPLERS, DataConfig, SearchConfig
from search.limits import worst_excess
from search.report.architecture import architecture_line
from search.sampling import feasible_start
from search.sampling.feasible_start import FeasibleStart
from search.sampling.samplers import make_sampler
from search.search_space.buildable import widest
from search.search_space.dimensions import FloatRange
from search.study.loop import StopRule, run_trials
from tests.test_objective import fake_train as fake_train  # a fixture

LIMITS = [
    {"max_params": 105},  # the smallest network there is
    {"max_params": 300},
    {"max_params": 700},
    {"max_params": 100_000, "max_macs": 25_000},
    {"max_params": 100_000, "max_memory": 12_000},
    {"max_params": 300, "max_weights_bytes": 300, "bytes_in": "int8"},
    # Against each other.
    {"max_params": 400, "max_macs": 60_000, "min_rf": 25},
    {"max_params": 100_000, "min_rf": 130},
]


def config(**limits: Any) -> SearchConfig:
    return SearchConfig(DataConfig("mnist", "unused"), **limits)


def excess(params: space.Params, config: SearchConfig) -> float:
    return worst_excess(compute_cost(space.assemble(params).arch), config)


def points(start: FeasibleStart, n: int) -> list[space.Params]:
    generators = [random.Random(seed) for seed in range(n)]
    return [start.point(space.sample(rng), rng) for rng in generators]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_every_point_is_within_every_limit_and_range(limits: dict[str, Any]) -> None:
    found = points(FeasibleStart(config(**limits)), 6)
    assert max(excess(point, config(**limits)) for point in found) <= 0
    for point in found:
        assert list(point) == [dimension.name for dimension in space.DIMENSIONS]
        assert all(dimension.holds(point[dimension.name]) for dimension in space.DIMENSIONS)
        assert {name: type(value) for name, value in point.items()} == {
            name: type(value) for name, value in space.DEFAULTS.items()
        }


def test_a_point_that_fits_is_kept_and_another_is_the_next_draw_that_fits() -> None:
    start = FeasibleStart(config(max_params=8000))
    draws = [space.sample(rng) for rng in [random.Random(0)] for _ in range(30)]
    fitting = [point for point in draws if start.fits(point)]
    large = next(point for point in draws if not start.fits(point))
    assert start.point(fitting[0], random.Random(0)) == fitting[0]
    assert start.point(large, random.Random(0)) == fitting[0]


def test_points_that_were_pulled_are_many_and_fill_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible_start, "N_DRAWS", 1)
    start = FeasibleStart(config(max_params=2000))
    found = points(start, 40)
    networks = {architecture_line(space.assemble(point).arch) for point in found}
    assert len(networks) == 40
    assert max(excess(point, config(max_params=2000)) for point in found) <= 0
    sizes = sorted(compute_cost(space.assemble(point).arch).n_params for point in found)
    assert sizes[20] > 1000
    # The recipe is as drawn.
    assert len({point["sgd.lr"] for point in found}) == 40
    assert {point["batch_size"] for point in found} == {32, 64, 128}


def test_points_depend_on_the_generator_alone() -> None:
    assert points(FeasibleStart(config(max_params=300)), 3) == points(FeasibleStart(config(max_params=300)), 3)


def test_where_nothing_fits_the_first_draw_is_left_to_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.sampling.feasible_start.nearest_point", lambda _config: space.DEFAULTS)
    first = space.sample(random.Random(0))
    assert FeasibleStart(config(max_params=50)).point(first, random.Random(0)) == first


def test_a_start_travels_to_a_worker_process() -> None:
    start = pickle.loads(pickle.dumps(FeasibleStart(config(max_params=300))))
    assert points(start, 1) == points(FeasibleStart(config(max_params=300)), 1)


@pytest.mark.usefixtures("fake_train")
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("end", ["low", "high"])
def test_numbers_fixed_on_an_end_of_the_buildable_range_stay_as_they_are(end: str, sampler: str) -> None:
    # The logarithm of 100 leads back to 100.00000000000004, which is no learning rate.
    ends = {
        dimension.name: getattr(widest(dimension.name), end)
        for dimension in space.DIMENSIONS
        if isinstance(dimension, FloatRange)
    }
    dimensions = tuple(f"{name} = {value}" for name, value in ends.items())
    config = SearchConfig(DataConfig("digits", "unused"), 8000, epochs=3, sampler=sampler, dimensions=dimensions)
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 0, FeasibleStart(config)))
    run_trials(study, Objective(config), 0, StopRule(12))
    assert {name: study.trials[0].params[name] for name in ends} == ends
    assert all(trial.params == {**trial.params, **ends} for trial in study.trials)


def test_a_point_over_the_budget_is_narrowed_until_it_fits_and_keeps_what_it_is_told_to() -> None:
    start = FeasibleStart(config(max_params=8000))
    point = space.DEFAULTS | {f"stages.{stage}.width.{conv}": 40 for stage in (1, 2, 3) for conv in (1, 2)}
    kept = {"stages.1.width.1"}
    narrowed = start.fitted(point, kept)
    changed = {name for name in point if narrowed[name] != point[name]}
    assert excess(point, config(max_params=8000)) > 0 >= excess(narrowed, config(max_params=8000))
    assert compute_cost(space.assemble(narrowed).arch).n_params > 6000  # not narrower than it has to be
    assert "stages.2.width.1" in changed
    assert "stages.1.width.1" not in changed
    assert all("width" in name for name in changed)
    assert start.fitted(narrowed, set()) == narrowed


def test_a_point_has_a_key_if_it_fits_and_another_one_for_every_value_that_acts() -> None:
    start = FeasibleStart(config(max_params=8000))
    fitting, large = space.DEFAULTS, space.DEFAULTS | {"stages.1.kernel": 7, "stages.1.width.1": 64}
    assert start.key(large) is None
    assert start.key(fitting)
    assert start.key(fitting) == start.key(fitting | {"stages.1.width.6": 5})
    assert start.key(fitting) != start.key(fitting | {"rotation": 3.0})
    acting = start.acting(fitting)
    assert {"stages.1.width.1", "rotation"} <= acting
    assert not {"stages.1.width.6", "soap.lr"} & acting
