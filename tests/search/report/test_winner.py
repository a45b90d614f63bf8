from __future__ import annotations

from dataclasses import replace

import pytest

from search.evidence.confirm import reporting
from search.report.summary import summarise
from search.report.terminal import markdown_report, terminal_report
from search.report.trials_csv import trials_table
from tests.search.made_up_summaries import CARD
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, PLAN, made_up, results_again
from tests.search.report_sections import reports, section, winner_rows


def test_winner() -> None:
    for text in reports("every outcome"):
        rows = [row for row in section(text, "Winner") if len(row) == 2 and row[0].strip("-")]
        assert rows[-6][0] == "descends from"
        assert [*rows[-7:-6], *rows[-5:]] == [
            ["origin", "proposed by the sampler"],
            ["accuracy", "99.52 %, selected on test"],
            ["parameters", "4,474 (3,526 below the budget of 8,000)"],
            ["MACs", "968,088"],
            ["receptive field", "28"],
            ["architecture", "8 16 · pool · 12 12 · GAP linear 10"],
        ]


def test_the_winner_has_the_slack_of_every_limit() -> None:
    limits = {"max_macs": 10**6, "max_memory": 20_000, "max_weights_bytes": 4474, "bytes_in": "int8", "min_rf": 12}
    summary = summarise("s", replace(CONFIG, **limits), EVERY_OUTCOME)
    for text in (terminal_report(summary), markdown_report(summary)):
        rows = winner_rows(text)
        assert rows["parameters"] == "4,474 (3,526 below the budget of 8,000)"
        assert rows["MACs"] == "968,088 (31,912 below the limit of 1,000,000)"
        assert rows["receptive field"] == "28"
        assert rows["activations"] == "7,712 bytes in int8 (12,288 below the limit of 20,000)"
        assert rows["weights"] == "4,474 bytes in int8 (0 below the limit of 4,474)"
        assert rows["RF before the head"] == "14 (2 above the floor of 12)"
        headline = " ".join(text.split())
        assert (
            "1,000,000 multiply-adds, 20,000 bytes of activations in int8, 4,474 bytes of weights in int8" in headline
        )
        assert "at least 12 pixels of receptive field before the head" in headline


@pytest.mark.parametrize(
    ("limits", "distance"),
    [
        ({}, ""),
        ({"max_latency": 1.0}, ", 0.38 below the limit of 1"),
        ({"max_latency": 0.5}, ", 0.12 over the limit of 0.5"),
    ],
)
def test_the_winner_has_its_latency(limits: dict[str, float], distance: str) -> None:
    summary = summarise("s", replace(CONFIG, **limits), [made_up(0, 0.99, latency_ms=0.6234)])
    measured = "one image, one thread, fastest of 30 passes on the machine of the search"
    for text in (terminal_report(summary), markdown_report(summary)):
        assert winner_rows(text)["latency"] == f"0.623 ms{distance} ({measured})"
        assert ("ms of latency" in " ".join(section(text, "Winner")[0] + text.splitlines()[:6])) == bool(limits)
    assert trials_table([made_up(0, 0.99, latency_ms=0.6234)], CONFIG).loc[0, "latency_ms"] == 0.6234


def test_a_hand_designed_winner_is_named() -> None:
    for text in reports("baseline wins"):
        assert ["origin", "hand-designed s000_net"] in section(text, "Winner")


def test_accuracy_on_test_of_a_study_that_did_not_search_on_it() -> None:
    for text in reports("validation"):
        assert ["on test", "99.12 %, on images that the search never saw"] in section(text, "Winner")
    same = summarise("s", CONFIG, EVERY_OUTCOME, winner_card=CARD)
    assert "never saw" not in terminal_report(same) + markdown_report(same)


@pytest.mark.parametrize(("name", "selected_on"), [("confirmed", "test"), ("confirmed on val", "validation images")])
def test_a_confirmed_winner_is_told_by_its_fresh_seeds(name: str, selected_on: str) -> None:
    for text in reports(name):
        rows = winner_rows(text)
        assert rows["trial"] == "9"
        # 0.9941 ± 4.303 * 0.000361 / sqrt(3), Student's t of two degrees of freedom.
        assert rows["accuracy"] == (
            "99.41 %, mean of 3 fresh seeds (95 % interval 99.32 to 99.50) on the test set after the last epoch, "
            f"selected on {selected_on}"
        )
        assert rows["seeds"] == "sd 0.04 points, from 99.38 % to 99.45 %"
        assert rows["file"].startswith("99.40 %, the training with the median accuracy (seed ")
        assert rows["in the search"] == "99.40 %: selection gap -0.01 points"
        assert rows["compared with"] == (
            "s004_net3 (4,222 parameters, 99.28 % on the same seeds): +0.13 points (95 % interval 0.06 to 0.20), "
            "better. Of the two median networks only the winner misreads 2 images, only s004_net3 6 (McNemar's test: "
            "p = 0.29)"
        )
        assert "on test" not in rows


def test_one_seed_alone_has_no_spread() -> None:
    plan = replace(PLAN, candidates=(9,), estimates=(0.9937,), n_seeds=1)
    repeats = results_again(reporting(plan, 9, EVERY_OUTCOME, CONFIG))
    summary = summarise("s", CONFIG, EVERY_OUTCOME, repeats=repeats, plan=plan)
    for text in (terminal_report(summary), markdown_report(summary)):
        rows = winner_rows(text)
        assert rows["accuracy"].startswith("99.38 %, mean of 1 fresh seed (one seed, so no interval) on the test set")
        assert "seeds" not in rows
        assert "so no fresh seeds chose it" in " ".join(text.split())
        assert "highest mean" not in text
        assert [row for row in section(text, "Confirmation") if row[0] == "9"] == [
            ["9", "99.40 %", "99.37 %", "-", "-", "-"]
        ]


def test_the_contenders_of_a_confirmation() -> None:
    for text in reports("confirmed"):
        rows = [row for row in section(text, "Confirmation") if row[0].isdigit()]
        assert rows == [
            ["8", "99.52 %", "99.45 %", "99.31 %", "0.01", "3"],
            ["9", "99.40 %", "99.37 %", "99.45 %", "0.01", "3"],
            ["0", "99.31 %", "99.31 %", "99.21 %", "0.01", "3"],
        ]
        assert "its accuracy is that over further fresh seeds, which chose nothing." in " ".join(text.split())


def test_noise_floor() -> None:
    for text in reports("measured"):
        words = " ".join(text.split())
        # Three draws have an expected maximum of 0.846 standard deviations of 0.129 points each, by Blom 0.870.
        for line in (
            "Trial 0 trained 4 times: mean 99.15 %, sd 0.13 points, from 99.00 % to 99.30 %.",
            "Noise alone would put the best of 3 equally good trials +0.11 points above their mean.",
            "Two single trainings of equal networks differ by more than 0.58 points once in twenty times; of the top "
            "ten that leaves undecided against the best: 9, 0.",
            "The winner's +0.13 points over s004_net3 are not above the 0.34 that means of 3 seeds differ by once in "
            "twenty times.",
        ):
            assert line in words


def test_what_was_not_trained_again_has_no_section() -> None:
    for text in reports("every outcome"):
        assert "Confirmation" not in text
        assert "Noise floor" not in text
