from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.baselines import MNIST_BASELINES
from search.config import DataConfig, SearchConfig
from search.report.facts import baseline_rule
from search.report.summary import BaselineResult, Counts, summarise
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TrialRecord
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, PLAN, confirmed, epoch, made_up, measured


def test_counts() -> None:
    # A number of its own for every outcome, so that none can stand for another.
    numbers = {FINISHED: 9, STOPPED: 8, DIVERGED: 1, REFUSED: 6, REPEATED: 5, "fail": 4, "running": 3, "waiting": 2}
    outcomes = [outcome for outcome, n in numbers.items() for _ in range(n)]
    counts = summarise("s", CONFIG, [made_up(i, 0.99, outcome) for i, outcome in enumerate(outcomes)]).counts
    assert counts == Counts(finished=9, stopped=8, diverged=1, refused=6, repeated=5, interrupted=4, running=3)
    assert counts.feasible == 9 + 8 + 1
    assert counts.proposed == 9 + 8 + 1 + 6 + 5


def test_adopted_trials_are_counted_apart_and_cost_nothing() -> None:
    own = [made_up(0, 0.99), made_up(1, outcome=REFUSED)]
    adopted = [made_up(2, 0.995, origin="other/7"), made_up(3, 0.98, origin="other/8")]
    summary = summarise("s", CONFIG, own + adopted)
    assert summary.counts == replace(summarise("s", CONFIG, own).counts, adopted=2)
    assert (summary.counts.feasible, summary.counts.proposed) == (1, 2)
    assert summary.seconds == 60.0
    # What they found is this study's all the same.
    assert [record.number for record in summary.top] == [2, 0, 3]


def test_the_winner_is_the_trial_that_fresh_seeds_confirmed() -> None:
    summary = summarise("s", CONFIG, EVERY_OUTCOME, winner_card=card(trial=9), **confirmed())
    assert summary.confirmation is not None
    assert summary.winner is not None
    assert (summary.winner.number, summary.confirmation.trial, summary.test_accuracy) == (9, 9, 0.9912)
    assert [record.number for record in summary.top] == [8, 9, 0]
    assert [record.number for record in summary.improvements] == [0, 8]
    # Trial 9 lies on the end of a range, trial 8 does not.
    assert any("sgd.lr = 1 (0.02 to 1)" in caveat for caveat in summary.caveats)
    assert summary.caveats[-1].endswith("last improved by trial 8.")
    assert summary.noise is None


def test_an_unfinished_confirmation_leaves_the_best_trial_the_winner() -> None:
    told = confirmed()
    for repeats in ([], told["repeats"][:9], told["repeats"][:-2]):
        summary = summarise("s", CONFIG, EVERY_OUTCOME, repeats=repeats, plan=PLAN)
        assert summary.winner is not None
        assert (summary.winner.number, summary.confirmation) == (8, None)


def test_the_noise_floor_is_that_of_its_own_trainings() -> None:
    summary = summarise("s", CONFIG, EVERY_OUTCOME, **measured())
    assert summary.noise is not None
    assert (summary.noise.trial, summary.noise.accuracy.n, summary.noise.n_trials) == (0, 4, 3)
    assert any("(measured here: trial 0, 4 seeds)" in caveat for caveat in summary.caveats)


def test_ranking() -> None:
    records = [
        made_up(0, 0.9900, n_params=5000),
        made_up(1, 0.9950, n_params=7000),
        made_up(2, 0.9950, n_params=6000),
        made_up(3, 0.9950, n_params=6000),
        made_up(4, 0.9999, REPEATED),
        made_up(5, outcome=STOPPED),
        *(made_up(i, 0.9800, n_params=i) for i in range(10, 20)),
    ]
    summary = summarise("s", CONFIG, records)
    assert [record.number for record in summary.top] == [2, 3, 1, 0, 10, 11, 12, 13, 14, 15]
    assert summary.winner is records[2]


def test_improvements() -> None:
    values = [0.990, 0.989, 0.992, 0.992, 0.991, 0.995]
    records = [made_up(number, value) for number, value in enumerate(values)]
    records.insert(1, made_up(10, outcome=STOPPED))
    summary = summarise("s", CONFIG, records[::-1])
    assert [record.number for record in summary.improvements] == [0, 2, 5]


def test_seconds_of_trials_without_an_end_come_from_their_epochs() -> None:
    curve = (epoch(1, seconds=3.0), epoch(2, seconds=4.0))
    records = [
        made_up(0, 0.99, seconds=10.0, curve=curve),
        made_up(1, outcome=DIVERGED, seconds=None, curve=curve),
        made_up(2, outcome="fail", curve=curve[:1]),
        made_up(3, outcome=REFUSED),
    ]
    assert summarise("s", CONFIG, records).seconds == 10 + 7 + 3


def test_no_finished_trial() -> None:
    for records in ([], [record for record in EVERY_OUTCOME if record.outcome != FINISHED]):
        summary = summarise("s", CONFIG, records, winner_card=card(trial=0))
        assert summary.winner is None
        assert summary.test_accuracy is None
        assert (summary.top, summary.improvements, summary.caveats) == ((), (), ())
        assert len(summary.baselines) == len(MNIST_BASELINES)


def card(trial: int) -> dict[str, Any]:
    return {"trial": trial, "accuracy": {"file_on_test": 0.9912, "recorded": 0.9952}}


@pytest.mark.parametrize(("trial", "accuracy"), [(8, 0.9912), (9, None)])
def test_only_the_winners_card_counts(trial: int, accuracy: float | None) -> None:
    assert summarise("s", CONFIG, EVERY_OUTCOME, winner_card=card(trial)).test_accuracy == accuracy


def result_of(name: str, records: list[TrialRecord], **limits: Any) -> BaselineResult:
    results = summarise("s", replace(CONFIG, **limits), records).baselines
    assert [result.id for result in results] == list(MNIST_BASELINES)
    return next(result for result in results if result.id == name)


@pytest.mark.parametrize(
    ("outcomes", "value", "remark"),
    [
        ([(FINISHED, 0.9931)], 0.9931, ""),
        ([(REPEATED, 0.9931)], 0.9931, ""),
        ([(REPEATED, None)], None, "repeats a stopped trial"),
        ([(STOPPED, None)], None, "stopped early"),
        ([(DIVERGED, None)], None, "diverged"),
        ([("fail", None)], None, "interrupted"),
        ([("fail", None), (FINISHED, 0.9931)], 0.9931, ""),
        ([("running", None)], None, "running"),
        ([("waiting", None)], None, "not run yet"),
        ([], None, "not run yet"),
    ],
)
def test_baseline_in_the_study(outcomes: list[tuple[str, float | None]], value: float | None, remark: str) -> None:
    records = [
        made_up(i, trial_value, outcome, baseline="s004_net3") for i, (outcome, trial_value) in enumerate(outcomes)
    ]
    records.append(made_up(20, 0.9999))
    result = result_of("s004_net3", records[::-1])
    assert (result.value, result.remark) == (value, remark)
    assert result.fits


def test_a_hand_designed_network_that_was_too_slow_does_not_fit() -> None:
    slow = made_up(0, outcome=REFUSED, baseline="s004_net3", latency_ms=3.0)
    result = result_of("s004_net3", [slow], max_latency=2.0)
    assert (result.fits, result.remark, result.value) == (False, "over a limit", None)


@pytest.mark.parametrize(
    ("name", "limits", "fits", "remark"),
    [
        ("s004_net3", {"max_params": 7496}, True, "not run yet"),
        ("s004_net3", {"max_params": 7495}, False, "over budget"),
        ("s004_net3", {"max_macs": 1_031_808, "max_memory": 58_496}, True, "not run yet"),
        ("s004_net3", {"max_macs": 1_031_807}, False, "over the limit of MACs"),
        ("s004_net3", {"max_memory": 58_495}, False, "over the memory limit"),
        ("s000_net", {}, False, "over budget"),
        ("s000_net", {"max_params": 18_662}, True, "not in the space"),
        ("s003_iter1", {"max_params": 100_000}, True, "not in the space"),
    ],
)
def test_baseline_outside_the_study(name: str, limits: dict[str, int], fits: bool, remark: str) -> None:
    refused = made_up(0, outcome=REFUSED, baseline=name)
    for records in ([], [refused] if not fits else []):
        result = result_of(name, records, **limits)
        assert (result.fits, result.value, result.remark) == (fits, None, remark)


@pytest.mark.parametrize(
    ("name", "accuracy", "epochs", "approximate"),
    [
        ("s000_net", 0.9961, 20, False),  # the best of four recipes
        ("s001_model3", 0.9947, 15, False),
        ("s003_iter1", 0.9916, 19, False),  # only the last epoch is stated
        ("s003_iter2", 0.993, 19, True),
        ("s003_iter4", 0.9941, 6, False),  # two equal runs, the shorter
    ],
)
def test_stated_best(name: str, accuracy: float, epochs: int, approximate: bool) -> None:
    result = result_of(name, [])
    assert (result.stated_accuracy, result.stated_epochs, result.approximate) == (accuracy, epochs, approximate)


def test_digits_know_the_same_networks() -> None:
    config = SearchConfig(DataConfig("digits", "data"), max_params=8000)
    remarks = [result.remark for result in summarise("s", config, []).baselines]
    assert remarks == [result.remark for result in summarise("s", CONFIG, []).baselines]


@pytest.mark.parametrize(("outcome", "value"), [(FINISHED, 0.99), (STOPPED, None)])
def test_the_rule_beside_the_hand_designed_networks_fits_their_results(outcome: str, value: float | None) -> None:
    rule = baseline_rule(summarise("s", CONFIG, [made_up(0, value, outcome, baseline="s004_net3")]))
    assert ("the last column compares networks" in rule) == (value is not None)
    assert ("is the effect of network and recipe together" in rule) == (value is not None)
    assert ("No hand-designed network has been trained" in rule) == (value is None)
