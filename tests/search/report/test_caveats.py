from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from search.config import DataConfig, SearchConfig
from search.evidence.confirm import NoiseFloor
from search.evidence.statistics import estimate
from search.report.caveats import caveats
from search.study.trials import TrialRecord
from space import UNSHARED
from tests.search.made_up_trials import CONFIG, made_up

DIGITS = SearchConfig(DataConfig("digits", "data"), max_params=8000)
VAL = SearchConfig(DataConfig("mnist", "data", select_on="val"), max_params=8000)


def finished(values: list[float]) -> list[TrialRecord]:
    return [made_up(number, value) for number, value in enumerate(values)]


def text(config: SearchConfig, records: list[TrialRecord], noise: NoiseFloor | None = None) -> str:
    return "\n".join(caveats(config, records, last_improved=0, winner=records[0], noise=noise))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIG, "Selected on test: the best accuracy of the search is the maximum over all finished trials (3, one "),
        (VAL, "Selected on validation images: the best accuracy of the search is the maximum over all finished trials"),
        (VAL, "over all finished trials (3, one seed each), so it is optimistic."),
        (replace(CONFIG, score="best"), "over all finished trials and their epochs (3, one seed each)"),
        (CONFIG, "Fresh seeds would take out that luck, but not that every candidate was judged by the same images."),
    ],
)
def test_the_maximum_is_optimistic(config: SearchConfig, expected: str) -> None:
    assert expected in text(config, finished([0.995, 0.99, 0.99]))


def test_a_single_trial_was_not_selected_by_its_luck() -> None:
    caveat = "Only one trial finished, from one seed, so it was compared with no other."
    assert text(CONFIG, finished([0.99])).splitlines()[0] == caveat
    assert text(replace(CONFIG, score="best"), finished([0.99])).startswith(f"{caveat} Its epoch was chosen on test.")
    assert not any(word in text(CONFIG, finished([0.99])) for word in ("optimistic", "of 0", "0.00"))


def test_a_confirmed_winner_had_fresh_seeds() -> None:
    records = finished([0.99, 0.98])
    found = "\n".join(caveats(CONFIG, records, 0, records[0], is_confirmed=True))
    assert "Fresh seeds take out that luck" in found


# Expected maxima of n draws in standard deviations (Harter 1961): 1.163 of 5, 1.539 of 10, 2.249 of 50, 2.746 of 200.
@pytest.mark.parametrize(("n", "points"), [(5, "0.06"), (10, "0.08"), (50, "0.11"), (200, "0.14")])
def test_luck_among_equals(n: int, points: str) -> None:
    assert f"about {points} points above their mean" in text(CONFIG, finished([0.99] * n))


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ([0.9947, 0.9941], "0 of 1."),
        ([0.9947, 0.9942], "1 of 1. Which of them is best is undecided."),
        ([0.9947, 0.9947, 0.9944, 0.9942, 0.9940], "3 of 4. Which of them is best is undecided."),
    ],
)
def test_trials_within_the_noise(values: list[float], near: str) -> None:
    assert f"five seeds): {near}\n" in text(CONFIG, finished(values))


# Two trainings of trial 4, with a standard deviation of 0.0014: 0.14 points.
MEASURED = NoiseFloor(4, estimate([0.98, 0.982]), n_trials=50)


@pytest.mark.parametrize("config", [CONFIG, DIGITS], ids=["mnist", "digits"])
def test_noise_that_was_measured_replaces_what_is_known_of_mnist(config: SearchConfig) -> None:
    found = text(config, finished([0.9947, 0.9934, 0.9932] + [0.99] * 47), MEASURED)
    assert "(measured here: trial 4, 2 seeds): 1 of 49. Which of them is best is undecided.\n" in found
    assert "within 0.14 points of the best, one standard deviation from run to run" in found
    # 2.249 standard deviations, as above.
    assert "about 0.32 points above their mean" in found
    assert "five seeds" not in found


def test_noise_of_another_data_set_is_unknown() -> None:
    records = finished([0.98, 0.97])
    unknown = "The noise floor on digits has not been measured, so how many trials are as good as the best is unknown."
    assert unknown in text(DIGITS, records)
    assert "above their mean" not in text(DIGITS, records)
    assert "has not been measured" not in text(CONFIG, records)


def test_size_of_the_search() -> None:
    records = finished([0.99, 0.98])
    last = caveats(CONFIG, records, last_improved=7, winner=records[0])[-1]
    assert f"Finished trials: 2, in a space of {UNSHARED.n_searched} dimensions" in last
    assert last.endswith("last improved by trial 7.")
    older = [replace(record, params=dict(list(record.params.items())[1:])) for record in records]
    last = caveats(CONFIG, older, last_improved=7, winner=older[0])[-1]
    assert f"in a space of {len(UNSHARED.dimensions) - 1} dimensions" in last


@pytest.mark.parametrize(
    ("params", "ends"),
    [
        ({}, ""),
        ({"sgd.lr": 1.0}, "sgd.lr = 1 (0.02 to 1)"),
        ({"sgd.lr": 0.99}, "sgd.lr = 0.99 (0.02 to 1)"),
        ({"sgd.lr": 0.9}, ""),
        ({"sgd.lr": 0.0201}, "sgd.lr = 0.0201 (0.02 to 1)"),
        ({"sgd.weight_decay": 5e-4}, "sgd.weight_decay = 0.0005 (0 to 0.0005)"),
        ({"sgd.weight_decay": 0.0, "rotation": 0.0}, ""),  # nothing lies below zero
        ({"batch_size": 32}, ""),  # a choice has no ends
        ({"stages": 3}, ""),  # a range of two values has nothing else
        ({"stages.1.width.1": 3}, "stages.1.width.1 = 3 (3 to 64)"),
        ({"stages.1.width.1": 64}, "stages.1.width.1 = 64 (3 to 64)"),
        ({"stages.1.width.1": 63}, ""),
        ({"stages.1.width.4": 64}, ""),  # inactive: the stage has two convolutions
        ({"stages.3.width.1": 64}, ""),  # inactive: there are two stages
        ({"stages": 3, "stages.3.width.1": 64}, "stages.3.width.1 = 64 (3 to 64)"),
        ({"stages.1.kind": "residual", "stages.1.width.1": 64}, ""),  # inactive: the pair has its second width
        ({"stages.1.padded": 6}, ""),  # two convolutions are both padded at 2 already
        ({"stages.1.depth": 1}, ""),  # a stage has at least one convolution
        ({"stages.1.depth": 6}, "stages.1.depth = 6 (1 to 6)"),
        ({"dropout": 0.25}, ""),  # inactive: no dropout anywhere
        ({"dropout": 0.25, "stages.1.dropout": "all"}, "dropout = 0.25 (0 to 0.25)"),
        ({"transitions.1.width": 24}, ""),
        ({"transitions.1.width": 24, "transitions.1.place": "before"}, "transitions.1.width = 24 (3 to 24)"),
        ({"adamw.lr": 0.05}, ""),  # inactive: the optimizer is SGD
        ({"optimizer": "adamw", "adamw.lr": 0.05, "sgd.lr": 1.0}, "adamw.lr = 0.05 (0.001 to 0.05)"),
        ({"sgd.lr": 1.0, "shear": 10.0}, "sgd.lr = 1 (0.02 to 1), shear = 10 (0 to 10)"),
    ],
)
def test_values_on_the_end_of_their_range(params: dict[str, Any], ends: str) -> None:
    winner = made_up(0, 0.99, params=params)
    sentences = [line for line in caveats(CONFIG, [winner], 0, winner) if "may lie outside" in line]
    expected = f"A winning value on the end of its range, so that a better one may lie outside: {ends}."
    if ends.count("(") > 1:
        expected = f"Winning values on the end of their range, so that better ones may lie outside: {ends}."
    assert sentences == ([expected] if ends else [])


def test_the_ends_are_those_of_the_winner_which_need_not_be_the_best_of_the_search() -> None:
    best, confirmed = made_up(0, 0.99, params={"shear": 10.0}), made_up(1, 0.98, params={"sgd.lr": 1.0})
    found = "\n".join(caveats(CONFIG, [best, confirmed], 0, winner=confirmed))
    assert "may lie outside: sgd.lr = 1 (0.02 to 1)." in found


def test_of_a_trial_of_an_older_space_the_values_that_it_has_are_judged() -> None:
    record = made_up(0, 0.99, params={"sgd.lr": 1.0})
    older = replace(record, params={name: value for name, value in record.params.items() if name != "shear"})
    assert "may lie outside: sgd.lr = 1 (0.02 to 1)." in text(CONFIG, [older])
