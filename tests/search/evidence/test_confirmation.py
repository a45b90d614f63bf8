"""Judging the winner by trainings from fresh seeds: what they show of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from search.evidence.confirm import Confirmation, ConfirmPlan, confirmation, reporting
from search.evidence.repeats import REPORT
from search.evidence.statistics import estimate
from search.study.seeds import derived_seed
from tests.search.made_up_confirmations import FIRST, LONE, PLAN, RECORDS, SECOND, VAL, both_rounds
from tests.search.made_up_trials import CONFIG


def confirmed(**changes: object) -> Confirmation:
    settings: dict[str, object] = {"first": FIRST, "second": SECOND} | changes
    found = confirmation(PLAN, RECORDS, both_rounds(**settings), CONFIG)  # type: ignore[arg-type]
    assert found is not None
    return found


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
