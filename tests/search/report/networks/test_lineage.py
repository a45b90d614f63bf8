"""Whether the winner of a search descends from stored networks, in the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.baselines import BASELINES
from search.report.facts import winner_facts
from search.report.summary import summarise
from search.study.trials import DIVERGED, TrialRecord
from tests.search.made_up_trials import CONFIG, made_up

STORED = [made_up(0, 0.5, baseline="s004_net3"), made_up(1, 0.5, start="deep-sgd"), made_up(2, 0.5, origin="other/3")]
KNOWN = "no stored network, but the results of {} were known when it was proposed"
# Mutations of the winner's line; the last one is the winner.
MUTATIONS = [made_up(5, 0.8, parent=1), made_up(6, 0.7, parent=5), made_up(9, 0.9, parent=6)]


@pytest.mark.parametrize(
    ("records", "descent"),
    [
        ([*STORED, made_up(4, 0.9)], KNOWN.format("2 stored networks and 1 adopted network")),
        ([STORED[0], made_up(4, 0.9)], KNOWN.format("1 stored network")),
        ([STORED[2], made_up(4, 0.9)], KNOWN.format("1 adopted network")),
        ([*STORED, made_up(4, 0.9, is_drawn=True)], "no stored network: it was drawn at random"),
        ([made_up(3, 0.5), made_up(4, 0.9)], "no stored network, and none was trained before it"),
        # Trained later, or without a result.
        ([made_up(3, 0.9), made_up(4, 0.5, start="deep-sgd")], "no stored network, and none was trained before it"),
        (
            [made_up(3, outcome=DIVERGED, start="deep-sgd"), made_up(4, 0.9)],
            "no stored network, and none was trained before it",
        ),
        ([*STORED, *MUTATIONS], "starting point deep-sgd, through 3 mutations"),
        ([*STORED, *MUTATIONS[1:]], KNOWN.format("2 stored networks and 1 adopted network")),
        ([*STORED, replace(MUTATIONS[2], parent=0)], "hand-designed s004_net3, through 1 mutation"),
        ([*STORED, replace(MUTATIONS[2], parent=2)], "adopted from other/3, through 1 mutation"),
        (
            [*STORED, made_up(4, 0.6, is_drawn=True), replace(MUTATIONS[2], parent=4)],
            "no stored network, but trial 4, which was drawn at random, through 1 mutation",
        ),
        ([made_up(4, 0.9, parent=4)], "no stored network, and none was trained before it"),
    ],
)
def test_descent_of_a_proposed_winner(records: list[TrialRecord], descent: str) -> None:
    assert winner_facts(summarise("s", CONFIG, records))["descends from"] == descent


def test_a_stored_network_that_the_sampler_finds_again_is_named() -> None:
    again = replace(made_up(4, 0.9), arch=BASELINES["s004_net3"].spec)
    facts = winner_facts(summarise("s", CONFIG, [STORED[0], again]))
    assert facts["descends from"] == (
        "the network of hand-designed s004_net3, and the results of 1 stored network were known when it was proposed"
    )


def test_random_sampling_learns_nothing() -> None:
    random = replace(CONFIG, sampler="random")
    facts = winner_facts(summarise("s", random, [*STORED, made_up(4, 0.9)]))
    assert facts["descends from"] == "no stored network: it was drawn at random"


@pytest.mark.parametrize("winner", [made_up(4, 0.9, start="deep-sgd"), made_up(4, 0.9, origin="other/3")])
def test_a_winner_that_was_not_proposed_has_its_origin_alone(winner: TrialRecord) -> None:
    assert "descends from" not in winner_facts(summarise("s", CONFIG, [*STORED, winner]))
