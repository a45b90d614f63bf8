import math
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import torch
from optuna.trial import TrialState

import space
from models.baselines import BASELINES
from models.build import build_model
from models.cost import compute_cost
from objective import Objective
from search.config import DataConfig, SearchConfig
from search.data.load import DATASETS, load_dataset
from search.engine.confusion import Confusion, confusion_of_state
from search.engine.metrics import score
from search.engine.train import EpochMetrics, TrainingDivergedError, TrainResult, evaluate
from search.limits import refusal
from search.sampling.samplers import make_sampler
from search.study import training
from search.study.pruner import make_pruner
from search.study.seeds import derived_seed
from search.study.training import weights_path
from search.study.trials import TrialFailedError, TrialRecord

CONFIG = SearchConfig(DataConfig("digits", "unused"), max_params=8000, epochs=3)


def study(config: SearchConfig = CONFIG, sampler: str = "random") -> optuna.Study:
    return optuna.create_study(
        direction="maximize", sampler=make_sampler(sampler, 0), pruner=make_pruner("median", config.epochs)
    )


def curve(*accuracies: float) -> tuple[EpochMetrics, ...]:
    return tuple(EpochMetrics(i, 0.1, 0.9, accuracy, 0.1, 1.0) for i, accuracy in enumerate(accuracies, start=1))


# Four images of which the last is a 3.
DATA = SimpleNamespace(scored=SimpleNamespace(labels=torch.tensor([0, 1, 2, 3])), n_classes=10)
ANSWERS = torch.tensor([0, 1, 2, 2])


@pytest.fixture
def fake_train(monkeypatch):
    """Stands in for the training: reports the accuracies that the test asks for, trial by trial, and counts them."""
    asked: list[tuple[float, ...]] = []
    calls: list[int] = []

    def train(model, _data, recipe, on_epoch, *, seed, **_settings):
        calls.append(seed)
        metrics = curve(*(asked.pop(0) if asked else (0.5,) * recipe.epochs))
        for one in metrics:
            if math.isnan(one.accuracy):
                raise TrainingDivergedError(f"the training loss became nan in epoch {one.epoch}")
            on_epoch(one.epoch, one)
        return TrainResult(metrics, model.state_dict(), model.state_dict(), ANSWERS, ANSWERS, 1.0)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(training, "load_dataset", lambda _config: DATA)
    return asked, calls


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_params": 7496}, ""),
        ({"max_params": 7495}, "7,496 parameters, 1 over the budget of 7,495"),
        ({"max_params": 8000, "max_macs": 1_031_808}, ""),
        ({"max_params": 8000, "max_macs": 1_000_000}, "1,031,808 multiply-adds, 31,808 over the limit of 1,000,000"),
        (
            {"max_params": 8000, "max_memory": 58_495},
            "58,496 bytes of activations in float32, 1 over the limit of 58,495",
        ),
        (
            {"max_params": 7000, "max_macs": 1},
            "7,496 parameters, 496 over the budget of 7,000; 1,031,808 multiply-adds",
        ),
    ],
)
def test_refusal_names_the_excess(limits, reason):
    cost = compute_cost(BASELINES["s004_net3"].spec)
    constraints, found = refusal(cost, replace(CONFIG, **limits))
    assert found.startswith(reason)
    assert bool(found) == bool(reason)
    assert any(value > 0 for value in constraints.values()) == bool(reason)


def test_an_over_budget_proposal_builds_nothing_and_touches_no_data(monkeypatch):
    def forbidden(*_args, **_kwargs):
        raise AssertionError("an over-budget proposal got this far")

    monkeypatch.setattr(training, "build_model", forbidden)
    monkeypatch.setattr(training, "load_dataset", forbidden)
    monkeypatch.setattr(torch.nn.Module, "__init__", forbidden)
    monkeypatch.setattr(torch, "empty", forbidden)
    searched = study()
    searched.optimize(Objective(replace(CONFIG, max_params=50)), n_trials=200)
    assert {trial.state for trial in searched.trials} == {TrialState.PRUNED}
    for trial in searched.trials:
        assert set(trial.params) == set(space.DEFAULTS)
        assert trial.constraints["parameters"] == trial.user_attrs["n_params"] / 50 - 1
        assert f"over the budget of {50}" in trial.user_attrs["reason"]


def timed(monkeypatch: pytest.MonkeyPatch, *milliseconds: float) -> None:
    """Networks of these latencies, one after the other."""
    found = iter(milliseconds)
    monkeypatch.setattr("objective.measure_latency", lambda _arch: next(found))


def test_a_network_over_the_latency_is_refused_before_training_and_one_at_it_is_not(fake_train, monkeypatch):
    _, calls = fake_train
    timed(monkeypatch, 2.0, 2.5)
    searched = study()
    for lr in (0.1, 0.2):
        searched.enqueue_trial({**space.to_params(BASELINES["s004_net3"].spec), "sgd.lr": lr})
    searched.optimize(Objective(replace(CONFIG, max_latency=2.0)), n_trials=2)
    within, over = map(TrialRecord.from_trial, searched.trials)
    assert len(calls) == 1
    assert (within.outcome, within.latency_ms, searched.trials[0].constraints["latency"]) == ("finished", 2.0, 0.0)
    assert (over.outcome, over.latency_ms, searched.trials[1].constraints["latency"]) == ("refused", 2.5, 0.25)
    assert searched.trials[1].state == TrialState.PRUNED
    assert over.reason == (
        "2.5 ms of latency, 0.5 over the limit of 2 (one image, one thread, fastest of 30 passes on the machine of the "
        "search)"
    )


@pytest.mark.usefixtures("fake_train")
def test_latency_is_measured_without_a_limit_and_not_of_what_is_refused_or_repeated(monkeypatch):
    timed(monkeypatch, 7.0)
    searched = study()
    for _ in range(2):
        searched.enqueue_trial(space.to_params(BASELINES["s004_net3"].spec))
    searched.enqueue_trial({**space.DEFAULTS, "head.kind": "conv"})
    searched.optimize(Objective(CONFIG), n_trials=3)
    records = [TrialRecord.from_trial(trial) for trial in searched.trials]
    assert [one.outcome for one in records] == ["finished", "repeated", "refused"]
    assert [one.latency_ms for one in records] == [7.0, None, None]
    assert set(searched.trials[0].constraints) == {"parameters"}


def test_what_is_kept_with_a_finished_trial(fake_train):
    asked, _ = fake_train
    asked.append((0.6, 0.9, 0.8))
    searched = study()
    params = space.to_params(BASELINES["s004_net3"].spec)
    searched.enqueue_trial(params)
    searched.optimize(Objective(CONFIG), n_trials=1)
    record = TrialRecord.from_trial(searched.trials[0])
    assert (record.outcome, record.value, record.n_params, record.receptive_field) == ("finished", 0.8, 7496, 28)
    assert record.arch == BASELINES["s004_net3"].spec
    assert record.recipe == replace(space.assemble(params).recipe, epochs=3)
    assert [one["accuracy"] for one in record.curve] == [0.6, 0.9, 0.8]
    assert searched.trials[0].intermediate_values == {1: 0.6, 2: 0.9, 3: 0.8}
    assert (record.seconds, record.macs, record.peak_activation_bytes) == (1.0, 1_031_808, 58_496)


def test_a_candidate_met_before_is_not_trained_again(fake_train):
    asked, calls = fake_train
    asked += [(0.6, 0.7, 0.8)]
    searched = study()
    for _ in range(2):
        searched.enqueue_trial(space.to_params(BASELINES["s004_net3"].spec))
    # The masked dimensions differ; the candidate does not.
    searched.enqueue_trial({**space.to_params(BASELINES["s004_net3"].spec), "stages.3.depth": 4})
    searched.optimize(Objective(CONFIG), n_trials=3)
    assert len(calls) == 1
    assert [trial.value for trial in searched.trials] == [0.8] * 3
    assert [TrialRecord.from_trial(trial).repeats for trial in searched.trials] == [None, 0, 0]


def test_a_candidate_that_was_stopped_is_stopped_again(fake_train):
    asked, calls = fake_train
    searched = study()
    asked += [(0.8, 0.9, 0.95)] * 5 + [(0.1, 0.2, 0.3)]
    for i in (0, 1, 2, 3, 4, 5, 5):
        searched.enqueue_trial({**space.to_params(BASELINES["s004_net3"].spec), "sgd.lr": 0.1 + 0.01 * i})
    searched.optimize(Objective(CONFIG), n_trials=7)
    assert len(calls) == 6
    assert [trial.state for trial in searched.trials[5:]] == [TrialState.PRUNED] * 2
    last = TrialRecord.from_trial(searched.trials[-1])
    assert (last.outcome, last.repeats, last.value) == ("repeated", 5, None)


def test_another_recipe_is_another_candidate(fake_train):
    _, calls = fake_train
    searched = study()
    for lr in (0.1, 0.2):
        searched.enqueue_trial({**space.to_params(BASELINES["s004_net3"].spec), "sgd.lr": lr})
    searched.optimize(Objective(CONFIG), n_trials=2)
    assert len(calls) == 2


def test_divergence_ends_the_trial_and_not_the_study(fake_train):
    asked, _ = fake_train
    asked += [(0.5, math.nan), (0.6, 0.7, 0.8)]
    searched = study()
    for name in ("s004_net3", "s001_model3"):
        searched.enqueue_trial(space.to_params(BASELINES[name].spec))
    searched.optimize(Objective(CONFIG), n_trials=2, catch=(TrialFailedError,))
    lost, finished = map(TrialRecord.from_trial, searched.trials)
    assert (searched.trials[0].state, lost.outcome, len(lost.curve)) == (TrialState.FAIL, "diverged", 1)
    assert lost.reason == "the training loss became nan in epoch 2"
    assert finished.value == 0.8


def _prune_set_up(fake_train, last, *, baseline: bool) -> TrialRecord:
    """Six good trials, then one with the accuracies `last`."""
    asked, _ = fake_train
    config = replace(CONFIG, epochs=6)
    searched = study(config)
    for i in range(7):
        asked.append((0.8, 0.9, 0.92, 0.94, 0.95, 0.96) if i < 6 else last)
        params = {**space.to_params(BASELINES["s004_net3"].spec), "sgd.lr": 0.1 + 0.01 * i}
        searched.enqueue_trial(params, user_attrs={"baseline": "s004_net3"} if baseline else {})
    searched.optimize(Objective(config), n_trials=7)
    return TrialRecord.from_trial(searched.trials[-1])


@pytest.mark.parametrize(
    ("last", "baseline", "epochs", "outcome"),
    [
        ((0.1, 0.2, 0.3, 0.3, 0.3, 0.3), False, 2, "stopped"),
        ((0.1, 0.874, 0.88, 0.9, 0.9, 0.9), False, 2, "stopped"),
        ((0.1, 0.876, 0.91, 0.94, 0.95, 0.96), False, 6, "finished"),
        ((0.1, 0.2, 0.3, 0.3, 0.3, 0.3), True, 6, "finished"),
        ((0.8, 0.95, 0.5, 0.94, 0.5, 0.96), False, 6, "finished"),
        ((0.1, 0.91, 0.93, 0.95, 0.96, 0.97), False, 6, "finished"),
    ],
    ids=["hopeless", "just hopeless", "just not", "hopeless baseline", "jitter", "slow start"],
)
def test_only_the_hopeless_are_stopped(fake_train, last, baseline, epochs, outcome):
    record = _prune_set_up(fake_train, last, baseline=baseline)
    assert (record.outcome, len(record.curve)) == (outcome, epochs)
    if outcome == "stopped":
        assert f"{last[1]:.2%} after epoch 2" in record.reason


@pytest.mark.parametrize(
    ("rule", "value"), [("last", 0.7), ("best", 0.9), ("last3", 0.8), ("last3 of two epochs", 0.65)]
)
def test_score(rule, value):
    accuracies = (0.6, 0.7) if "two" in rule else (0.1, 0.9, 0.8, 0.7)
    assert score(curve(*accuracies), rule.split()[0]) == pytest.approx(value)


@pytest.mark.parametrize("rule", ["last", "best"])
def test_the_kept_weights_score_exactly_what_the_trial_scored(tmp_path: Path, rule):
    torch.set_num_threads(1)
    config = replace(CONFIG, score=rule)
    searched = study(config)
    searched.enqueue_trial({**space.to_params(BASELINES["s001_model3"].spec), "batch_size": 32})
    searched.optimize(Objective(config, tmp_path), n_trials=1)
    record = TrialRecord.from_trial(searched.trials[0])
    model = build_model(record.arch)
    model.load_state_dict(torch.load(weights_path(tmp_path, 0), weights_only=True))
    data = load_dataset(config.data)
    assert evaluate(model, data.scored, data) == record.value
    assert confusion_of_state(record.arch, model.state_dict(), data) == Confusion.from_dict(record.mistakes)
    assert record.value > 0.5
    assert [file.name for file in tmp_path.iterdir()] == ["trial-00000.pt"]


@pytest.mark.usefixtures("fake_train")
@pytest.mark.parametrize(("rule", "kept"), [("last", 1.0), ("last3", 1.0), ("best", 2.0)])
def test_the_score_rule_decides_which_weights_and_answers_are_kept(monkeypatch, tmp_path, rule, kept):
    states = {"last_state": {"w": torch.tensor(1.0)}, "best_state": {"w": torch.tensor(2.0)}}
    answers = {"last_answers": torch.tensor([0, 1, 1, 1]), "best_answers": torch.tensor([0, 1, 2, 1])}
    result = TrainResult(curve(0.6, 0.9, 0.8), **states, **answers, seconds=1.0)
    monkeypatch.setattr(training, "train", lambda *_args, **_kwargs: result)
    searched = study()
    searched.optimize(Objective(replace(CONFIG, max_params=1_000_000, score=rule), tmp_path), n_trials=1)
    assert torch.load(weights_path(tmp_path, 0), weights_only=True)["w"] == kept
    found = Confusion.from_dict(TrialRecord.from_trial(searched.trials[0]).mistakes)
    assert found.n_wrong == {1.0: 2, 2.0: 1}[kept]  # of the same weights


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_objective_travels_to_a_worker_process(dataset):
    config = replace(CONFIG, data=DataConfig(dataset, "unused"))
    assert pickle.loads(pickle.dumps(Objective(config))).config == config


def test_the_seed_of_the_trial_decides_the_training(fake_train):
    _, calls = fake_train
    searched = study()
    seeds = [derived_seed(0, "training", i) for i in range(2)]
    for lr, seed in zip((0.1, 0.2), seeds, strict=True):
        params = {**space.to_params(BASELINES["s004_net3"].spec), "sgd.lr": lr}
        searched.enqueue_trial(params, user_attrs={"seed": seed})
    searched.optimize(Objective(CONFIG), n_trials=2)
    assert calls == seeds
