"""Choosing and judging the winner by trainings from fresh seeds: what is trained, who wins, what it shows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from search.config import ConfirmConfig, DataConfig, SearchConfig
from search.confirm import (
    Confirmation,
    ConfirmPlan,
    choose,
    choosing,
    confirmation,
    make_plan,
    measuring,
    noise_floor,
    reporting,
)
from search.repeats import CHOOSE, NOISE, REPORT, RepeatResult
from search.statistics import estimate
from search.study import derived_seed
from search.trials import ranked
from tests.search.made_up_trials import CONFIG, made_up, made_up_results

VAL = replace(CONFIG, data=DataConfig("mnist", "data", select_on="val"))
WIDER = {"stages.1.width.1": 16}
# Found with 99.60, 99.55, 99.50, 99.40 and 99.30 %; of the hand-designed ones the second is the better.
RECORDS = [
    made_up(0, 0.9940, baseline="s001_model3"),
    made_up(1, 0.9950, baseline="s004_net3"),
    made_up(2, 0.9960, params=WIDER),
    made_up(3, outcome="stopped"),
    made_up(4, 0.9955),
    made_up(5, 0.9930),
]
SD = 0.0005
PLAN = ConfirmPlan((2, 4, 1), (0.9957, 0.9953, 0.9949), 1, 3)
LONE = ConfirmPlan((2,), (0.9957,), 1, 3)


def first_round(
    values: Mapping[int, Sequence[float]], plan: ConfirmPlan = PLAN, config: SearchConfig = CONFIG
) -> list[RepeatResult]:
    """The first round's results, trial by trial; a trial with fewer values than seeds lacks the last ones."""
    return made_up_results(choosing(plan, RECORDS, config), values)


def both_rounds(
    first: Mapping[int, Sequence[float]],
    second: Mapping[int, Sequence[float]],
    plan: ConfirmPlan = PLAN,
    config: SearchConfig = CONFIG,
    misread: Mapping[tuple[int, int], Sequence[int]] | None = None,
) -> list[RepeatResult]:
    """The results of both rounds; misread: by trial and place of the seed."""
    found = first_round(first, plan, config)
    chosen = choose(plan, RECORDS, found, config)
    assert chosen is not None
    wanted = reporting(plan, chosen, RECORDS, config)
    return found + made_up_results(wanted, second, misread, first_number=len(found))


FIRST = {2: (0.9950, 0.9951, 0.9952), 4: (0.9953, 0.9954, 0.9955), 1: (0.9940, 0.9950, 0.9960)}
SECOND = {4: (0.9951, 0.9955, 0.9949), 1: (0.9950, 0.9948, 0.9946)}


def confirmed(**changes: object) -> Confirmation:
    settings: dict[str, object] = {"first": FIRST, "second": SECOND} | changes
    found = confirmation(PLAN, RECORDS, both_rounds(**settings), CONFIG)  # type: ignore[arg-type]
    assert found is not None
    return found


# What is trained


@pytest.mark.parametrize(("top", "candidates"), [(1, (2,)), (3, (2, 4, 1)), (50, (2, 4, 1, 0, 5))])
def test_the_plan_takes_the_best_estimates_and_the_best_hand_designed_network(
    top: int, candidates: tuple[int, ...]
) -> None:
    plan = make_plan(ranked(RECORDS), ConfirmConfig(top, 4), SD)
    assert (plan.candidates, plan.baseline, plan.n_seeds) == (candidates, 1, 4)
    assert list(plan.estimates) == sorted(plan.estimates, reverse=True)
    assert ConfirmPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


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


# What it shows


@pytest.mark.parametrize("n_results", range(9 + 6))
def test_no_confirmation_before_the_winner_is_through(n_results: int) -> None:
    results = both_rounds(FIRST, SECOND)[:n_results]
    found = confirmation(PLAN, RECORDS, results, CONFIG)
    # The last training is of the network that is compared with.
    assert (found is None) == (n_results < 14)
    if found:
        assert found.comparison is None


def test_without_results_there_is_no_confirmation() -> None:
    assert confirmation(PLAN, RECORDS, [], CONFIG) is None
    assert confirmation(LONE, RECORDS, [], CONFIG) is None


def test_the_confirmation() -> None:
    found = confirmed()
    assert found.trial == 4
    assert found.accuracy == estimate(SECOND[4])
    assert [(one.trial, one.value, one.estimate) for one in found.contenders] == [
        (2, 0.9960, 0.9957),
        (4, 0.9955, 0.9953),
        (1, 0.9950, 0.9949),
    ]
    assert [one.choice for one in found.contenders] == [estimate(FIRST[number]) for number in (2, 4, 1)]
    assert found.search_value == 0.9955
    assert found.selection_gap == pytest.approx(0.9955 - (0.9951 + 0.9955 + 0.9949) / 3)


@pytest.mark.parametrize(
    ("values", "median_at"),
    [
        ((0.9951, 0.9955, 0.9949), 0),
        ((0.9955, 0.9949, 0.9951), 2),
        ((0.9950, 0.9950, 0.9950), 1),
        ((0.1, 0.9950, 0.9951), 1),
    ],
    ids=["first", "last", "equal", "an outlier"],
)
def test_the_network_to_hand_on_is_the_median(values: tuple[float, ...], median_at: int) -> None:
    found = confirmed(second={**SECOND, 4: values})
    assert found.network.value == values[median_at]
    assert found.network.repeat.seed == derived_seed(CONFIG.seed, REPORT, median_at)
    assert (found.network.repeat.trial, found.network.repeat.purpose) == (4, REPORT)


def test_of_an_even_number_the_lower_median() -> None:
    plan = replace(LONE, n_seeds=4)
    results = both_rounds({}, {2: (0.9953, 0.9951, 0.9954, 0.9952), 1: (0.99,) * 4}, plan)
    found = confirmation(plan, RECORDS, results, CONFIG)
    assert found
    assert found.network.value == 0.9952


def test_the_second_round_may_have_another_number_of_seeds() -> None:
    plan = replace(PLAN, n_further=5)
    first = {2: (0.994,) * 3, 4: (0.995,) * 3, 1: (0.9,) * 3}
    second = {4: (0.995, 0.996, 0.997, 0.998, 0.999), 1: (0.99, 0.991, 0.992, 0.993, 0.994)}
    found = confirmation(plan, RECORDS, both_rounds(first, second, plan), CONFIG)
    assert found
    assert found.comparison
    assert (found.trial, found.accuracy, found.comparison.accuracy) == (4, estimate(second[4]), estimate(second[1]))
    assert {one.choice.n for one in found.contenders if one.choice} == {3}
    # The seeds that it has in common with fewer are the same: what was trained for those counts.
    few, many = reporting(PLAN, 4, RECORDS, CONFIG), reporting(plan, 4, RECORDS, CONFIG)
    assert many[: len(few)] == few
    assert len(many) == 10
    short = {4: second[4], 1: second[1][:4]}
    shorter = confirmation(plan, RECORDS, both_rounds(first, {4: second[4][:4], 1: second[1]}, plan), CONFIG)
    assert shorter is None
    assert confirmation(plan, RECORDS, both_rounds(first, short, plan), CONFIG) is not None


def test_a_plan_of_an_older_version_has_as_many_seeds_in_both_rounds() -> None:
    older = {name: value for name, value in PLAN.to_dict().items() if name != "n_further"}
    assert ConfirmPlan.from_dict(older) == PLAN
    assert PLAN.n_reported == PLAN.n_seeds == 3


def test_the_comparison_is_paired_by_seed() -> None:
    comparison = confirmed().comparison
    assert comparison
    assert (comparison.baseline, comparison.n_params) == ("s004_net3", RECORDS[1].n_params)
    assert comparison.accuracy == estimate(SECOND[1])
    # 0.01, 0.07 and 0.03 points
    assert comparison.difference.mean == pytest.approx(0.0011 / 3)
    assert comparison.difference == estimate([a - b for a, b in zip(SECOND[4], SECOND[1], strict=True)])


def test_a_difference_that_all_seeds_share_is_shown_whatever_they_differ_by() -> None:
    seeds = (0.9900, 0.9950, 0.9920)
    found = confirmed(second={4: tuple(value + 0.0003 for value in seeds), 1: seeds}).comparison
    assert found
    assert found.difference.is_above_zero
    assert found.difference.sd == pytest.approx(0, abs=1e-12)


def test_images_are_compared_between_the_two_median_networks() -> None:
    # Medians: of 4 the first seed's, of 1 the second's.
    misread = {(4, 0): [1, 2, 3], (1, 1): [3, 4, 5, 6, 7], (4, 1): [9], (1, 0): [9, 10], (1, 2): [11]}
    comparison = confirmed(misread=misread).comparison
    assert comparison
    assert (comparison.images.only_first, comparison.images.only_second) == (2, 4)
    assert comparison.images.p == pytest.approx(0.6875)


def test_a_hand_designed_winner_is_compared_with_nothing() -> None:
    values = {**FIRST, 1: (0.9999, 0.9999, 0.9999)}
    found = confirmation(PLAN, RECORDS, both_rounds(values, {1: (0.995, 0.996, 0.994)}), CONFIG)
    assert found
    assert (found.trial, found.comparison) == (1, None)


def test_a_single_candidate_is_confirmed_without_a_choice() -> None:
    results = both_rounds({}, {2: (0.995, 0.996, 0.994), 1: (0.99, 0.99, 0.99)}, LONE)
    found = confirmation(LONE, RECORDS, results, CONFIG)
    assert found
    assert [(one.trial, one.choice) for one in found.contenders] == [(2, None)]
    assert found.comparison


def test_searched_on_held_out_images_the_report_is_still_of_the_test_set() -> None:
    found = confirmation(PLAN, RECORDS, both_rounds(FIRST, SECOND, config=VAL), VAL)
    assert found
    assert found.network.repeat.select_on == "test"
    # What was scored on other images counts for nothing.
    assert confirmation(PLAN, RECORDS, both_rounds(FIRST, SECOND), VAL) is None


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_facts_are_json(n_seeds: int) -> None:
    plan = replace(PLAN, n_seeds=n_seeds)
    first, second = ({number: values[:n_seeds] for number, values in all_.items()} for all_ in (FIRST, SECOND))
    found = confirmation(plan, RECORDS, both_rounds(first, second, plan), CONFIG)
    assert found
    facts = json.loads(json.dumps(found.facts(), allow_nan=False))
    assert facts["accuracy"]["n"] == n_seeds
    assert facts["accuracy"]["mean"] == found.accuracy.mean
    assert (facts["accuracy"]["scored_on"], facts["accuracy"]["epoch_rule"]) == ("test", "after the last epoch")
    assert (facts["search_value"], facts["selection_gap"]) == (0.9955, found.selection_gap)
    assert facts["compared_with"]["baseline"] == "s004_net3"
    assert [one["trial"] for one in facts["contenders"]] == [2, 4, 1]
    assert "misread" not in json.dumps(facts)


def test_facts_without_a_comparison() -> None:
    found = replace(confirmed(), comparison=None)
    assert found.facts()["compared_with"] is None


# The noise


def noise(trial: int, *values: float) -> list[RepeatResult]:
    return made_up_results(measuring(trial, len(values), RECORDS, CONFIG), {trial: values})


def test_the_noise_floor() -> None:
    floor = noise_floor([*first_round(FIRST), *noise(1, 0.9940, 0.9950, 0.9960)], 100)
    assert floor
    assert (floor.trial, floor.n_trials, floor.accuracy) == (1, 100, estimate([0.9940, 0.9950, 0.9960]))
    # By Harter's table the best of 100 draws lies 2.508 standard deviations above the mean.
    assert floor.luck == pytest.approx(0.001 * 2.508, rel=0.01)
    assert floor.threshold() == pytest.approx(1.96 * 0.001 * math.sqrt(2))
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
