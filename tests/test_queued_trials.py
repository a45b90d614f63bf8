"""Trials that a person queues through Optuna: refused with a reason if no point of the space has their values."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
import pytest

import space
from objective import Objective
from search.config import SAMPLERS, DataConfig, SearchConfig
from search.dashboard.trial_note import trial_note
from search.report.facts import proposal_lines
from search.report.summary import summarise
from search.sampling.samplers import make_sampler
from search.study.loop import StopRule, run_trials
from search.study.trials import FINISHED, REFUSED, read_trials
from space import space_of
from tests.test_objective import fake_train as fake_train  # a fixture

pytestmark = pytest.mark.usefixtures("fake_train")
CONFIG = SearchConfig(DataConfig("digits", "unused"), max_params=8000, epochs=3)


def searched_study(queued: dict[str, Any], sampler: str = "tpe", n_trials: int = 1) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 0))
    study.enqueue_trial(queued)
    run_trials(study, Objective(CONFIG), 0, StopRule(n_trials))
    return study


@pytest.mark.parametrize(
    ("queued", "objection"),
    [
        ({"activation": "gelu"}, "activation must be one of relu | silu, got 'gelu'"),
        ({"activaton": "silu"}, "no dimension is called 'activaton', the nearest is 'activation'"),
        ({"": 1}, "no dimension is called '', the nearest is "),
        ({"sgd.lr": 50.0}, "sgd.lr must be from 0.02 to 1, log scale, got 50.0"),
        ({"sgd.lr": float("nan")}, "sgd.lr must be from 0.02 to 1, log scale, got nan"),
        ({"sgd.lr": "fast"}, "sgd.lr must be from 0.02 to 1, log scale, got 'fast'"),
        ({"sgd.lr": None}, "sgd.lr must be from 0.02 to 1, log scale, got None"),
        ({"stages": 9}, "stages must be from 2 to 3, got 9"),
        ({"stages": 2.5}, "stages must be from 2 to 3, got 2.5"),
        ({"stages": [2, 3]}, "stages must be from 2 to 3, got [2, 3]"),
        ({"stages.1.depth": True}, "stages.1.depth must be from 1 to 6, got True"),
        ({"head.hidden": 1}, "head.hidden must be one of False | True, got 1"),
        ({"batch_size": "128"}, "batch_size must be one of 32 | 64 | 128, got '128'"),
        ({"stages.1.shared": "stage"}, "stages.1.shared must be one of none, got 'stage'"),
        ({**space.DEFAULTS, "order": "bn", "shear": -1}, "order must be one of conv-bn-act | conv-act-bn, got 'bn'; "),
    ],
)
def test_a_trial_outside_the_space_is_refused_and_the_search_goes_on(queued: dict[str, Any], objection: str) -> None:
    refused, *others = read_trials(searched_study(queued).trials)
    assert refused.outcome == REFUSED
    assert refused.reason.startswith(f"queued with values outside the space: {objection}")
    assert (refused.params, refused.n_params) == ({}, None)
    assert [record.outcome for record in others][-1] == FINISHED


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "queued",
    [
        {"activation": "silu"},
        {"sgd.lr": 1, "stages": 2},  # a whole number for a real one
        {"stages": np.int64(3), "sgd.lr": np.float64(0.5)},
        {},
    ],
)
def test_the_sampler_completes_a_trial_of_some_values(queued: dict[str, Any], sampler: str) -> None:
    record = read_trials(searched_study(queued, sampler).trials)[0]
    assert record.outcome in (FINISHED, REFUSED)
    assert not record.is_outside_space
    assert record.params == {**record.params, **queued}
    assert record.params.keys() == space.DEFAULTS.keys()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_sampler_goes_on_with_the_whole_space(sampler: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = searched_study({"activation": "gelu"}, sampler, n_trials=13)
    relative = study.sampler.infer_relative_search_space(study, study.ask()._get_latest_trial())
    dimensions = [dimension for dimension in space_of(CONFIG).dimensions if dimension.n_values != 1]
    assert set(relative) == ({dimension.name for dimension in dimensions} if sampler != "random" else set(relative))


def test_the_report_counts_it_apart_from_candidates_over_a_limit() -> None:
    records = read_trials(searched_study({"activation": "gelu"}, n_trials=2).trials)
    counts = summarise("s", CONFIG, records).counts
    assert (counts.outside, counts.proposed) == (1, len(records))
    assert any("1 outside the space" in line for line in proposal_lines(summarise("s", CONFIG, records)))
    assert trial_note(records[0], CONFIG).startswith("**Refused: outside the space.** Queued with values outside")
