"""The lines of the plan about the trials that go first."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from search.cli.first_trials import sampler_lines, trial_lines
from search.sampling.feasibility import Feasibility
from search.study.attributes import OUTCOME

NET, START = {"baseline": "s004_net3"}, {"start": "deep-sgd"}


def study_with(queued: list[dict[str, Any]], finished: list[dict[str, Any]]) -> optuna.Study:
    study = optuna.create_study()
    for attributes in finished:
        trial = optuna.trial.create_trial(value=0.9, user_attrs={OUTCOME: "finished", **attributes})
        study.add_trial(trial)
    for attributes in queued:
        study.enqueue_trial({"activation": "silu"}, user_attrs=attributes)
    return study


@pytest.mark.parametrize(
    ("queued", "finished", "n_trials", "lines"),
    [
        ([], [], 6, ["trials   6 of at most 1 epoch, 0 done"]),
        (
            [NET, {"baseline": "s001_model3"}, {"baseline": "mine"}, START, {}],
            [],
            100,
            [
                "trials   100 of at most 1 epoch, 0 done",
                "first    2 hand-designed networks, 1 user network, 1 starting point, 1 network queued by hand",
            ],
        ),
        (
            [NET, START],
            [],
            2,
            [
                "trials   2 of at most 1 epoch, 0 done",
                "first    1 hand-designed network, 1 starting point",
                "warning  nothing is searched: the 2 networks that go first take the 2 trials, so",
                "         the sampler proposes none; it begins with --trials 3",
            ],
        ),
        (
            [START],
            [NET],
            2,
            [
                "trials   2 of at most 1 epoch, 1 done",
                "first    1 starting point",
                "warning  nothing is searched: the 1 network that goes first takes the 1 trial",
                "         that is left, so the sampler proposes none; it begins with --trials 3",
            ],
        ),
        (
            [START],
            [NET, {"baseline": "mine"}],
            2,
            [
                "trials   2 of at most 1 epoch, 2 done",
                "first    1 starting point",
                "warning  nothing is searched: 2 trials of 2 are done, so the sampler proposes",
                "         none; it begins with --trials 4",
            ],
        ),
        ([START], [NET, {}], 3, ["trials   3 of at most 1 epoch, 2 done", "first    1 starting point"]),
        ([{"retry_of": 0}], [NET], 2, ["trials   2 of at most 1 epoch, 1 done", "again    1 interrupted trial"]),
    ],
)
def test_the_plan_names_what_goes_first(
    queued: list[dict[str, Any]], finished: list[dict[str, Any]], n_trials: int, lines: list[str]
) -> None:
    study = study_with(queued, finished)
    assert "\n".join(trial_lines(study.get_trials(), n_trials, 1)).splitlines() == lines


@pytest.mark.parametrize(
    ("sampler", "n_fitting", "is_warned"), [("random", 9, True), ("random", 10, False), ("tpe", 0, False)]
)
def test_a_sampler_whose_proposals_hardly_fit_is_warned_of(sampler: str, n_fitting: int, is_warned: bool) -> None:
    lines = sampler_lines(Feasibility(2000, n_fitting, 100, (), 1e6), sampler)
    assert (
        lines
        == [
            "warning  --sampler random draws from the whole space, so hardly any of its\n"
            "         proposals will fit; 1,000 refused ones in a row, which take minutes,\n"
            "         end the search; tpe and evolve begin with points that fit"
        ]
        * is_warned
    )
