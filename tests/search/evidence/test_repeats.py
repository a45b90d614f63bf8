"""Trainings beside the search: real ones, on the embedded digits with a tiny network, and their queue."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig, Schedule
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig
from search.data.load import load_dataset
from search.engine.train import TrainingDivergedError, evaluate, predict
from search.evidence.repeats import (
    CHOOSE,
    NOISE,
    REPORT,
    QueueEmpty,
    Repeat,
    RepeatResult,
    Retraining,
    n_left,
    of_trial,
    queue,
    read_results,
)
from search.study import training
from search.study.loop import run_trials
from search.study.training import weights_path
from search.study.trials import DIVERGED, FINISHED, REFUSED
from search.workers.recovery import MAX_RETRIES, requeue_abandoned

pytestmark = pytest.mark.usefixtures("one_thread")

DIGITS = DataConfig("digits", "unused")
ARCH = ArchSpec((1, 28, 28), 10, (Stage((Block(4), Block(4)), 2), Stage((Block(6),), 0)), Head("gap_linear", bias=True))
RECIPE = RecipeConfig(epochs=1, batch_size=32, lr=0.1, schedule=Schedule(kind="constant"))
REPEAT = Repeat(CHOOSE, 3, 11, "test", ARCH, RECIPE)
VARIANTS = [
    REPEAT,
    replace(REPEAT, seed=12),
    replace(REPEAT, trial=4),
    replace(REPEAT, purpose=REPORT),
    replace(REPEAT, select_on="val"),
]


def retrained(repeats: Sequence[Repeat], folder: Path | None = None, study: optuna.Study | None = None) -> optuna.Study:
    study = study or optuna.create_study(direction="maximize")
    queue(study, repeats)
    run_trials(study, Retraining(DIGITS, folder), 0, QueueEmpty())
    return study


@dataclass(frozen=True)
class Trained:
    """Trainings in one study: REPEAT twice for two purposes, one from another seed, one on held-out images."""

    folder: Path
    study: optuna.Study
    results: list[RepeatResult]


@pytest.fixture(scope="module")
def trained(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Trained:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("repeats") / "weights"
    repeats = [VARIANTS[0], replace(REPEAT, purpose=NOISE), VARIANTS[1], VARIANTS[4]]
    study = retrained(repeats, folder)
    return Trained(folder, study, read_results(study.trials))


# One training


@pytest.mark.parametrize("number", [0, 2, 3])
def test_value_misread_images_and_weights_belong_together(trained: Trained, number: int) -> None:
    result = trained.results[number]
    data = load_dataset(replace(DIGITS, select_on=result.repeat.select_on))
    assert result.value == pytest.approx(1 - len(result.misread) / len(data.scored), abs=1e-12)
    model = build_model(ARCH)
    model.load_state_dict(torch.load(weights_path(trained.folder, number), weights_only=True))
    assert evaluate(model, data.scored, data) == result.value
    wrong = predict(model, data.scored, data).argmax(1) != data.scored.labels
    assert list(result.misread) == wrong.nonzero().flatten().tolist()
    assert 0 < result.value < 1


def test_the_seed_decides(trained: Trained) -> None:
    once, again, other, _ = trained.results
    assert (once.value, once.misread) == (again.value, again.misread)
    assert once.misread != other.misread
    states = [torch.load(weights_path(trained.folder, number), weights_only=True) for number in range(3)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_what_is_kept_with_a_repeat(trained: Trained) -> None:
    attrs = trained.study.trials[2].user_attrs
    assert (attrs["outcome"], attrs["seed"], attrs["n_params"]) == (FINISHED, 12, compute_cost(ARCH).n_params)
    result = trained.results[2]
    assert (result.number, result.repeat, result.precision) == (2, VARIANTS[1], "float32")
    # Scored once, after the last epoch.
    assert [one["epoch"] for one in result.curve] == [1]
    assert result.curve[0]["accuracy"] == result.value
    assert result.seconds > 0


def test_the_search_s_setting_does_not_say_what_a_repeat_is_scored_on(trained: Trained) -> None:
    on_val = optuna.create_study(direction="maximize")
    queue(on_val, [REPEAT])
    run_trials(on_val, Retraining(replace(DIGITS, select_on="val")), 0, QueueEmpty())
    assert read_results(on_val.trials)[0].misread == trained.results[0].misread


def test_only_the_last_epoch_is_scored() -> None:
    study = retrained([replace(REPEAT, recipe=replace(RECIPE, epochs=2))])
    assert [one["epoch"] for one in read_results(study.trials)[0].curve] == [2]


def test_where_nothing_is_queued_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train", lambda *_args, **_options: pytest.fail("trained"))
    study = optuna.create_study(direction="maximize")
    study.optimize(Retraining(DIGITS), n_trials=1)
    assert study.trials[0].state == TrialState.PRUNED
    assert study.trials[0].user_attrs["outcome"] == REFUSED
    assert read_results(study.trials) == []


def test_a_repeat_that_diverged_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_args: object, **_options: object) -> None:
        raise TrainingDivergedError("the training loss became nan in epoch 1")

    monkeypatch.setattr(training, "train", diverge)
    study = retrained(VARIANTS[:2])
    assert [trial.user_attrs["outcome"] for trial in study.trials] == [DIVERGED] * 2
    assert requeue_abandoned(study, running_are_abandoned=True) == 0
    queue(study, VARIANTS[:2])
    assert (n_left(study), read_results(study.trials)) == (0, [])


def test_it_travels_to_a_worker_process() -> None:
    made = pickle.loads(pickle.dumps(Retraining(DIGITS, Path("weights"), "torch")))
    assert (made.data, made.training.weights_dir, made.options["engine"]) == (DIGITS, Path("weights"), "torch")


# The queue


def test_a_repeat_is_queued_once_whatever_became_of_it() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(2):
        queue(study, VARIANTS)
        assert [Repeat.from_dict(trial.user_attrs["repeat"]) for trial in study.trials] == VARIANTS
    for state in (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED):
        study.tell(study.ask().number, 0.5 if state == TrialState.COMPLETE else None, state=state)
    study.ask()  # one is running, one still waiting
    queue(study, reversed(VARIANTS))
    assert len(study.trials) == len(VARIANTS)
    assert n_left(study) == 2


def test_the_queue_is_empty_when_nothing_waits() -> None:
    study = optuna.create_study(direction="maximize")
    assert QueueEmpty().is_reached(study)
    queue(study, [REPEAT])
    assert not QueueEmpty().is_reached(study)
    study.ask()
    assert QueueEmpty().is_reached(study)
    assert n_left(study) == 1


def test_a_repeat_goes_through_json() -> None:
    for repeat in VARIANTS:
        assert Repeat.from_dict(json.loads(json.dumps(repeat.to_dict()))) == repeat
    assert len({repeat.identity for repeat in VARIANTS}) == len(VARIANTS)


def test_a_lost_repeat_is_queued_again_with_what_it_is_of(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(direction="maximize")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(training, "train", _interrupt)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                retrained([REPEAT], study=study)
            assert requeue_abandoned(study, running_are_abandoned=True) == 1
    retrained([REPEAT], study=study)
    assert [trial.user_attrs.get("retry_of") for trial in study.trials] == [None, 0, 1]
    results = read_results(study.trials)
    assert [(result.number, result.repeat) for result in results] == [(2, REPEAT)]
    assert results[0].misread == trained.results[0].misread


def test_a_repeat_that_is_lost_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train", _fail)
    study = optuna.create_study(direction="maximize")
    for _ in range(MAX_RETRIES + 1):
        with pytest.raises(MemoryError):
            retrained([REPEAT], study=study)
        requeue_abandoned(study, running_are_abandoned=True)
    assert (n_left(study), len(study.trials)) == (0, MAX_RETRIES + 1)


def _interrupt(*_args: object, **_options: object) -> None:
    raise KeyboardInterrupt


def _fail(*_args: object, **_options: object) -> None:
    raise MemoryError


# The results


def test_results_are_of_finished_repeats_in_order(trained: Trained) -> None:
    assert read_results(reversed(trained.study.trials)) == trained.results
    assert [result.number for result in trained.results] == [0, 1, 2, 3]
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda _trial: 1.0, n_trials=1)  # no repeat
    queue(study, [REPEAT])
    assert read_results(study.trials) == []


def test_results_of_one_trial_and_purpose(trained: Trained) -> None:
    first = trained.results[0]
    results = [replace(first, repeat=replace(repeat, seed=seed)) for seed in (10, 20, 30) for repeat in VARIANTS]
    found = of_trial(results, CHOOSE, 3, "test")
    # VARIANTS[1] differs in nothing but its seed.
    assert [result.repeat.seed for result in found] == [10, 10, 20, 20, 30, 30]
    assert {result.repeat.identity[:2] for result in found} == {(CHOOSE, 3)}
    for purpose, trial, select_on in ((CHOOSE, 4, "test"), (REPORT, 3, "test"), (CHOOSE, 3, "val")):
        found = of_trial(results, purpose, trial, select_on)
        assert [result.repeat.seed for result in found] == [10, 20, 30]
    assert of_trial(results, NOISE, 3, "test") == []
