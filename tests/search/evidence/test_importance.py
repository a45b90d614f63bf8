"""Which dimensions mattered, and how early a result shows."""

from __future__ import annotations

import optuna
import pytest

from search.evidence.importance import MIN_FINISHED, importances, rank_correlations
from search.report.summary import summarise
from search.report.terminal import markdown_report
from search.study.trials import STOPPED, TrialRecord
from tests.search.made_up_trials import CONFIG, made_up


def study(n: int, *, equal: bool = False) -> optuna.Study:
    """`n` trials whose value follows x; y has no part in it."""
    made = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))

    def value(trial: optuna.Trial) -> float:
        x, _ = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        return 0.5 if equal else x

    made.optimize(value, n_trials=n)
    return made


def test_what_decides_the_value_matters_most() -> None:
    found = importances(study(60))
    assert list(found) == ["x", "y"]
    assert found["x"] > 0.8
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("made", [study(MIN_FINISHED - 1), study(MIN_FINISHED, equal=True)], ids=["short", "equal"])
def test_there_may_be_nothing_to_say(made: optuna.Study) -> None:
    assert importances(made) == {}
    assert importances(study(MIN_FINISHED)) != {}


def records(n: int) -> list[TrialRecord]:
    """Trials that stand in opposite order after epoch 1, and in their last order after epoch 2 of 3."""
    curves = [(0.99 - i / 1000, 0.9 + i / 1000, 0.95 + i / 1000) for i in range(n)]
    return [
        made_up(i, curve[-1], curve=tuple({"epoch": e, "accuracy": a, "seconds": 1.0} for e, a in enumerate(curve, 1)))
        for i, curve in enumerate(curves)
    ]


def test_how_early_a_result_shows() -> None:
    stopped = made_up(99, outcome=STOPPED)
    assert rank_correlations([*records(MIN_FINISHED), stopped]) == pytest.approx({1: -1.0, 2: 1.0})
    assert rank_correlations(records(MIN_FINISHED - 1)) == {}
    assert rank_correlations([]) == {}


def test_the_report_shows_both() -> None:
    text = markdown_report(summarise("s", CONFIG, records(MIN_FINISHED), importances={"lr": 0.7, "shift": 0.3}))
    assert "## What mattered\n\n| dimension | importance |\n| --- | ---: |\n| lr | 0.700 |\n| shift | 0.300 |\n" in text
    assert "| 1 | -1.00 |\n| 2 | 1.00 |\n" in text
    nothing = markdown_report(summarise("s", CONFIG, records(2)))
    assert "What mattered" not in nothing
    assert "How early" not in nothing
