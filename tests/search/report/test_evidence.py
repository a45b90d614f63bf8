"""What the reports say of confirmation and noise floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from search.evidence.confirm import (
    Comparison,
    Confirmation,
    ConfirmPlan,
    choosing,
    confirmation,
    measuring,
    noise_floor,
    reporting,
)
from search.evidence.repeats import RepeatResult
from search.evidence.statistics import McNemar, estimate
from search.report.evidence import (
    CONTENDER_COLUMNS,
    compared,
    contender_rows,
    contender_rule,
    interval,
    noise_lines,
    points,
    winner_evidence,
)
from search.report.summary import summarise
from search.report.terminal import markdown_report, terminal_report
from search.study.trials import ranked
from tests.search.made_up_trials import CONFIG, made_up, made_up_results

RECORDS = [
    made_up(0, 0.9950, baseline="s004_net3", n_params=7496),
    made_up(1, 0.9964),
    made_up(2, 0.9960),
    made_up(3, 0.9951),
]
PLAN = ConfirmPlan((1, 2), (0.9957, 0.9954), 0, 3)
FIRST = {1: (0.9953, 0.9955, 0.9957), 2: (0.9950, 0.9950, 0.9950)}
BETTER = {1: (0.9953, 0.9955, 0.9957), 0: (0.9948, 0.9949, 0.9953)}
NOT_SHOWN = {1: (0.9950, 0.9952, 0.9954), 0: (0.9948, 0.9954, 0.9950)}
MISREAD = {(1, 1): range(45), (0, 1): range(30, 81)}
NOISE = (0.9945, 0.9950, 0.9955)


def repeats(second: Mapping[int, Sequence[float]], n_seeds: int = 3) -> tuple[ConfirmPlan, list[RepeatResult]]:
    plan = replace(PLAN, n_seeds=n_seeds)
    first = made_up_results(choosing(plan, RECORDS, CONFIG), FIRST)
    return plan, first + made_up_results(reporting(plan, 1, RECORDS, CONFIG), second, MISREAD, first_number=100)


def confirmed(second: Mapping[int, Sequence[float]], n_seeds: int = 3) -> Confirmation:
    plan, results = repeats(second, n_seeds)
    found = confirmation(plan, RECORDS, results, CONFIG)
    assert found
    return found


def noise_results() -> list[RepeatResult]:
    return made_up_results(measuring(0, 3, RECORDS, CONFIG), {0: NOISE}, first_number=200)


def noise(second: Mapping[int, Sequence[float]] | None = None, n_trials: int = 100) -> list[str]:
    floor = noise_floor(noise_results(), n_trials)
    assert floor
    return noise_lines(floor, tuple(ranked(RECORDS)), None if second is None else confirmed(second))


def test_the_winner_in_words() -> None:
    facts = winner_evidence(confirmed(BETTER), "test")
    # The median's seed is told, so that anybody can train it again.
    seed = confirmed(BETTER).network.repeat.seed
    # 99.53, 99.55 and 99.57 %: sd 0.02, and 4.303 * 0.02 / sqrt(3) to either side.
    assert facts == {
        "accuracy": "99.55 %, mean of 3 fresh seeds (95 % interval 99.50 to 99.60) on the test set after the last "
        "epoch, selected on test",
        "seeds": "sd 0.02 points, from 99.53 % to 99.57 %",
        "file": f"99.55 %, the training with the median accuracy (seed {seed})",
        "in the search": "99.64 %: selection gap +0.09 points",
        "compared with": facts["compared with"],
    }


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (
            BETTER,
            "s004_net3 (7,496 parameters, 99.50 % on the same seeds): +0.05 points (95 % interval 0.03 to 0.07), "
            "better. Of the two median networks only the winner misreads 30 images, only s004_net3 36 (McNemar's "
            "test: p = 0.54)",
        ),
        # Differences of 0.02, -0.02 and 0.04 points. The median trainings are others here, and the images decide.
        (
            NOT_SHOWN,
            "+0.01 points (95 % interval -0.06 to 0.09), undecided over the seeds. Of the two median networks only the "
            "winner misreads 45 images, only s004_net3 0 (McNemar's test: p = 5.7e-14), which speaks for s004_net3",
        ),
        ({1: BETTER[0], 0: BETTER[1]}, "-0.05 points (95 % interval -0.07 to -0.03), worse. Of the two"),
    ],
    ids=["better", "not shown", "worse"],
)
def test_beside_the_hand_designed_network(second: Mapping[int, Sequence[float]], words: str) -> None:
    found = winner_evidence(confirmed(second), "test")["compared with"]
    assert words in found
    assert found.startswith("s004_net3 (7,496 parameters, ")


def test_one_seed_has_no_interval_and_shows_nothing() -> None:
    facts = winner_evidence(confirmed(BETTER, n_seeds=1), "test")
    assert facts["accuracy"].startswith("99.53 %, mean of 1 fresh seed (one seed, so no interval) on the test set")
    assert "seeds" not in facts
    assert facts["file"].startswith("99.53 %, the only training (seed ")
    assert (
        "on the same seed): +0.05 points (one seed, so no interval), not shown to be better" in facts["compared with"]
    )
    assert "Of the two networks only the winner misreads" in facts["compared with"]


@pytest.mark.parametrize(
    ("differences", "misread", "verdict", "remark"),
    [
        ((0.002, 0.003, 0.004), (10, 30, 0.01), "better", ""),
        ((0.002, 0.003, 0.004), (30, 36, 0.54), "better", ""),
        ((0.002, 0.003, 0.004), (30, 10, 0.01), "better", ", which speaks for s004_net3"),
        ((-0.02, 0.003, 0.02), (30, 36, 0.54), "not shown to be better", ""),
        ((-0.02, 0.003, 0.02), (10, 30, 0.01), "undecided over the seeds", ", which speaks for the winner"),
        ((-0.02, 0.003, 0.02), (30, 10, 0.01), "undecided over the seeds", ", which speaks for s004_net3"),
        ((0.0, 0.0, 0.0), (0, 0, 1.0), "not shown to be better", ""),
        ((-0.002, -0.003, -0.004), (30, 36, 0.54), "worse", ""),
        ((-0.002, -0.003, -0.004), (30, 10, 0.01), "worse", ""),
        ((-0.002, -0.003, -0.004), (10, 30, 0.01), "worse", ", which speaks for the winner"),
        ((0.003,), (10, 30, 0.01), "undecided over the seeds", ", which speaks for the winner"),
        ((0.003,), (1, 1, 1.0), "not shown to be better", ""),
    ],
)
def test_the_verdict_agrees_with_both_tests(
    differences: Sequence[float], misread: tuple[int, int, float], verdict: str, remark: str
) -> None:
    comparison = Comparison("s004_net3", 7496, estimate([0.99]), estimate(differences), McNemar(*misread))
    words = compared(comparison)
    assert f"), {verdict}. Of the two " in words
    assert words.endswith(f"p = {misread[2]:.2g}){remark}")
    assert ("misreads 1 image," in words) == (misread[0] == 1)
    assert not ("not shown" in words and misread[2] < 0.05)


def test_without_a_hand_designed_network_nothing_is_compared() -> None:
    assert "compared with" not in winner_evidence(replace(confirmed(BETTER), comparison=None), "test")


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0005, "+0.05"), (-0.0012, "-0.12"), (0.0, "+0.00"), (0.00004, "+0.00"), (1.0, "+100.00")],
)
def test_points(difference: float, text: str) -> None:
    assert points(difference) == text


def test_interval() -> None:
    assert interval(estimate([0.9953, 0.9955, 0.9957])) == "95 % interval 99.50 to 99.60"
    assert interval(estimate([0.9953])) == "one seed, so no interval"
    assert interval(estimate([0.5, 0.5])) == "95 % interval 50.00 to 50.00"


@pytest.mark.parametrize(
    ("n_seeds", "cells"), [(3, ["99.55 %", "0.02", "3"]), (1, ["99.53 %", "-", "1"])], ids=["three seeds", "one"]
)
def test_contenders(n_seeds: int, cells: list[str]) -> None:
    rows = contender_rows(confirmed(BETTER, n_seeds))
    assert [row[:3] for row in rows] == [("1", "99.64 %", "99.57 %"), ("2", "99.60 %", "99.54 %")]
    assert list(rows[0][3:]) == cells
    assert {len(row) for row in rows} == {len(CONTENDER_COLUMNS)}


def test_a_single_contender_was_not_chosen_by_fresh_seeds() -> None:
    contender = replace(confirmed(BETTER).contenders[0], choice=None)
    rows = contender_rows(replace(confirmed(BETTER), contenders=(contender,)))
    assert rows == [("1", "99.64 %", "99.57 %", "-", "-", "-")]
    rule = contender_rule(replace(confirmed(BETTER), contenders=(contender,)))
    assert rule.endswith("was the only candidate, so no fresh seeds chose it; its accuracy is that over 3 fresh seeds.")
    assert "highest mean" in contender_rule(confirmed(BETTER))


def test_the_noise_floor_in_words() -> None:
    # Trial 0 is 0.14 points below the best. Student's t with two degrees of freedom: 4.303 * sqrt(2) * 0.05 = 0.30.
    assert noise() == [
        "Trial 0 trained 3 times: mean 99.50 %, sd 0.05 points, from 99.45 % to 99.55 %.",
        "Noise alone would put the best of 100 equally good trials +0.12 points above their mean.",
        "Two single trainings of equal networks differ by more than 0.30 points once in twenty times; of the top ten "
        "that leaves undecided against the best: 2, 3, 0.",
    ]


def test_equal_trainings_measure_no_noise() -> None:
    results = [replace(result, value=0.9950) for result in noise_results()]
    floor = noise_floor(results, 100)
    assert floor
    (_, line) = noise_lines(floor, tuple(ranked(RECORDS)), confirmed(BETTER))
    assert line == "All of these trainings have the same accuracy, so they do not show how large the noise is."


def test_the_noise_of_a_single_trial_has_no_luck() -> None:
    floor = noise_floor(noise_results(), 1)
    assert floor
    lines = noise_lines(floor, (RECORDS[0],), None)
    assert lines[1:] == ["Two single trainings of equal networks differ by more than 0.30 points once in twenty times."]


def test_where_the_best_stands_alone() -> None:
    floor = noise_floor(noise_results(), 2)
    assert floor
    top = (made_up(9, 0.9999), *ranked(RECORDS))
    assert noise_lines(floor, top, None)[-1].endswith("undecided against the best: none.")


@pytest.mark.parametrize(
    ("second", "line"),
    [
        (
            {1: (0.9977, 0.9977, 0.9977), 0: (0.9955, 0.9955, 0.9955)},
            "The winner's +0.22 points over s004_net3 are above the 0.18 that means of 3 seeds differ by once in "
            "twenty times.",
        ),
        (
            BETTER,
            "The winner's +0.05 points over s004_net3 are not above the 0.18 that means of 3 seeds differ by once in "
            "twenty times.",
        ),
        (
            {1: (0.9955, 0.9955, 0.9955), 0: (0.9977, 0.9977, 0.9977)},
            "The winner's 0.22 points below s004_net3 are above the 0.18 that means of 3 seeds differ by once in "
            "twenty times.",
        ),
    ],
    ids=["above", "not above", "below"],
)
def test_the_winner_s_lead_beside_the_noise(second: Mapping[int, Sequence[float]], line: str) -> None:
    assert noise(second)[-1] == line
    assert len(noise(second)) == 4


@pytest.mark.parametrize("n_seeds", [1, 3])
@pytest.mark.parametrize("with_noise", [False, True])
def test_the_reports_say_it_and_the_terminal_s_lines_fit(n_seeds: int, with_noise: bool) -> None:
    plan, results = repeats(BETTER, n_seeds)
    results += noise_results() if with_noise else []
    summary = summarise("mnist-8000", CONFIG, RECORDS, repeats=results, plan=plan)
    terminal, markdown = terminal_report(summary), markdown_report(summary)
    assert max(map(len, terminal.splitlines())) <= 80
    assert not [line for line in terminal.splitlines() if line != line.rstrip()]
    found = confirmed(BETTER, n_seeds)
    assert summary.winner
    assert (summary.confirmation, summary.winner.number) == (found, 1)
    said = [*winner_evidence(found, "test").values(), *(cell for row in contender_rows(found) for cell in row)]
    if with_noise:
        assert summary.noise
        said += noise_lines(summary.noise, summary.top, found)
    for text in (terminal, markdown):
        words = " ".join(text.split())
        assert [one for one in said if one not in words] == []
        assert ("Noise floor" in words) == with_noise
        assert "Shrunken: the value drawn towards what similar trials let expect." in words


def test_nothing_was_trained_again() -> None:
    summary = summarise("mnist-8000", CONFIG, RECORDS)
    assert (summary.confirmation, summary.noise) == (None, None)
    for text in (terminal_report(summary), markdown_report(summary)):
        assert not any(word in text for word in ("Confirmation", "Noise floor", "fresh seeds ("))
