"""How much of the space fits, held against counting by other means."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import space
from models.cost import Cost, compute_cost
from models.spec import ArchSpec
from search.config import DataConfig, SearchConfig
from search.limits import worst_excess
from search.sampling import feasibility
from search.sampling.feasibility import (
    Feasibility,
    NothingFitsError,
    check_latency,
    check_something_fits,
    feasibility_report,
    nearest_point,
    survey,
)
from search.sampling.feasible_start import FeasibleStart
from search.search_space.dimensions import Choice, Dimension, IntRange
from search.search_space.space import Space
from space import space_of

CONFIG = SearchConfig(DataConfig("mnist", "data"), max_params=8000)
DRAWN = [space.sample(rng) for rng in [random.Random(5)] for _ in range(200)]


def cost(params: Mapping[str, Any]) -> Cost:
    return compute_cost(space.assemble(params).arch)


# --- share and smallest ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_params": 1},
        {"max_params": 10**9},
        {"max_macs": 200_000},
        {"max_memory": 30_000},
        {"max_params": 20_000, "max_macs": 500_000, "max_memory": 60_000},
    ],
    ids=str,
)
def test_share_of_random_candidates_that_fit(limits: dict[str, Any]) -> None:
    config = replace(CONFIG, **limits)
    fitting = [
        one
        for one in map(cost, DRAWN)
        if one.n_params <= config.max_params
        and one.macs <= (config.max_macs or 10**12)
        and one.peak_activation_bytes <= (config.max_memory or 10**12)
    ]
    found = survey(config, n_draws=len(DRAWN), seed=5)
    assert (found.n_drawn, found.n_fitting) == (200, len(fitting))
    assert found.share == len(fitting) / 200


def test_a_network_at_the_limit_fits() -> None:
    largest = max(cost(params).n_params for params in DRAWN)
    assert survey(replace(CONFIG, max_params=largest), n_draws=200, seed=5).share == 1.0
    assert survey(replace(CONFIG, max_params=largest - 1), n_draws=200, seed=5).share < 1.0


def test_the_smallest_network_is_no_larger_than_any_drawn() -> None:
    smallest = survey(CONFIG, n_draws=200, seed=5).smallest
    assert smallest <= min(cost(params).n_params for params in DRAWN)
    # Nor does the limit or another start change much of what the descent ends at.
    others = {survey(replace(CONFIG, max_params=1), n_draws=20, seed=seed).smallest for seed in range(8)}
    assert others <= {smallest, smallest - 1}


def test_the_smallest_network_by_hand() -> None:
    # Two stages of one convolution of width 3, plain and separable, the head conv_gap, no hidden layer:
    # 27 and 3 of batch norm that only adds; 27 + 9 and 3; 3 * 10
    by_hand = 27 + 3 + 27 + 9 + 3 + 30
    assert survey(CONFIG, n_draws=20).smallest == by_hand


def test_a_survey_repeats_itself() -> None:
    assert survey(CONFIG, n_draws=50, seed=1) == survey(CONFIG, n_draws=50, seed=1)
    assert survey(CONFIG, n_draws=50, seed=1) != survey(CONFIG, n_draws=50, seed=2)


# --- the nearest point ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        ({"max_params": 99}, True),
        ({"max_params": 98}, False),
        ({"max_params": 8000, "max_macs": 40_000, "min_rf": 60}, True),
        # A field of 25 pixels takes several large kernels behind the pool.
        ({"max_params": 350, "max_macs": 35_000, "min_rf": 25}, True),
        # The image and the smallest map after it, three of 22 x 22 behind a kernel of 7 x 7, are 8,944 bytes.
        ({"max_params": 8000, "max_memory": 8_944}, True),
        ({"max_params": 8000, "max_memory": 8_943}, False),
    ],
    ids=str,
)
def test_the_nearest_point_fits_where_one_does(limits: dict[str, Any], fits: bool) -> None:
    config = replace(CONFIG, **limits)
    nearest = nearest_point(config, n_climbs=2 if fits else 1)
    assert (worst_excess(cost(nearest), config) <= 0) == fits
    assert all(dimension.holds(nearest[dimension.name]) for dimension in space.DIMENSIONS)


def test_the_nearest_point_lies_well_within_the_limit() -> None:
    assert worst_excess(cost(nearest_point(CONFIG)), CONFIG) < -0.9


def test_a_changed_space_is_surveyed_and_searched_within_its_ranges() -> None:
    wide = replace(
        CONFIG, dimensions=('stages.1.kind = "conv"', "stages.1.width.1 = 48", "stages.2.width.1 = [40, 41]")
    )
    assert survey(wide, n_draws=50).smallest > 9 * 48
    for config in (wide, replace(wide, max_params=900)):  # which nothing in it fits
        nearest = nearest_point(config, n_climbs=1, n_steps=500)
        assert space_of(config).holds(nearest)
    point = FeasibleStart(replace(wide, max_params=1500)).point(dict(DRAWN[0]), random.Random(0))
    assert space_of(wide).holds(point)


def test_where_nothing_fits_the_nearest_network_is_named() -> None:
    with pytest.raises(NothingFitsError) as caught:
        check_something_fits(replace(CONFIG, max_params=98))
    assert str(caught.value) == (
        "nothing in the space fits the budget of 98 parameters: the nearest network found has 99 parameters, "
        "1 over the budget of 98; raise the limit or widen the space"
    )
    check_something_fits(replace(CONFIG, max_params=99))


# --- what costs most ------------------------------------------------------------------------------------------------

HEAD = Choice("head.kind", ("gap_linear", "conv"), "gap_linear")
WIDTH = IntRange("stages.1.width.1", 3, 32, 12, log=True)
# Without effect: the default point has two stages.
INACTIVE = IntRange("stages.3.depth", 1, 2, 1)
INACTIVE_CHOICE = Choice("stages.3.kind", ("conv", "separable"), "conv")


def survey_of(monkeypatch: pytest.MonkeyPatch, *dimensions: Dimension) -> Feasibility:
    """A survey of these dimensions alone, the others being at their defaults."""

    def assemble(params: Mapping[str, Any], *data: Any) -> space.Candidate:
        return space.assemble(space.DEFAULTS | dict(params), *data)

    monkeypatch.setattr(feasibility, "space_of", lambda _config: Space(dimensions))
    monkeypatch.setattr(feasibility, "assemble", assemble)
    return survey(CONFIG, n_draws=3000)


def test_effect_of_a_choice_is_the_difference_of_its_means(monkeypatch: pytest.MonkeyPatch) -> None:
    # A kernel over the last map, 12 channels of 8x8, for each of 10 classes, instead of 12 weights and a bias.
    assert survey_of(monkeypatch, HEAD).costliest == (("head.kind", 12 * 8 * 8 * 10 - 13 * 10),)


def test_effect_of_a_range_is_between_its_lowest_and_highest_third(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each unit of width costs 9 weights in and 9 * 12 out, and 2 of batch norm. In a log range the lowest third of
    # 3 to 32 is 3 to 5, the highest 14 to 32; means about 4.2 and 22.
    ((name, effect),) = survey_of(monkeypatch, WIDTH).costliest
    assert name == "stages.1.width.1"
    assert effect / (9 + 9 * 12 + 2) == pytest.approx(22 - 4.2, rel=0.1)


def test_the_costliest_dimensions_come_first_and_inactive_ones_last(monkeypatch: pytest.MonkeyPatch) -> None:
    found = survey_of(monkeypatch, INACTIVE, WIDTH, INACTIVE_CHOICE, HEAD).costliest
    assert [name for name, _ in found[:2]] == ["head.kind", "stages.1.width.1"]
    assert len(found) == 3
    # What is left is chance: a few hundredths of the largest effect.
    assert found[2][1] < 0.1 * found[0][1]


# --- latency --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "is_refused"), [(None, False), (0.001, True), (0.14, True), (0.16, False)])
def test_a_latency_that_no_network_can_have_is_refused_before_the_search(
    monkeypatch: pytest.MonkeyPatch, limit: float | None, is_refused: bool
) -> None:
    measured: list[ArchSpec] = []
    monkeypatch.setattr(feasibility, "measure_latency", lambda arch: measured.append(arch) or 0.3)
    config = replace(CONFIG, max_latency=limit)
    if not is_refused:
        check_latency(config)
    else:
        with pytest.raises(NothingFitsError, match="fastest network found"):
            check_latency(config)
    assert bool(measured) == (limit is not None)
    # A network of few layers that is within the budget.
    assert all(compute_cost(arch).n_params <= CONFIG.max_params for arch in measured[:1])
    assert all(len(compute_cost(arch).layers) <= 6 for arch in measured[:1])


# --- in words -------------------------------------------------------------------------------------------------------


def test_report() -> None:
    found = Feasibility(2000, 1297, 90, (("head.kind", 11024), ("stages", 7505)), 1_336_941.0)
    assert feasibility_report(found).splitlines() == [
        "share of the space that fits  1,297 of 2,000 random candidates",
        "smallest network found        90 parameters",
        "dimensions that cost most     head.kind (up to 11,024), stages (up to 7,505) parameters",
    ]
