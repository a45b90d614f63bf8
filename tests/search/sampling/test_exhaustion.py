"""Searches of spaces with few candidates: all are trained, then the search ends and says so."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from objective import Objective
from search.config import SAMPLERS, DataConfig, SearchConfig
from search.report.summary import summary_of
from search.sampling import exhaustion as module
from search.sampling.exhaustion import N_REPEATED, N_REPEATED_UNLISTED, Exhaustion
from search.sampling.feasible_start import FeasibleStart
from search.sampling.samplers import make_sampler
from search.study.attributes import EXHAUSTED
from search.study.location import StudyLocation
from search.study.loop import StopRule, run_trials
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, TRAINED, outcome_of, read_trials
from space import DEFAULTS
from tests.test_objective import fake_train as fake_train  # a fixture

pytestmark = pytest.mark.usefixtures("fake_train")
FOUR = {"batch_size": "[32, 64]", "activation": '["relu", "silu"]'}
WIDTHS = {"stages.1.width.1": "{low = 3, high = 20}", "stages.1.width.2": "{low = 3, high = 20}"}
OPEN = "{low = 0.001, high = 0.05}"


def config_of(changes: dict[str, str], max_params: int = 8000) -> SearchConfig:
    """A search of the default point alone, but for the changed dimensions."""
    lines = {name: json.dumps(value) for name, value in DEFAULTS.items()}
    dimensions = tuple(f"{name} = {value}" for name, value in (lines | changes).items())
    return SearchConfig(DataConfig("digits", "unused"), max_params, epochs=3, dimensions=dimensions)


def searched(config: SearchConfig, n_trials: int = 100, sampler: str = "tpe", **queued: object) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 0, FeasibleStart(config)))
    if queued:
        study.enqueue_trial(dict(queued))
    # What a worker gets.
    exhaustion = pickle.loads(pickle.dumps(Exhaustion(config)))
    run_trials(study, Objective(config), 0, StopRule(n_trials), on_trial=exhaustion)
    return study


def n_with(study: optuna.Study, *outcomes: str) -> int:
    return sum(outcome_of(trial) in outcomes for trial in study.trials)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("changes", "max_params", "n_candidates"),
    [
        ({}, 8000, 1),
        (FOUR, 8000, 4),
        ({"optimizer": '["sgd", "adamw"]', "stages.1.depth": "[1, 2, 3]"}, 8000, 6),
        # Ranges that act in no candidate.
        ({"adamw.lr": OPEN, "dropout": OPEN, "stages.3.depth": "{low = 1, high = 6}"}, 8000, 1),
        # 324 pairs of widths, of which six fit; the third width does not act.
        (WIDTHS | {"stages.1.width.3": "{low = 3, high = 9}"}, 2100, 6),
    ],
)
def test_a_search_ends_when_all_candidates_that_fit_are_trained(
    changes: dict[str, str], max_params: int, n_candidates: int, sampler: str
) -> None:
    study = searched(config_of(changes, max_params), sampler=sampler)
    assert n_with(study, *TRAINED) == n_candidates
    assert n_with(study, REPEATED) <= N_REPEATED * (1 + n_candidates)
    plural = "s" * (n_candidates > 1)
    assert study.user_attrs[EXHAUSTED] == (
        f"The search ended early: the space has {n_candidates} candidate{plural} within the budget of {max_params:,} "
        "parameters, and no untried one is left."
    )


def test_a_search_with_all_its_trials_ends_as_ever() -> None:
    study = searched(config_of(FOUR), n_trials=3)
    assert n_with(study, *TRAINED) == 3
    assert EXHAUSTED not in study.user_attrs


def test_a_candidate_that_diverged_or_is_too_slow_is_tried(
    fake_train: tuple[list[tuple[float, ...]], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = fake_train
    asked.append((math.nan,))
    latencies = iter([0.1, 9.0])
    monkeypatch.setattr("objective.measure_latency", lambda _arch: next(latencies, 0.1))
    study = searched(replace(config_of(FOUR), max_latency=1.0))
    assert EXHAUSTED in study.user_attrs
    assert {outcome_of(trial) for trial in study.trials} == {DIVERGED, FINISHED, REFUSED, REPEATED}


def test_queued_trials_are_trained_before_and_after_the_end() -> None:
    config = config_of(FOUR)
    study = searched(config)
    n_trials = len(study.trials)
    run_trials(study, Objective(config), 0, StopRule(100), on_trial=Exhaustion(config))
    assert len(study.trials) == n_trials
    study.enqueue_trial({"activation": "gelu"})
    run_trials(study, Objective(config), 0, StopRule(100), on_trial=Exhaustion(config))
    assert [outcome_of(trial) for trial in study.trials[n_trials:]] == [REFUSED]


def test_a_large_space_in_which_few_points_fit_ends_after_random_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LISTED", 20)
    study = searched(config_of(WIDTHS, 2100))
    assert n_with(study, *TRAINED) == 6
    assert n_with(study, REPEATED) >= N_REPEATED_UNLISTED
    assert "2,000 random points of the space had an untried candidate" in study.user_attrs[EXHAUSTED]


@pytest.mark.parametrize("changes", [{"sgd.lr": "{low = 0.02, high = 1.0}"}, WIDTHS | {"shear": "{low = 0.0}"}])
def test_a_space_with_real_numbers_has_no_list(changes: dict[str, str]) -> None:
    assert Exhaustion(config_of(changes))._listed is None


def test_the_report_says_why_the_search_ended(tmp_path: Path) -> None:
    config = config_of({})
    study = searched(config)
    summary = summary_of(study, config, StudyLocation(tmp_path, "s", None), read_trials(study.trials))
    assert summary.caveats[-1] == study.user_attrs[EXHAUSTED]
