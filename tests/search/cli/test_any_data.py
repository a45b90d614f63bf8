"""A search on a folder of colour images from end to end, and one under four limits, through the command line."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from benchmarks.signs import HEIGHT, SHARES, WIDTH, draw_folder, draw_sign
from search.cli.main import main
from search.storage.open import open_storage
from search.study.study import load_study

LIMITS = ["--budget", "2k", "--max-macs", "600k", "--max-memory", "32KiB", "--max-weights-bytes", "2KiB"]
LIMITS += ["--bytes-in", "int8", "--min-rf", "10"]
SHORT = ["--epochs", "1", "--jobs", "1", "--confirm", "none", "--score", "best"]
STUDY = ["--study", "signs", "--metric", "balanced_accuracy", "--augment", "mirror", "--no-augment", "shear"]


def search(folder: str, n_trials: int = 2) -> list[str]:
    return ["--dataset", f"folder:{folder}", "--trials", str(n_trials), *LIMITS, *SHORT, *STUDY, "--confirm", "1:1"]


@dataclass(frozen=True)
class Signs:
    """Where the images and the studies lie, and what a finished search left there."""

    root: Path

    @property
    def study(self) -> Path:
        return self.root / "studies" / "signs"

    @property
    def card(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.study / "winner" / "card.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Signs:
    root = tmp_path_factory.mktemp("signs")
    draw_folder(root / "signs", n_commonest=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(search("signs")) == 0
    return Signs(root)


@pytest.fixture
def moved(signs: Signs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of all of it, from where one works; its images under another name, the old ones out of sight."""
    shutil.copytree(signs.root, tmp_path / "here")
    (tmp_path / "here" / "signs").rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "here")
    images, hidden = signs.root / "signs", signs.root / "hidden"
    images.rename(hidden)
    yield tmp_path
    hidden.rename(images)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.slow
def test_the_card_holds_the_data_the_metric_and_every_limit(signs: Signs) -> None:
    card = signs.card
    assert card["arch"]["input_shape"] == [3, HEIGHT, WIDTH]
    assert (card["data"]["name"], card["data"]["classes"]) == ("folder:signs", list(SHARES))
    assert len(card["data"]["mean"]) == 3
    assert card["recipe"]["augmentation"]["mirror_p"] == 0.5
    assert card["recipe"]["augmentation"]["shear"] == 0
    met = card["limits_met"]
    assert met.keys() == {"max_params", "max_macs", "max_memory", "max_weights_bytes", "min_rf"}
    assert met["max_weights_bytes"]["bound"] == 2048
    assert met["max_weights_bytes"]["value"] == card["cost"]["n_params"]
    assert met["min_rf"]["slack"] == card["cost"]["feature_receptive_field"] - 10
    assert all(one["slack"] >= 0 for one in met.values())
    accuracy = card["accuracy"]
    assert accuracy["metric"] == "balanced_accuracy"
    assert accuracy["recorded"] == accuracy["balanced_on_test"]
    shares = [share for share in card["class_accuracies"].values() if share is not None]
    assert accuracy["balanced_on_scored"] == pytest.approx(sum(shares) / len(shares))
    text = (signs.study / "winner" / "README.md").read_text(encoding="utf-8")
    assert f"| bytes of weights in int8 | 2,048 | {card['cost']['n_params']:,} |" in text
    assert "balanced accuracy on the test set" in text


@pytest.mark.slow
def test_the_report_calls_the_metric_by_its_name(signs: Signs) -> None:
    report = (signs.study / "report.md").read_text(encoding="utf-8")
    assert "Value of a trial: balanced accuracy after the only epoch" in report
    assert "| rank | trial | balanced accuracy | accuracy | parameters |" in report
    assert "| trial | balanced accuracy |" in report
    assert re.search(r"\| balanced accuracy \| .* %, mean of 1 fresh seed .* on the test set", report)
    assert re.search(r"\| accuracy \| .* %, mean of the same trainings \|", report)
    assert "Balanced accuracy is the mean over the classes" in report
    assert "None of them takes these images." in report
    assert "--augment mirror --no-augment shear" in report
    assert f"--dataset folder:{signs.root / 'signs'}" in report
    assert "--image-size 32x40" in report
    assert "Balanced accuracy against size" in (signs.study / "report.html").read_text(encoding="utf-8")
    table = pd.read_csv(signs.study / "trials.csv")
    trained = table[table.outcome == "finished"]
    assert len(trained) == 2
    assert (trained.value == trained.last_balanced_accuracy).all()
    assert trained.last_accuracy.notna().all()
    study = load_study(open_storage(f"sqlite:///{signs.root}/studies/studies.db"), "signs")
    assert study.user_attrs["settings"]["dataset"] == "folder"
    assert study.metric_names == ["balanced_accuracy"]


def run_alone(folder: Path, *arguments: str) -> str:
    """model.py without this project."""
    command = [sys.executable, "-I", "-W", "error", "model.py", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_the_exported_file_classifies_new_pictures_in_an_empty_folder(signs: Signs, tmp_path: Path) -> None:
    for name in ("model.py", "weights.pt"):
        shutil.copy(signs.study / "winner" / name, tmp_path)
    new = draw_sign("star", random.Random(77))
    new.save(tmp_path / "new.png")
    new.resize((300, 200)).save(tmp_path / "large.jpg")
    new.convert("L").save(tmp_path / "grey.bmp")
    lines = run_alone(tmp_path, "new.png", "large.jpg", "grey.bmp").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["new.png", "large.jpg", "grey.bmp"]
    assert all(line.split()[1] in SHARES for line in lines)
    assert (len(SHARES), "6 classes") == (6, f"{len(signs.card['data']['classes'])} classes")


@pytest.mark.slow
def test_the_exported_file_reads_pictures_as_the_training_did(signs: Signs, tmp_path: Path) -> None:
    """Of images in the folder it has the accuracy that its card states of the split they were in."""
    from search.config import DataConfig
    from search.data.load import load_dataset

    data = load_dataset(DataConfig.named(f"folder:{signs.root / 'signs'}", ""))
    for number, (image, label) in enumerate(zip(data.test.images, data.test.labels, strict=True)):
        folder = tmp_path / "test" / data.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    for name in ("model.py", "weights.pt"):
        shutil.copy(signs.study / "winner" / name, tmp_path)
    stated = f"{signs.card['accuracy']['file_on_test']:.2%} of {len(data.test):,} "
    assert run_alone(tmp_path, "--test", "test").startswith(f"{stated}images: all images in test (")
    assert run_alone(tmp_path, "--test", str(signs.root / "signs")).startswith(f"{stated}test images: one in 5 of the ")


@pytest.mark.slow
def test_other_formats_take_colour_images_of_this_shape(
    signs: Signs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(signs.root)
    out = tmp_path / "all"
    assert main(["export", "signs", "--format", "pt2,c", "--out", str(out)]) == 0
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert list(card["formats"]) == ["torch", "pt2", "c"]
    assert card["formats"]["pt2"]["test_accuracy"] == card["accuracy"]["file_on_test"]
    assert "test_balanced_accuracy" in card["formats"]["c"]


# --- where the images lie is no setting -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_goes_on_where_its_images_were_moved(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(search(str(moved / "elsewhere"))) == 0
    out, err = capsys.readouterr()
    assert "2 done" in out
    assert err == ""
    assert main(["export", "signs", "--out", str(moved / "again")]) == 0  # it remembers where they lie now


@pytest.mark.slow
def test_report_and_export_from_another_folder(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "signs"]) == 0
    assert "folder:signs, at most 2,000 parameters" in capsys.readouterr().out
    assert main(["export", "signs", "--out", "again"]) == 2
    assert "are not in" in (line := one_line(capsys))
    assert "any more; say where they are now: --data-dir PATH" in line
    assert main(["export", "signs", "--out", "again", "--data-dir", str(moved / "elsewhere")]) == 0
    assert (moved / "here" / "again" / "model.py").is_file()


@pytest.mark.slow
def test_other_images_are_not_taken_for_those_of_the_study(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_sign("star", random.Random(5)).save(moved / "elsewhere" / "star" / "0000.png")
    assert main(["export", "signs", "--out", "again", "--data-dir", str(moved / "elsewhere")]) == 2
    assert "holds other images than folder:signs had" in one_line(capsys)
    assert main(search(str(moved / "elsewhere"))) == 2
    assert "study 'signs' was made with other settings: data_checksum" in one_line(capsys)


@pytest.mark.slow
def test_the_share_that_fits_is_of_these_images(signs: Signs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "--dataset", f"folder:{signs.root / 'signs'}", "--image-size", "20x16"]) == 0
    assert "images                        3x20x16, 6 classes (folder:signs)" in capsys.readouterr().out
    assert main(["space", "--dataset", "cifar100"]) == 0
    assert "images                        3x32x32, 100 classes (cifar100)" in capsys.readouterr().out


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_digits_under_four_limits_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    limits = [
        "--budget",
        "3k",
        "--max-macs",
        "300k",
        "--max-memory",
        "16KiB",
        "--min-rf",
        "12",
        "--max-latency",
        "1000ms",
    ]
    assert main(["--dataset", "digits", "--trials", "2", *limits, "--max-latency", "1000ms", *SHORT]) == 0
    card = json.loads((tmp_path / "studies" / "digits-3000" / "winner" / "card.json").read_text())
    met = card["limits_met"]
    assert met.keys() == {"max_params", "max_macs", "max_memory", "min_rf", "max_latency"}
    assert all(one["slack"] >= 0 for one in met.values())
    assert met["max_memory"] == {
        "bound": 16384,
        "value": card["cost"]["peak_activation_bytes"],
        "slack": 16384 - card["cost"]["peak_activation_bytes"],
        "of": "bytes of activations in float32",
    }
    assert "balanced" not in capsys.readouterr().out
    assert "balanced_on_test" not in card["accuracy"]
