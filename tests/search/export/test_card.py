from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.spec import ArchSpec
from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.engine.train import TrainResult, evaluate, train
from search.export.export import ModelSource, export_model
from tests.search.digits_export import CONFIRMED, RECIPE, SPEC, contents, source_of, train_network

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset(DataConfig("digits", "data"))


@pytest.fixture(scope="module")
def trained(data: Dataset) -> TrainResult:
    return train_network(data)


@pytest.fixture
def source(trained: TrainResult) -> ModelSource:
    return source_of(trained)


def test_card(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    card = export_model(replace(source, origin="starting point deep-sgd"), data, tmp_path / "winner")
    cost = compute_cost(SPEC)
    assert card["cost"] == {
        "n_params": cost.n_params,
        "n_stored": cost.n_params,
        "macs": cost.macs,
        "feature_receptive_field": cost.feature_receptive_field,
        "receptive_field": cost.receptive_field,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "peak_activation_bytes_int8": cost.peak_activation_bytes_int8,
    }
    assert ArchSpec.from_dict(card["arch"]) == SPEC
    assert RecipeConfig.from_dict(card["recipe"]) == RECIPE
    assert card["recipe"]["momentum"] == 0.9, "a default must be in the card"
    assert (card["study"], card["trial"], card["seed"], card["epochs"]) == ("tiny", 12, 1, 3)
    assert card["precision"] == "float32"
    assert card["origin"] == "starting point deep-sgd"
    assert "Study tiny, trial 12 (starting point deep-sgd): " in (tmp_path / "winner" / "README.md").read_text()
    assert card["limits"] == {"max_params": 8000, "epochs": 3}
    assert card["accuracy"]["select_on"] == card["accuracy"]["test_note"].removeprefix("selected on ") == "test"
    assert (card["accuracy"]["scored_on"], card["accuracy"]["note"]) == ("test", source.selection_note)
    assert (card["accuracy"]["score"], card["accuracy"]["epoch_rule"]) == ("last", "after epoch 3, the last")
    last = source.curve[-1]
    assert card["accuracy"]["last_epoch_train"] == last["train_accuracy"] != last["accuracy"]
    assert card["accuracy"]["last_epoch_scored"] == last["accuracy"]
    assert card["data"] == {
        "name": "digits",
        "terms": data.terms,
        "framing": {"background": 0, "extent": 20, "by_mass": False, "centre": [14, 14]},
        "checksum": data.checksum,
        "mean": list(data.mean),
        "std": list(data.std),
        "classes": list("0123456789"),
        "n_images": {"train": len(data.train), "test": len(data.test)},
    }
    assert card["versions"]["python"] == sys.version.split()[0]
    assert card["versions"]["torch"] == torch.__version__.split("+")[0]
    assert {"torchvision", "optuna"} < set(card["versions"])
    files = contents(tmp_path / "winner")
    assert card["sha256"] == {
        name: hashlib.sha256(files[name] or b"").hexdigest() for name in ("model.py", "weights.pt")
    }
    assert card["confirmation"] == CONFIRMED.facts()
    assert card["confirmation"]["accuracy"]["mean"] == pytest.approx(0.85)
    for name in ("README.md", "model.py"):
        text = " ".join((tmp_path / "winner" / name).read_text().split())
        assert "Trained from 3 fresh seeds the network reaches 85.00% in the mean" in text


def test_a_network_that_was_not_confirmed_says_so(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    assert export_model(replace(source, confirmation=None), data, tmp_path / "winner")["confirmation"] is None


def test_selected_on_validation_images_the_test_set_is_read_once(tmp_path: Path) -> None:
    data = load_dataset(DataConfig("digits", "data", select_on="val"))
    result = train_network(data, epochs=1)
    card = export_model(source_of(result, select_on="val"), data, tmp_path / "winner")
    model = build_model(SPEC)
    model.load_state_dict(result.last_state)
    assert data.val is not None
    on_val, on_test = evaluate(model, data.val, data), evaluate(model, data.test, data)
    assert on_val != on_test
    assert (card["accuracy"]["file_on_scored"], card["accuracy"]["file_on_test"]) == (on_val, on_test)
    assert (card["accuracy"]["select_on"], card["accuracy"]["scored_on"]) == ("val", "val")
    assert card["accuracy"]["test_note"] == "read once, for this export, after the selection"
    assert card["data"]["n_images"] == {"train": len(data.train), "val": len(data.val), "test": len(data.test)}
    readme = (tmp_path / "winner" / "README.md").read_text()
    assert "Selected on val" in readme
    assert f"{on_test:.2%} on the test set, read once for this export." in readme


def test_selected_on_validation_images_and_retrained_on_all_of_them(data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(1)
    result = train(build_model(SPEC), data, RECIPE, seed=1, every_epoch=False)
    source = replace(source_of(result), select_on="val", confirmation=None)
    card = export_model(source, data, tmp_path / "winner")
    accuracy = result.curve[-1].accuracy
    assert card["accuracy"] == {
        "select_on": "val",
        "scored_on": "test",
        "note": source.selection_note,
        "score": "last",
        "metric": "accuracy",
        "epoch_rule": "after epoch 3, the last",
        "recorded": accuracy,
        "file_on_scored": accuracy,
        "file_on_test": accuracy,
        "file_differs_by": 0,
        "test_note": "read once, after the last epoch of this training, after the selection",
        "last_epoch_train": result.curve[-1].train_accuracy,
        "last_epoch_scored": accuracy,
    }
    assert (len(source.curve), card["epochs"]) == (1, 3)
    assert card["data"]["n_images"] == {"train": len(data.train), "test": len(data.test)}
    readme = " ".join((tmp_path / "winner" / "README.md").read_text().split())
    assert f"{accuracy:.2%} on the test set after epoch 3, the last, seed 1. Selected on val" in readme
    assert "trained again on all training images" in readme
    assert "for this export" not in readme


@pytest.mark.parametrize("name", ["README.md", "model.py", "card.json"])
def test_every_text_says_selected_on_test(name: str, source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    export_model(source, data, tmp_path / "winner")
    assert "Selected on test" in (tmp_path / "winner" / name).read_text()


def test_the_card_holds_the_mistakes(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    card = export_model(source, data, tmp_path / "winner")
    confusion = torch.tensor(card["mistakes"]["confusion"])
    n_correct = confusion.diag()
    assert sum(n_correct.tolist()) / len(data.test) == card["accuracy"]["file_on_test"]
    assert list(card["class_accuracies"].values()) == pytest.approx((n_correct / confusion.sum(1)).tolist())
    first = card["confusions"][0]
    mistakes = confusion - torch.diag(n_correct)
    assert (first["n"], int(mistakes[int(first["shown"]), int(first["taken_for"])])) == (int(mistakes.max()),) * 2
    readme = (tmp_path / "winner" / "README.md").read_text()
    assert f"| 3 | {card['class_accuracies']['3']:.2%} |" in readme
    assert f"{first['shown']} for {first['taken_for']} ({first['n']})" in readme
    assert data.terms in readme


def test_a_class_without_images_has_no_accuracy(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    is_kept = data.test.labels != 3
    fewer = replace(data, test=data.test.take(is_kept.nonzero().flatten()))
    model = build_model(SPEC)
    model.load_state_dict(source.state)
    accuracy = evaluate(model, fewer.test, fewer)
    curve = (*source.curve[:-1], {**source.curve[-1], "accuracy": accuracy})
    card = export_model(replace(source, accuracy=accuracy, curve=curve), fewer, tmp_path / "winner")
    assert card["class_accuracies"]["3"] is None
    assert "| 3 | no image |" in (tmp_path / "winner" / "README.md").read_text()


def test_the_name_of_a_class_does_not_break_the_table(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    classes = ("a|b", *data.classes[1:])
    export_model(source, replace(data, classes=classes), tmp_path / "winner")
    assert "\n| a\\|b | " in (tmp_path / "winner" / "README.md").read_text()


def test_a_hand_designed_network_is_not_described_as_searched(
    source: ModelSource, data: Dataset, tmp_path: Path
) -> None:
    hand_designed = replace(source, trial=None, network="s004_net3", n_trainings=3, confirmation=None)
    export_model(hand_designed, data, tmp_path / "model")
    for name in ("README.md", "model.py", "card.json"):
        text = " ".join((tmp_path / "model" / name).read_text().split())
        assert (
            "Designed by hand, not searched; of 3 trainings that differ by their seed the one with the median" in text
        )
        assert "selected on test" not in text.lower()
    assert (
        "(s004_net3), designed by hand; trained on digits for 3 epochs."
        in (tmp_path / "model" / "model.py").read_text()
    )
