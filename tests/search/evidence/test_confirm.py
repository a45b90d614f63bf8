"""Choosing the winner by trainings from fresh seeds: what is trained, who wins; and what noise there is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from search.config import ConfirmConfig, SearchConfig
from search.evidence.confirm import ConfirmPlan, choose, choosing, make_plan, measuring, noise_floor, reporting
from search.evidence.repeats import CHOOSE, NOISE, REPORT, RepeatResult
from search.evidence.statistics import estimate
from search.study.seeds import derived_seed
from search.study.trials import ranked
from tests.search.made_up_confirmations import FIRST, LONE, PLAN, RECORDS, SD, VAL, first_round
from tests.search.made_up_trials import CONFIG, made_up_results

# What is trained


@pytest.mark.parametrize(("top", "candidates"), [(1, (2,)), (3, (2, 4, 1)), (50, (2, 4, 1, 0, 5))])
def test_the_plan_takes_the_best_estimates_and_the_best_hand_designed_network(
    top: int, candidates: tuple[int, ...]
) -> None:
    plan = make_plan(ranked(RECORDS), ConfirmConfig(top, 4), SD)
    assert (plan.candidates, plan.baseline, plan.n_seeds) == (candidates, 1, 4)
    assert list(plan.estimates) == sorted(plan.estimates, reverse=True)
    assert ConfirmPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_the_best_hand_designed_network_is_best_by_its_own_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """What similar trials let expect of it is of networks that are hardly similar."""
    likes_the_worse = {0: 0.9951, 1: 0.9945, 2: 0.9950, 4: 0.9949, 5: 0.9930}
    monkeypatch.setattr("search.evidence.confirm.shrunken", lambda *_: likes_the_worse)
    plan = make_plan(ranked(RECORDS), ConfirmConfig(2, 4), SD)
    assert (plan.candidates, plan.baseline) == ((0, 2), 1)


def test_estimates_are_drawn_to_the_mean_and_the_plan_keeps_them() -> None:
    plan = make_plan(ranked(RECORDS), ConfirmConfig(5, 1), SD)
    assert 0.9947 < plan.estimates[0] < 0.9960
    assert 0.9930 < plan.estimates[-1] < 0.9947


def test_where_all_is_noise_the_better_values_go_first() -> None:
    plan = make_plan(ranked(RECORDS), ConfirmConfig(3, 1), sd=1.0)
    assert plan.candidates == (2, 4, 1)
    assert plan.estimates == (pytest.approx(0.9947),) * 3
    assert plan.baseline == 1


def test_a_study_without_hand_designed_networks_has_none_to_compare_with() -> None:
    plan = make_plan(ranked(RECORDS[2:]), ConfirmConfig(2, 1), SD)
    assert plan.baseline is None
    assert {repeat.trial for repeat in reporting(plan, 2, RECORDS, CONFIG)} == {2}


@pytest.mark.parametrize(("config", "select_on"), [(CONFIG, "test"), (VAL, "val")], ids=["test", "val"])
def test_the_first_round_is_scored_as_the_search_was_and_the_second_on_test(
    config: SearchConfig, select_on: str
) -> None:
    first, second = choosing(PLAN, RECORDS, config), reporting(PLAN, 4, RECORDS, config)
    assert {(repeat.purpose, repeat.select_on) for repeat in first} == {(CHOOSE, select_on)}
    assert {(repeat.purpose, repeat.select_on) for repeat in second} == {(REPORT, "test")}
    noise = measuring(1, 4, RECORDS, config)
    assert {(repeat.purpose, repeat.select_on, repeat.trial) for repeat in noise} == {(NOISE, select_on, 1)}
    assert len(noise) == 4


def test_all_contenders_are_trained_from_the_same_seeds_one_seed_after_the_other() -> None:
    for repeats, trials in (
        (choosing(PLAN, RECORDS, CONFIG), [2, 4, 1]),
        (reporting(PLAN, 4, RECORDS, CONFIG), [4, 1]),
    ):
        assert [repeat.trial for repeat in repeats] == trials * 3
        seeds = [repeat.seed for repeat in repeats]
        n = len(trials)
        assert seeds == [seed for seed in seeds[::n] for _ in range(n)]
        assert len(set(seeds)) == 3


def test_networks_and_recipes_are_those_of_the_trials() -> None:
    for repeat in choosing(PLAN, RECORDS, CONFIG):
        assert (repeat.arch, repeat.recipe) == (RECORDS[repeat.trial].arch, RECORDS[repeat.trial].recipe)


@pytest.mark.parametrize("study_seed", [0, 1, 7])
def test_seeds_are_fresh(study_seed: int) -> None:
    config = replace(CONFIG, seed=study_seed)
    of_search = {derived_seed(study_seed, "training", index) for index in range(1000)}
    plan = replace(PLAN, n_seeds=50)
    rounds = [choosing(plan, RECORDS, config), reporting(plan, 4, RECORDS, config), measuring(4, 50, RECORDS, config)]
    seeds = [{repeat.seed for repeat in repeats} for repeats in rounds]
    assert [len(found) for found in seeds] == [50, 50, 50]
    assert len(of_search.union(*seeds)) == 1150


def test_more_seeds_go_on_where_fewer_ended() -> None:
    few, many = choosing(PLAN, RECORDS, CONFIG), choosing(replace(PLAN, n_seeds=5), RECORDS, CONFIG)
    assert many[: len(few)] == few


@pytest.mark.parametrize("baseline", [1, None])
def test_who_is_trained_in_the_second_round(baseline: int | None) -> None:
    plan = replace(PLAN, baseline=baseline)
    expected = {4} if baseline is None else {4, 1}
    assert {repeat.trial for repeat in reporting(plan, 4, RECORDS, CONFIG)} == expected
    # A hand-designed winner is not trained twice.
    assert [repeat.trial for repeat in reporting(plan, 1, RECORDS, CONFIG)] == [1, 1, 1]


def test_a_single_candidate_needs_no_first_round() -> None:
    assert choosing(LONE, RECORDS, CONFIG) == []
    assert choose(LONE, RECORDS, [], CONFIG) == 2


# Who wins


@pytest.mark.parametrize(
    ("values", "winner"),
    [
        (FIRST, 4),
        ({**FIRST, 2: (0.9953, 0.9954, 0.9956)}, 2),
        ({2: (0.99, 0.99, 0.99), 4: (0.98, 0.99, 1.0), 1: (0.98, 0.98, 0.98)}, 4),
        ({2: (0.995, 0.995, 0.995), 4: (0.9999, 0.9999), 1: (0.99, 0.99, 0.99)}, 2),
        ({2: (), 4: (), 1: (0.9, 0.9, 0.9)}, 1),
        ({2: (0.99,), 4: (0.99,), 1: (0.99,)}, None),
        ({2: (), 4: (), 1: ()}, None),
    ],
    ids=["highest mean", "by a little", "equal: fewer parameters", "lacks a seed", "one left", "one seed", "nothing"],
)
def test_the_highest_mean_wins(values: Mapping[int, Sequence[float]], winner: int | None) -> None:
    assert (RECORDS[4].n_params or 0) < (RECORDS[2].n_params or 0)
    assert choose(PLAN, RECORDS, first_round(values), CONFIG) == winner


def test_trainings_for_other_purposes_and_splits_choose_nothing() -> None:
    results = first_round(FIRST)
    better = [
        made_up_results([replace(result.repeat, **change)], {1: (1.0,)}, first_number=100)[0]
        for result in results
        if result.repeat.trial == 1
        for change in ({"purpose": REPORT}, {"purpose": NOISE}, {"select_on": "val"}, {"seed": 1})
    ]
    assert choose(PLAN, RECORDS, [*better, *results], CONFIG) == 4


def test_of_an_earlier_plan_with_more_seeds_the_first_count() -> None:
    many = first_round({2: (0.994, 0.994, 0.994, 1.0, 1.0), 4: (0.995,) * 5, 1: (0.9,) * 5}, replace(PLAN, n_seeds=5))
    assert choose(PLAN, RECORDS, many, CONFIG) == 4
    assert choose(replace(PLAN, n_seeds=5), RECORDS, many, CONFIG) == 2


# The noise


def noise(trial: int, *values: float) -> list[RepeatResult]:
    return made_up_results(measuring(trial, len(values), RECORDS, CONFIG), {trial: values})


def test_the_noise_floor() -> None:
    floor = noise_floor([*first_round(FIRST), *noise(1, 0.9940, 0.9950, 0.9960)], 100)
    assert floor
    assert (floor.trial, floor.n_trials, floor.accuracy) == (1, 100, estimate([0.9940, 0.9950, 0.9960]))
    # By Harter's table the best of 100 draws lies 2.508 standard deviations above the mean.
    assert floor.luck == pytest.approx(0.001 * 2.508, rel=0.01)
    # Student's t with two degrees of freedom: the standard deviation comes from three values.
    assert floor.threshold() == pytest.approx(4.3027 * 0.001 * math.sqrt(2), rel=1e-4)
    assert floor.threshold(5) == pytest.approx(floor.threshold() / math.sqrt(5))


@pytest.mark.parametrize("n_trials", [0, 1])
def test_one_trial_cannot_be_the_luckiest(n_trials: int) -> None:
    floor = noise_floor(noise(1, 0.99, 0.98), n_trials)
    assert floor
    assert floor.luck == 0


@pytest.mark.parametrize(
    ("results", "trial"),
    [
        ([], None),
        (noise(1, 0.99), None),
        (noise(1, 0.99) + noise(2, 0.99), None),
        (noise(1, 0.99, 0.98) + noise(2, 0.97, 0.96, 0.95), 2),
        (noise(2, 0.97, 0.96, 0.95) + noise(1, 0.99, 0.98), 2),
        (first_round(FIRST), None),
    ],
    ids=["nothing", "one run", "one run each", "most runs", "most runs, first", "other purposes"],
)
def test_which_trial_shows_the_noise(results: Sequence[RepeatResult], trial: int | None) -> None:
    floor = noise_floor(results, 10)
    assert (floor and floor.trial) == trial
