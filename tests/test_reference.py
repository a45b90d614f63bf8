"""The study that comes with the repository: complete, readable without training, and true on the real MNIST."""

import importlib.util
import json
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.spec import ArchSpec
from search.cli.main import main
from search.config import DataConfig
from search.data.load import load_dataset
from search.engine.confusion import Confusion, confusion_of_state
from search.evidence.confirm import confirmation
from search.evidence.read import repeats_of
from search.export.export import _load_module, max_differing
from search.export.formats.format import Exporting
from search.export.formats.table import FORMATS
from search.export.trained_model import read_weights
from search.storage.open import open_storage
from search.study.load import config_of, load_existing
from search.study.location import StudyLocation
from search.study.study import load_study
from search.study.trials import FINISHED, TRAINED, read_trials

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "studies" / "reference"
MNIST = ROOT.parent / "shared" / "data"


@pytest.fixture
def reference(tmp_path):
    """A copy: SQLite writes beside a database even to read it."""
    shutil.copytree(REFERENCE, tmp_path / "studies" / "reference")
    return tmp_path


def test_it_holds_what_it_should(reference):
    folder = reference / "studies" / "reference"
    with sqlite3.connect(folder / "study.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    study = load_study(open_storage(f"sqlite:///{folder}/study.db"), "reference")
    assert (
        study.user_attrs["settings"] | {"budget": 8000, "dataset": "mnist", "epochs": 15}
        == study.user_attrs["settings"]
    )
    records = read_trials(study.trials)
    assert sum(record.outcome in TRAINED for record in records) >= 20
    in_budget = {"s001_model3", "s002_model1", "s002_model2", "s002_model3", "s004_net3"}
    assert {record.baseline for record in records if record.outcome == FINISHED} >= in_budget


def test_its_winner_is_the_one_that_fresh_seeds_confirmed(reference):
    location = StudyLocation(reference / "studies", "reference")
    study = load_existing(location)
    records = read_trials(study.trials)
    repeats, plan = repeats_of(location)
    assert plan is not None, "nothing was confirmed"
    found = confirmation(plan, records, repeats, config_of(study))
    card = json.loads((location.folder / "winner" / "card.json").read_text())
    assert card["confirmation"] == json.loads(json.dumps(found.facts()))
    assert (card["trial"], card["seed"]) == (found.trial, found.network.repeat.seed)
    assert found.trial in plan.candidates
    accuracy = card["confirmation"]["accuracy"]
    assert accuracy["n"] == plan.n_reported >= 5
    assert accuracy["scored_on"] == "test"
    assert accuracy["mean"] >= 0.994
    # Of five trainings the file is the one in the middle.
    assert card["accuracy"]["file_on_test"] == card["accuracy"]["recorded"] == found.network.value
    assert accuracy["minimum"] <= found.network.value <= accuracy["maximum"]
    assert next(record for record in records if record.number == found.trial).n_params <= 8000


def test_its_report_needs_no_training(reference, monkeypatch, capsys):
    monkeypatch.chdir(reference)
    written = (REFERENCE / "report.md").read_text()
    monkeypatch.setenv("DATA_DIR", str(reference / "no data"))
    assert main(["report", "reference"]) == 0
    said = capsys.readouterr()
    assert "s004_net3" in said.out
    assert said.err == ""
    folder = reference / "studies" / "reference"
    assert (folder / "report.md").read_text() == written
    page = (folder / "report.html").read_text()
    card = json.loads((folder / "winner" / "card.json").read_text())
    assert f"{card['confirmation']['accuracy']['mean']:.2%}".replace("%", " %") in page
    assert page.count("<img ") == len(card["mistakes"]["misread"]) > 0
    # It reads: the database is what it was, and of the dashboard's pictures, which take a minute, there is none.
    before = sqlite3.connect(f"file:{REFERENCE}/study.db?immutable=1", uri=True)
    after = sqlite3.connect(folder / "study.db")
    assert list(after.iterdump()) == list(before.iterdump())
    before.close()
    after.close()
    assert not (reference / "studies" / "artifacts").exists()


def test_its_winner_holds_shared_weights_once_and_says_both_counts():
    winner = REFERENCE / "winner"
    card = json.loads((winner / "card.json").read_text())
    assert (card["cost"]["n_params"], card["cost"]["n_stored"]) == (7895, 22_943)
    assert card["formats"]["safetensors"]["bytes"] < 40_000
    assert card["formats"]["c"]["flash_bytes"] < 16_500
    for file in ("model.py", "model.c", "README.md"):
        text = " ".join((winner / file).read_text(encoding="utf-8").split())
        assert "7,895 parameters, 22,943 counted layer by layer" in text


@pytest.mark.slow
@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason="no MNIST in ../shared/data")
def test_its_winner_scores_on_mnist_what_its_card_says():
    winner = REFERENCE / "winner"
    card = json.loads((winner / "card.json").read_text())
    spec = importlib.util.spec_from_file_location("reference_winner", winner / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = load_dataset(DataConfig("mnist", str(MNIST)))
    net = module.load()
    assert sum(parameter.numel() for parameter in net.parameters()) == card["cost"]["n_params"]
    # Another processor than that of the export may round some answers differently.
    accuracy = module.accuracy(net, data.test.images, data.test.labels)
    assert abs(round(10_000 * (accuracy - card["accuracy"]["file_on_test"]))) <= max_differing(10_000)
    arch = ArchSpec.from_dict(card["arch"])
    confusion = confusion_of_state(arch, read_weights(winner / "weights.pt", arch), data)
    misread, recorded = (
        {image.index for image in mistakes.misread} for mistakes in (confusion, Confusion.from_dict(card["mistakes"]))
    )
    assert len(misread ^ recorded) <= max_differing(10_000)
    shutil.rmtree(winner / "__pycache__", ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason="no MNIST in ../shared/data")
def test_its_winner_scores_the_same_in_every_format():
    winner = REFERENCE / "winner"
    card = json.loads((winner / "card.json").read_text())
    data = load_dataset(DataConfig("mnist", str(MNIST)))
    module = _load_module(winner / "model.py")
    source = SimpleNamespace(arch=ArchSpec.from_dict(card["arch"]))
    for name, form in card["formats"].items():
        answer = FORMATS[name].open(Exporting(source, data, module, winner))
        n_right = sum(
            int((answer(data.test.images[i : i + 100]).argmax(1) == data.test.labels[i : i + 100]).sum())
            for i in range(0, 10_000, 100)
        )
        assert abs(n_right - round(10_000 * form["test_accuracy"])) <= max_differing(10_000), name
        assert form["test_accuracy"] >= card["accuracy"]["file_on_test"] - 0.001
        assert form["bytes"] == sum((winner / file).stat().st_size for file in form["files"])
