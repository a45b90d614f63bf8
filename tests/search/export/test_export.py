from __future__ import annotations

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
from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.engine.train import TrainResult, evaluate
from search.errors import InputError
from search.export.export import ExportMismatchError, ModelSource, export_model, max_differing
from search.export.latency import Latencies
from tests.search.digits_export import FILES, SPEC, contents, source_of, train_network

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


def run_isolated(folder: Path, *arguments: str) -> str:
    """Run Python in the folder without access to this project, and return its output."""
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


def test_an_export_says_what_it_writes(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    lines: list[str] = []
    export_model(source, data, tmp_path / "winner", ["safetensors"], announce=lines.append)
    n_images = len(data.test)
    assert lines == [
        f"writing model.py and weights.pt, and scoring them on {n_images} images",
        f"writing safetensors, and comparing it with the network on {n_images} test images",
    ]


def test_a_view_is_saved_without_the_rest_of_its_storage(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    views = {name: torch.stack([tensor] * 50)[7] for name, tensor in source.state.items()}
    export_model(source, data, tmp_path / "plain")
    export_model(replace(source, state=views), data, tmp_path / "views")
    assert (tmp_path / "views" / "weights.pt").read_bytes() == (tmp_path / "plain" / "weights.pt").read_bytes()


@pytest.mark.slow
def test_files_run_without_this_project(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    export_model(source, data, tmp_path / "winner")
    assert "Tells 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 apart." in run_isolated(tmp_path / "winner", "model.py")
    (tmp_path / "copy").mkdir()
    for name in ("model.py", "weights.pt"):
        shutil.copy(tmp_path / "winner" / name, tmp_path / "copy")
    example = python_examples(tmp_path / "winner" / "README.md")[0]
    torch.save((data.test.images, data.test.labels), tmp_path / "digits.pt")
    code = (
        f"{example}\nimages, labels = torch.load('../digits.pt')\n"
        "print(model.accuracy(model.load(), images, labels), 'models' in sys.modules, 'search' in sys.modules)"
    )
    prediction, accuracy = run_isolated(tmp_path / "copy", "-c", code).splitlines()
    assert re.fullmatch(r"\['\d'\]", prediction)
    assert accuracy == f"{source.accuracy!r} False False"


def test_earlier_export_is_replaced(
    source: ModelSource, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "winner").mkdir()  # an empty folder may be replaced
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

    def interrupt(old: Path, new: Path) -> None:
        if Path(old).name == "new":
            raise KeyboardInterrupt
        rename(old, new)

    monkeypatch.setattr(os, "rename", interrupt)
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
def test_a_mismatch_is_detected(score: str, trained: TrainResult, data: Dataset, tmp_path: Path) -> None:
    source = source_of(trained, score)
    words = rf"reach {source.state_accuracy:.4%} on test, recorded was .*: 2 of 359 images are more than"
    with pytest.raises(ExportMismatchError, match=words):
        export_model(recorded_with_fewer(source, 2), data, tmp_path / "winner")


def recorded_with_fewer(source: ModelSource, n_images: int) -> ModelSource:
    """Return the source with so many of the 359 test images less recorded as right."""
    accuracy = source.state_accuracy - n_images / 359
    return replace(source, accuracy=accuracy, curve=(*source.curve[:-1], {**source.curve[-1], "accuracy": accuracy}))


def test_what_another_processor_rounds_differently_is_said(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    assert [max_differing(n) for n in (10, 359, 10_000, 60_000)] == [1, 1, 5, 30]
    card = export_model(recorded_with_fewer(source, 1), data, tmp_path / "winner")
    assert card["accuracy"]["file_differs_by"] == 1
    assert card["accuracy"]["file_on_scored"] - card["accuracy"]["recorded"] == pytest.approx(1 / 359)
    assert f"the files reach {source.state_accuracy:.2%} on the test set, 1 of the images" in " ".join(
        (tmp_path / "winner" / "README.md").read_text().split()
    )


def test_other_weights_are_a_mismatch(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    state = {name: torch.zeros_like(tensor) for name, tensor in source.state.items()}
    with pytest.raises(ExportMismatchError):
        export_model(replace(source, state=state), data, tmp_path / "winner")


@pytest.mark.parametrize("name", ["notes.txt", "folder/notes.txt"])
def test_a_folder_that_is_no_export_is_not_replaced(
    name: str, source: ModelSource, data: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("weeks of work")
    with pytest.raises(InputError, match="exists and is not an exported model"):
        export_model(source, data, tmp_path / Path(name).parts[0], force=True)
    assert path.read_text() == "weeks of work"


def test_a_folder_that_cannot_be_written(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_training_is_repeated_from_the_card(data: Dataset, tmp_path: Path) -> None:
    """The example in the README repeats the training, run from the folder of this project."""
    source = replace(source_of(train_network(data)), confirmation=None)
    card = export_model(source, data, tmp_path / "winner")
    example = python_examples(tmp_path / "winner" / "README.md")[-1]
    root = Path(__file__).parents[3]
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, '')\n{example}",
        tmp_path / "winner" / "card.json",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", f"{card['accuracy']['recorded']!r}\n")


def test_two_exports_have_the_same_texts(source: ModelSource, data: Dataset, tmp_path: Path) -> None:
    latencies = Latencies(tmp_path / "latencies.json")
    for name in ("first", "second"):
        export_model(source, data, tmp_path / name, latencies=latencies)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
