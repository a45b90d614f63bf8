"""Where a trial's network comes from, in every report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
import pytest

from models.baselines import BASELINES
from search.report.facts import top_rows, unsearched, winner_facts
from search.report.networks.origin import origin_of
from search.report.summary import summarise
from search.report.terminal import markdown_report, terminal_report
from search.sampling.starting_points import starting_points
from search.study.trials import TrialRecord
from space import WHOLE, assemble
from tests.search.made_up_trials import CONFIG, made_up

SHARED = next(params for name, params in starting_points(WHOLE) if name == "shared-soap")
NET3 = WHOLE.to_params(BASELINES["s004_net3"].spec)


@pytest.mark.parametrize(
    ("params", "facts", "text"),
    [
        ({}, {}, "proposed"),
        ({}, {"is_queued": True}, "queued by hand"),
        (NET3, {"baseline": "s004_net3"}, "hand-designed s004_net3"),
        (SHARED, {"start": "shared-soap"}, "starting point shared-soap"),
        ({}, {"baseline": "mine"}, "user network mine"),
        ({}, {"origin": "other/7"}, "adopted from other/7"),
        (
            NET3,
            {"baseline": "s004_net3", "origin": "a-b/7"},
            "adopted from a-b/7, the network of hand-designed s004_net3",
        ),
        (SHARED, {"origin": "other/7"}, "adopted from other/7, the network of starting point shared"),
        (SHARED, {}, "proposed, the network of starting point shared"),
        # The recipe does not matter; the activation is part of the network.
        (SHARED | {"optimizer": "sgd", "rotation": 1.0}, {}, "proposed, the network of starting point shared"),
        (SHARED | {"activation": "relu"}, {}, "proposed, the layers of starting point shared"),
        (SHARED | {"stages.1.width.1": 15}, {}, "proposed"),
        (NET3 | {"label_smoothing": 0.1}, {}, "proposed, the network of hand-designed s004_net3"),
        (NET3, {"baseline": "mine"}, "user network mine, the network of hand-designed s004_net3"),
    ],
    ids=str,
)
def test_origins(params: dict[str, Any], facts: dict[str, Any], text: str) -> None:
    record = made_up(0, 0.99, params=params, **facts)
    assert str(origin_of(record)) == text
    summary = summarise("s", CONFIG, [record])
    assert top_rows(summary)[0][-2] == text
    stored = " (stored with this program)" if "starting point" in text else ""
    assert winner_facts(summary)["origin"].replace("proposed by the sampler", "proposed") == f"{text}{stored}"


def test_a_refused_proposal_has_an_origin_too() -> None:
    assert str(origin_of(made_up(0, outcome="refused"))) == "proposed"


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({}, "queued by hand"),
        ({"retry_of": 3}, "proposed"),
        ({"start": "deep-sgd"}, "starting point deep-sgd"),
        ({"baseline": "s004_net3"}, "hand-designed s004_net3"),
    ],
)
def test_a_queued_trial_is_read_as_such(attributes: dict[str, Any], text: str) -> None:
    study = optuna.create_study()
    study.enqueue_trial({"activation": "silu"}, user_attrs=attributes)
    study.ask()
    (trial,) = study.get_trials()
    assert str(origin_of(TrialRecord.from_trial(trial))) == text


STORED = [made_up(0, 0.99, baseline="s004_net3"), made_up(1, 0.98, params=SHARED, start="shared-soap")]


@pytest.mark.parametrize(
    ("records", "trained"),
    [
        ([], None),
        (STORED[:1], "1 hand-designed network"),
        (STORED, "1 hand-designed network, 1 starting point"),
        ([*STORED, made_up(2, outcome="refused")], "1 hand-designed network, 1 starting point"),
        (
            [*STORED, made_up(2, 0.97, origin="other/7")],
            "1 hand-designed network, 1 starting point; adopted from other studies: 1",
        ),
        ([made_up(2, 0.97, origin="other/7")], "none; adopted from other studies: 1"),
        ([*STORED, made_up(2, 0.97, baseline="mine")], "1 hand-designed network, 1 user network, 1 starting point"),
        ([*STORED, made_up(2, 0.97)], None),
        ([*STORED, made_up(2, outcome="stopped")], None),
    ],
)
def test_a_study_without_a_proposal_searched_nothing(records: list[TrialRecord], trained: str | None) -> None:
    summary = summarise("s", CONFIG, records)
    sentence = f"Nothing was searched: no trained network was proposed by the sampler; trained: {trained}."
    assert unsearched(summary) == (sentence if trained else "")
    for text in (terminal_report(summary), markdown_report(summary)):
        assert (sentence in " ".join(text.split())) == bool(trained)


def test_a_study_that_runs_has_searched_nothing_yet() -> None:
    summary = summarise("s", CONFIG, [*STORED, made_up(2, outcome="running")])
    assert unsearched(summary) == (
        "Nothing was searched yet: no trained network was proposed by the sampler so far; trained: 1 hand-designed "
        "network, 1 starting point."
    )


def test_starting_points_are_recognised_for_images_of_any_shape() -> None:
    record = made_up(0, 0.99)
    colour = assemble(SHARED, (3, 32, 32), 10).arch
    assert str(origin_of(replace(record, arch=colour))) == "proposed, the network of starting point shared"
