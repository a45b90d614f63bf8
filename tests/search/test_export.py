from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.build import build_model
from models.cost import compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig, InputError, RecipeConfig
from search.confirm import Confirmation, Contender
from search.data import Dataset, load_dataset
from search.export import ExportMismatchError, ModelSource, export_model
from search.format_latency import Latencies
from search.repeats import REPORT, Repeat, RepeatResult
from search.statistics import estimate
from search.train import TrainResult, evaluate, train

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ArchSpec(
    input_shape=(1, 28, 28),
    n_classes=10,
    stages=(Stage((Block(4),), pool=3), Stage((Block(6, kind="residual", padding="same", dropout=0.1),), pool=2)),
    head=Head("gap_linear", bias=True),
)
RECIPE = RecipeConfig(epochs=3, batch_size=64, lr=0.3, ema_decay=0.9)
FILES = {"README.md", "card.json", "misread.png", "model.py", "weights.pt"}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset(DataConfig("digits", "data"))


NETWORK = RepeatResult(
    number=3,
    repeat=Repeat(REPORT, 12, 77, "test", SPEC, RECIPE),
    value=0.85,
    misread=(4, 9),
    curve=({"epoch": 3, "train_accuracy": 0.9, "accuracy": 0.85},),
    seconds=1.0,
    precision="float32",
)
CONFIRMED = Confirmation(12, (Contender(12, 0.9, 0.88, None),), estimate([0.84, 0.85, 0.86]), NETWORK, None)


@pytest.fixture(scope="module")
def trained(data: Dataset) -> TrainResult:
    return train_network(data)


def train_network(data: Dataset, epochs: int = 3) -> TrainResult:
    torch.manual_seed(1)
    return train(build_model(SPEC), data, replace(RECIPE, epochs=epochs), seed=1, keep_best=True)


def source_of(result: TrainResult, score: str = "last", select_on: str = "test") -> ModelSource:
    accuracies = [metrics.accuracy for metrics in result.curve]
    return ModelSource(
        study="tiny",
        trial=12,
        arch=SPEC,
        recipe=RECIPE,
        state=result.best_state if score == "best" else result.last_state,
        seed=1,
        score=score,
        scored_on=select_on,
        select_on=select_on,
        accuracy={"last": accuracies[-1], "best": max(accuracies), "last3": sum(accuracies[-3:]) / 3}[score],
        curve=tuple(metrics.to_dict() for metrics in result.curve),
        max_params=8000,
        epochs=3,
        precision="float32",
        confirmation=CONFIRMED,
    )


@pytest.fixture
def source(trained: TrainResult) -> ModelSource:
    return source_of(trained)


def contents(folder: Path) -> dict[str, bytes | None]:
    paths = list(folder.rglob("*"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in paths}


def run_isolated(folder: Path, *arguments: str) -> str:
    """Without this project: nothing but the folder, the interpreter and its packages."""
    command = [sys.executable, "-I", "-W", "error", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python_examples(readme: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", readme.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("score", ["last", "best", "last3"])
def test_written_files_repeat_the_training(score: str, trained: TrainResult, data: Dataset, tmp_path: Path) -> None:
    source = source_of(trained, score)
    card = export_model(source, data, tmp_path / "new" / "winner")
    folder = tmp_path / "new" / "winner"
    assert [path.name for path in folder.parent.iterdir()] == ["winner"]
    assert set(contents(folder)) == FILES
    state = torch.load(folder / "weights.pt", weights_only=True)
    assert all(torch.equal(state.pop(name), tensor) for name, tensor in source.state.items())
    assert state == {}
    assert card == json.loads((folder / "card.json").read_text())
    assert card["accuracy"]["recorded"] == source.accuracy
    model = build_model(SPEC)
    model.load_state_dict(source.state)
    assert card["accuracy"]["file_on_scored"] == card["accuracy"]["file_on_test"] == evaluate(model, data.test, data)


def test_a_view_does_not_drag_its_storage_along(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    views = {name: torch.stack([tensor] * 50)[7] for name, tensor in source.state.items()}
    export_model(source, data, tmp_path / "plain")
    export_model(replace(source, state=views), data, tmp_path / "views")
    assert (tmp_path / "views" / "weights.pt").read_bytes() == (tmp_path / "plain" / "weights.pt").read_bytes()


def test_card(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    card = export_model(source, data, tmp_path / "winner")
    cost = compute_cost(SPEC)
    assert card["cost"] == {
        "n_params": cost.n_params,
        "n_stored": cost.n_params,
        "macs": cost.macs,
        "feature_receptive_field": cost.feature_receptive_field,
        "receptive_field": cost.receptive_field,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "peak_activation_bytes_int8": cost.peak_activation_bytes / 4,
    }
    assert ArchSpec.from_dict(card["arch"]) == SPEC
    assert RecipeConfig.from_dict(card["recipe"]) == RECIPE
    assert card["recipe"]["momentum"] == 0.9, "a default must be in the card"
    assert (card["study"], card["trial"], card["seed"], card["epochs"]) == ("tiny", 12, 1, 3)
    assert card["precision"] == "float32"
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


def test_files_run_without_this_project(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    export_model(source, data, tmp_path / "winner")
    assert "Tells 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 apart." in run_isolated(tmp_path / "winner", "model.py")
    (tmp_path / "elsewhere").mkdir()
    for name in ("model.py", "weights.pt"):
        shutil.copy(tmp_path / "winner" / name, tmp_path / "elsewhere")
    example = python_examples(tmp_path / "winner" / "README.md")[0]
    torch.save((data.test.images, data.test.labels), tmp_path / "digits.pt")
    code = (
        f"{example}\nimages, labels = torch.load('../digits.pt')\n"
        "print(model.accuracy(model.load(), images, labels), 'models' in sys.modules, 'search' in sys.modules)"
    )
    prediction, accuracy = run_isolated(tmp_path / "elsewhere", "-c", code).splitlines()
    assert re.fullmatch(r"\['\d'\]", prediction)
    assert accuracy == f"{source.accuracy!r} False False"


def test_earlier_export_is_replaced(
    source: ModelSource, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "winner").mkdir()  # empty: nobody's work
    usual_mode = (tmp_path / "winner").stat().st_mode
    export_model(source, data, tmp_path / "winner")
    (tmp_path / "winner" / "left over").touch()
    with pytest.raises(InputError, match="winner exists; replace it with --force, or name another folder with --out"):
        export_model(replace(source, trial=None), data, tmp_path / "winner")
    assert (tmp_path / "winner" / "left over").exists()
    card = export_model(replace(source, trial=None), data, tmp_path / "winner", force=True)
    assert card["trial"] is None
    assert set(contents(tmp_path / "winner")) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["winner"]
    assert (tmp_path / "winner").stat().st_mode == usual_mode


def fail_before_card(source: ModelSource, _: pytest.MonkeyPatch) -> ModelSource:
    return replace(source, precision=object())


def fail_at_last_rename(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> ModelSource:
    rename = os.rename

    def interrupted(old: Path, new: Path) -> None:
        if Path(old).name == "new":
            raise KeyboardInterrupt
        rename(old, new)

    monkeypatch.setattr(os, "rename", interrupted)
    return source


def fail_by_mismatch(source: ModelSource, _: pytest.MonkeyPatch) -> ModelSource:
    return replace(source, accuracy=0.5)


@pytest.mark.parametrize("existing", [True, False], ids=["over an export", "fresh"])
@pytest.mark.parametrize(
    ("fail", "error"),
    [
        (fail_before_card, TypeError),
        (fail_at_last_rename, KeyboardInterrupt),
        (fail_by_mismatch, ExportMismatchError),
    ],
)
def test_failed_export_leaves_everything_as_it_was(
    fail: Callable[[ModelSource, pytest.MonkeyPatch], ModelSource],
    error: type[BaseException],
    existing: bool,
    source: ModelSource,
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if existing:
        export_model(source, data, tmp_path / "winner")
    before = contents(tmp_path)
    with pytest.raises(error):
        export_model(replace(fail(source, monkeypatch), trial=13), data, tmp_path / "winner", force=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("score", ["last", "best", "last3"])
def test_mismatch_is_found(score: str, trained: TrainResult, data: Dataset, tmp_path: Path) -> None:
    source = source_of(trained, score)
    other = source.state_accuracy - 1 / len(data.test)  # one image less
    curve = (*source.curve[:-1], {**source.curve[-1], "accuracy": other})
    with pytest.raises(
        ExportMismatchError, match=f"reach {source.state_accuracy:.4%} on test, recorded was {other:.4%}"
    ):
        export_model(replace(source, accuracy=other, curve=curve), data, tmp_path / "winner")


def test_other_weights_are_a_mismatch(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    state = {name: torch.zeros_like(tensor) for name, tensor in source.state.items()}
    with pytest.raises(ExportMismatchError):
        export_model(replace(source, state=state), data, tmp_path / "winner")


@pytest.mark.parametrize("name", ["notes.txt", "folder/notes.txt"])
def test_what_is_not_an_export_is_not_replaced(name: str, source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("weeks of work")
    with pytest.raises(InputError, match="exists and is not an exported model"):
        export_model(source, data, tmp_path / Path(name).parts[0], force=True)
    assert path.read_text() == "weeks of work"


def test_place_that_cannot_be_written(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*winner: "):
        export_model(source, data, tmp_path / "file" / "winner")


def test_data_of_another_network_or_split_is_refused(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scored on val; load digits split for that"):
        export_model(replace(source, select_on="val", scored_on="val"), data, tmp_path / "winner")
    split = load_dataset(DataConfig("digits", "data", select_on="val"))
    with pytest.raises(InputError, match="scored on test; load digits split for that"):
        export_model(replace(source, select_on="val"), split, tmp_path / "winner")
    other = replace(SPEC, n_classes=4)
    with pytest.raises(InputError, match=r"\(1, 28, 28\) and tells 4 classes apart, but digits has .* and 10"):
        export_model(replace(source, arch=other), data, tmp_path / "winner")


def test_what_it_gets_wrong_is_on_the_card(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    card = export_model(source, data, tmp_path / "winner")
    confusion = torch.tensor(card["mistakes"]["confusion"])
    right = confusion.diag()
    assert sum(right.tolist()) / len(data.test) == card["accuracy"]["file_on_test"]
    assert list(card["class_accuracies"].values()) == pytest.approx((right / confusion.sum(1)).tolist())
    first = card["confusions"][0]
    wrong = confusion - torch.diag(right)
    assert (first["n"], int(wrong[int(first["shown"]), int(first["taken_for"])])) == (int(wrong.max()),) * 2
    readme = (tmp_path / "winner" / "README.md").read_text()
    assert f"| 3 | {card['class_accuracies']['3']:.2%} |" in readme
    assert f"{first['shown']} for {first['taken_for']} ({first['n']})" in readme
    assert data.terms in readme


def test_a_class_without_images_is_no_number(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    kept = data.test.labels != 3
    fewer = replace(data, test=data.test.take(kept.nonzero().flatten()))
    model = build_model(SPEC)
    model.load_state_dict(source.state)
    accuracy = evaluate(model, fewer.test, fewer)
    curve = (*source.curve[:-1], {**source.curve[-1], "accuracy": accuracy})
    card = export_model(replace(source, accuracy=accuracy, curve=curve), fewer, tmp_path / "winner")
    assert card["class_accuracies"]["3"] is None
    assert "| 3 | no image |" in (tmp_path / "winner" / "README.md").read_text()


def test_training_is_repeated_from_the_card(data: Dataset, tmp_path: Path) -> None:
    """By the readme's own words, from this project's folder."""
    source = replace(source_of(train_network(data)), confirmation=None)
    card = export_model(source, data, tmp_path / "winner")
    example = python_examples(tmp_path / "winner" / "README.md")[-1]
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, '')\n{example}",
        tmp_path / "winner" / "card.json",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", f"{card['accuracy']['recorded']!r}\n")


def test_exported_twice_the_texts_are_the_same(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    latencies = Latencies(tmp_path / "latencies.json")
    for name in ("first", "second"):
        export_model(source, data, tmp_path / name, latencies=latencies)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_a_hand_designed_network_is_not_said_to_be_searched(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    own = replace(source, trial=None, network="s004_net3", n_trainings=3, confirmation=None)
    export_model(own, data, tmp_path / "it")
    for name in ("README.md", "model.py", "card.json"):
        text = " ".join((tmp_path / "it" / name).read_text().split())
        assert (
            "Designed by hand, not searched; of 3 trainings that differ by their seed the one with the median" in text
        )
        assert "selected on test" not in text.lower()
    assert (
        "(s004_net3), designed by hand; trained on digits for 3 epochs." in (tmp_path / "it" / "model.py").read_text()
    )
