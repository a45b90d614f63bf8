"""Training on behalf of a trial: what is noted with it whatever becomes of it, and weights that are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from models.build import build_model
from models.recipe import RecipeConfig
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig
from search.engine.train import EpochMetrics, TrainingDivergedError, TrainResult
from search.study import training
from search.study.training import RecordedTraining, Training, weights_path
from search.study.trials import DIVERGED, TrialFailedError

ARCH = ArchSpec((1, 28, 28), 10, (Stage((Block(4),), 0),), Head("gap_linear", bias=True))
RECIPE = RecipeConfig(epochs=3)


class StoppedError(Exception):
    """Raised by whoever watches a training."""


def metrics(epoch: int) -> EpochMetrics:
    return EpochMetrics(epoch, 0.1, 0.9, 0.9 + epoch / 100, 0.1, 1.0)


@pytest.fixture
def trial() -> optuna.Trial:
    return optuna.create_study().ask()


@pytest.fixture
def fake_train(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the training of three epochs, which fails after `diverges_after`; keeps what it was given."""
    given: dict[str, Any] = {"diverges_after": 3}

    def train(
        model: torch.nn.Module, data: object, recipe: RecipeConfig, on_epoch: Callable[..., None], **options: object
    ) -> TrainResult:
        given.update(model=model, data=data, recipe=recipe, **options)
        for epoch in range(1, given["diverges_after"] + 1):
            on_epoch(epoch, metrics(epoch))
        if given["diverges_after"] < recipe.epochs:
            raise TrainingDivergedError("the training loss became nan")
        return TrainResult(tuple(map(metrics, (1, 2, 3))), model.state_dict(), {}, torch.empty(0), torch.empty(0), 3.0)

    monkeypatch.setattr(training, "train", train)
    return given


def accuracies(trial: optuna.Trial) -> list[float]:
    return [one["accuracy"] for one in trial.user_attrs["curve"]]


def test_what_is_noted_with_a_training(trial: optuna.Trial, fake_train: dict[str, Any]) -> None:
    data: Any = object()
    seen: list[int] = []
    training = Training(ARCH, RECIPE, 7, engine="torch", every_epoch=False)
    RecordedTraining().train(trial, training, data, lambda epoch, _: seen.append(epoch))
    attrs = trial.user_attrs
    assert (attrs["seed"], attrs["precision"], attrs["engine"]) == (7, "float32", "torch")
    assert accuracies(trial) == [0.91, 0.92, 0.93]
    assert seen == [1, 2, 3]
    assert "outcome" not in attrs  # that is for who asked
    expected = {"data": data, "recipe": RECIPE, "seed": 7, "engine": "torch", "every_epoch": False}
    assert {name: fake_train[name] for name in expected} == expected


def test_the_seed_decides_how_a_network_begins(fake_train: dict[str, Any]) -> None:
    states = []
    for seed in (1, 1, 2):
        RecordedTraining().train(optuna.create_study().ask(), Training(ARCH, RECIPE, seed), object())  # type: ignore[arg-type]
        states.append(torch.cat([one.flatten() for one in fake_train["model"].parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_the_curve_of_a_diverged_training_is_kept(trial: optuna.Trial, fake_train: dict[str, Any]) -> None:
    fake_train["diverges_after"] = 2
    with pytest.raises(TrialFailedError, match="the training loss became nan"):
        RecordedTraining().train(trial, Training(ARCH, RECIPE, 0), object())  # type: ignore[arg-type]
    assert (trial.user_attrs["outcome"], trial.user_attrs["reason"]) == (DIVERGED, "the training loss became nan")
    assert accuracies(trial) == [0.91, 0.92]


@pytest.mark.usefixtures("fake_train")
@pytest.mark.parametrize("stop", [StoppedError, KeyboardInterrupt, optuna.TrialPruned])
def test_the_curve_of_a_stopped_training_is_kept(trial: optuna.Trial, stop: type[BaseException]) -> None:
    def watch(epoch: int, _: EpochMetrics) -> None:
        if epoch == 2:
            raise stop

    with pytest.raises(stop):
        RecordedTraining().train(trial, Training(ARCH, RECIPE, 0), object(), watch)  # type: ignore[arg-type]
    assert accuracies(trial) == [0.91, 0.92]
    assert "outcome" not in trial.user_attrs


def test_each_split_is_read_once_and_the_process_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[DataConfig] = []
    monkeypatch.setattr(training, "load_dataset", lambda config: read.append(config) or object())
    configs = [DataConfig("digits", "unused", select_on) for select_on in ("test", "val")]
    recorded = RecordedTraining()
    first = [recorded.data(config) for config in configs]
    assert [recorded.data(config) for config in configs] == first
    assert first[0] is not first[1]
    assert read == configs


def test_weights_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = build_model(ARCH).state_dict()
    RecordedTraining(tmp_path / "new" / "folder").keep_weights(12, state)
    path = weights_path(tmp_path / "new" / "folder", 12)
    assert [file.name for file in path.parent.iterdir()] == ["trial-00012.pt"]
    found = torch.load(path, weights_only=True)
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)
    RecordedTraining().keep_weights(13, state)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_weights_that_could_not_be_written_are_not_there_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RecordedTraining(tmp_path).keep_weights(1, {"old": torch.zeros(1)})

    def write_half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    for number in (1, 2):
        with pytest.raises(OSError, match="No space left"):
            RecordedTraining(tmp_path).keep_weights(number, {"new": torch.zeros(1)})
    assert list(torch.load(weights_path(tmp_path, 1), weights_only=True)) == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == [weights_path(tmp_path, 1).name]
