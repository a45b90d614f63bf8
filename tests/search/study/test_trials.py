"""Trials read back from Optuna: what each outcome leaves behind, and the order of merit."""

import random
from copy import deepcopy
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from models.baselines import BASELINES
from models.recipe import RecipeConfig
from models.record import RecordError
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TrialRecord, ranked, read_trials
from tests.search.made_up_trials import made_up

ARCH = BASELINES["s002_model2"].spec
RECIPE = RecipeConfig(epochs=3, lr=0.2)
CURVE = [{"epoch": 1, "accuracy": 0.97}, {"epoch": 2, "accuracy": 0.98}]
FACTS: dict[str, Any] = {"index": 4, "n_params": 6280, "macs": 1_118_208}
TRAINED: dict[str, Any] = FACTS | {
    "seed": 11,
    "receptive_field": 28,
    "peak_activation_bytes": 49_408,
    "arch": ARCH.to_dict(),
    "recipe": RECIPE.to_dict(),
    "curve": CURVE,
    "precision": "float32",
}


def trial(state: TrialState, number: int = 7, **settings: Any) -> FrozenTrial:
    made = create_trial(state=state, params={"lr": 0.2}, distributions={"lr": FloatDistribution(0.1, 1.0)}, **settings)
    made.number = number
    return made


# State, user attributes, value; then the outcome and what else the record holds.
STATES: list[tuple[TrialState, dict[str, Any], float | None, str, dict[str, Any]]] = [
    (TrialState.COMPLETE, {**TRAINED, "outcome": FINISHED, "seconds": 60.0}, 0.98, FINISHED, {"seconds": 60.0}),
    (TrialState.COMPLETE, {**TRAINED, "outcome": FINISHED, "origin": "other/3"}, 0.98, FINISHED, {"origin": "other/3"}),
    (TrialState.COMPLETE, {**FACTS, "outcome": REPEATED, "repeats": 3}, 0.98, REPEATED, {"repeats": 3, "arch": None}),
    (TrialState.PRUNED, {**FACTS, "outcome": REFUSED, "reason": "too large"}, None, REFUSED, {"reason": "too large"}),
    (TrialState.PRUNED, {**TRAINED, "outcome": STOPPED, "seconds": 9.0}, None, STOPPED, {"seconds": 9.0}),
    (TrialState.FAIL, {**TRAINED, "outcome": DIVERGED}, None, DIVERGED, {"seconds": None}),
    (TrialState.FAIL, TRAINED, None, "fail", {"seed": 11}),
    (TrialState.RUNNING, FACTS, None, "running", {"index": 4, "curve": ()}),
    (TrialState.WAITING, {"baseline": "s002_model2"}, None, "waiting", {"baseline": "s002_model2", "index": None}),
]


@pytest.mark.parametrize(("state", "attrs", "value", "outcome", "facts"), STATES, ids=lambda v: str(v)[:20])
def test_every_state_of_a_trial_is_read(
    state: TrialState, attrs: dict[str, Any], value: float | None, outcome: str, facts: dict[str, Any]
) -> None:
    record = TrialRecord.from_trial(trial(state, value=value, user_attrs=attrs))
    assert (record.number, record.outcome, record.value, record.params) == (7, outcome, value, {"lr": 0.2})
    assert {name: getattr(record, name) for name in facts} == facts
    assert record.n_params == attrs.get("n_params")


def test_network_recipe_and_curve_come_back() -> None:
    attrs = {**TRAINED, "outcome": FINISHED}
    kept = deepcopy(attrs)
    record = TrialRecord.from_trial(trial(TrialState.COMPLETE, value=0.98, user_attrs=attrs))
    assert (record.arch, record.recipe, record.curve) == (ARCH, RECIPE, tuple(CURVE))
    assert (record.seed, record.receptive_field, record.precision) == (11, 28, "float32")
    assert attrs == kept


def test_facts_of_the_study_itself_are_left_alone() -> None:
    attrs = {"worker": 4711, "candidate": "ab", "retry_of": 2, "retries": 1, "index": 0}
    assert TrialRecord.from_trial(trial(TrialState.FAIL, user_attrs=attrs)).index == 0


@pytest.mark.parametrize(
    "attrs",
    [
        {"arch": {**ARCH.to_dict(), "stem": 3}},
        {"arch": {"layers": []}},
        {"recipe": {"learning_rate": 0.1}},
        {"recipe": {"optimizer": "lion"}},
    ],
    ids=str,
)
def test_trials_of_an_incompatible_version_are_refused(attrs: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        TrialRecord.from_trial(trial(TrialState.COMPLETE, value=0.98, user_attrs=attrs))


def test_a_stopped_trial_has_no_value() -> None:
    # Optuna gives a pruned trial the value that it reported last.
    def stopped(trial: optuna.Trial) -> float:
        trial.set_user_attr("outcome", STOPPED)
        trial.report(0.97, 5)
        raise optuna.TrialPruned

    study = optuna.create_study(direction="maximize")
    study.optimize(stopped, n_trials=1)
    (record,) = read_trials(study.trials)
    assert (record.outcome, record.value) == (STOPPED, None)
    assert ranked([record]) == []


def test_trials_are_read_in_order_of_their_number() -> None:
    trials = [trial(TrialState.RUNNING, number) for number in (3, 0, 2)]
    assert [record.number for record in read_trials(trials)] == [0, 2, 3]


def test_ranked_by_value_then_size_then_number() -> None:
    expected = [
        made_up(5, 0.995, n_params=9000),
        made_up(9, 0.993, n_params=100),
        made_up(1, 0.993, n_params=200),
        made_up(4, 0.993, n_params=200),
        made_up(0, 0.990, n_params=50),
    ]
    for seed in range(20):
        assert ranked(random.Random(seed).sample(expected, k=len(expected))) == expected


@pytest.mark.parametrize("outcome", [STOPPED, DIVERGED, REFUSED, REPEATED, "fail", "running", "waiting"])
def test_only_finished_trials_are_ranked(outcome: str) -> None:
    finished = made_up(1, 0.98)
    assert ranked([made_up(0, 0.99, outcome), finished]) == [finished]
