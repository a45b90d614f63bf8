"""Figures of a study show the trials they are about: read off the axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.config import DataConfig
from search.report.plot import error
from search.report.study_figures import N_IMPORTANCES, draw_accuracy, draw_best_so_far, draw_curves, draw_importances
from search.report.summary import summarise
from search.study.trials import REFUSED, STOPPED, TrialRecord
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, confirmed, epoch, made_up


def axes() -> Axes:
    return Figure().add_subplot()


def dots(on: Axes, label: str) -> list[tuple[float, float]]:
    found = next(one for one in on.collections if one.get_label() == label)
    return [tuple(point) for point in found.get_offsets().tolist()]


def line(on: Axes, label: str) -> tuple[list[float], list[float]]:
    found = next(one for one in on.lines if one.get_label() == label)
    return list(found.get_xdata()), list(found.get_ydata())


def sized(number: int, n_params: int, value: float) -> TrialRecord:
    return made_up(number, value, n_params=n_params)


def test_accuracy_against_size() -> None:
    records = [sized(0, 5000, 0.99), sized(1, 4000, 0.985), sized(2, 6000, 0.98), sized(3, 7000, 0.994)]
    records.append(made_up(4, outcome=REFUSED, n_params=9000))
    on = axes()
    draw_accuracy(on, summarise("s", CONFIG, records), records)
    assert sorted(x for x, _ in dots(on, "trials, one seed each")) == [4000, 5000, 6000, 7000]
    sizes, errors = line(on, "best of its size")
    assert sizes == [4000, 5000, 6000, 7000, 8000]
    assert errors == pytest.approx([1.5, 1.0, 1.0, 0.6, 0.6])  # never worse with more room
    assert line(on, "budget of 8,000")[0] == [8000, 8000]
    stated = dots(on, "hand-designed, as stated")
    assert (7784, pytest.approx(0.53)) in stated  # s001_model3
    assert max(x for x, _ in stated) <= 1.3 * 8000
    digits = axes()
    draw_accuracy(digits, summarise("s", replace(CONFIG, data=DataConfig("digits", "data")), records), records)
    assert dots(digits, "hand-designed, as stated") == []  # that is of MNIST


@pytest.mark.parametrize(("told", "value"), [({}, 0.9952), (confirmed(), (0.9938 + 0.9940 + 0.9945) / 3)])
def test_the_winner_stands_where_the_evidence_puts_it(told, value: float) -> None:
    summary = summarise("s", CONFIG, EVERY_OUTCOME, **told)
    on = axes()
    draw_accuracy(on, summary, EVERY_OUTCOME)
    star = next(one.lines[0] for one in on.containers if str(one.get_label()).startswith("winner"))
    assert list(star.get_xdata()) == [summary.winner.n_params]
    assert list(star.get_ydata()) == pytest.approx([error(value)])


@pytest.mark.parametrize("n", [1, 2])
def test_trials_and_epochs_are_whole_numbers(n: int) -> None:
    trials, epochs = axes(), axes()
    draw_best_so_far(trials, [made_up(i, 0.99) for i in range(n)])
    draw_curves(epochs, {"trial 0": [epoch(i + 1, 1.0) for i in range(n)]})
    for on, first in ((trials, 0), (epochs, 1)):
        low, high = on.get_xlim()
        assert [tick for tick in on.get_xticks() if low <= tick <= high] == list(range(first, first + n))


def test_best_so_far() -> None:
    records = [made_up(i, value) for i, value in enumerate((0.99, 0.98, 0.995, 0.994))]
    hopeless = [{"epoch": 5, "accuracy": 0.5}]
    records += [made_up(4, outcome=STOPPED, curve=({"epoch": 5, "accuracy": 0.97},))]
    records += [made_up(5, outcome=STOPPED, curve=tuple(hopeless)), made_up(6, outcome=REFUSED)]
    on = axes()
    draw_best_so_far(on, records)
    numbers, best = line(on, "best so far")
    assert numbers == [0, 1, 2, 3, 6]
    assert best == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.5])
    (x, low), (y, edge) = dots(on, "stopped early, there or below")
    assert (x, y) == (4, 5)
    assert (low, edge) == pytest.approx((3.0, 6.0))  # three times the highest error of the finished ones
    assert line(on, "refused")[0] == [6]


@pytest.mark.parametrize("records", [[], [made_up(0, outcome=REFUSED)], EVERY_OUTCOME], ids=["none", "refused", "all"])
def test_whatever_the_study_has_can_be_drawn(records: Sequence[TrialRecord]) -> None:
    summary = summarise("s", CONFIG, records)
    for draw in (lambda on: draw_accuracy(on, summary, records), lambda on: draw_best_so_far(on, records)):
        on = axes()
        draw(on)
        on.figure.canvas.draw()


def test_curves_of_several_and_of_one() -> None:
    first, second = made_up(0, 0.99), replace(made_up(1, 0.99), curve=made_up(1).curve[:1])
    on = axes()
    draw_curves(on, {"a": first.curve, "b": second.curve})
    assert [one.get_label() for one in on.lines] == ["a", "b"]
    assert line(on, "a") == ([1, 2], pytest.approx([1.0, 1.0]))
    assert on.lines[0].get_marker() != on.lines[1].get_marker()  # told apart without colours
    alone = axes()
    draw_curves(alone, {"a": first.curve})
    assert len(alone.lines) == 2  # and what it was on the training images


def test_the_most_important_dimensions() -> None:
    on = axes()
    draw_importances(on, {f"d{i}": i / 1000 for i in range(30)})
    assert [tick.get_text() for tick in on.get_yticklabels()] == [f"d{i}" for i in range(29, 29 - N_IMPORTANCES, -1)]
