"""The study that comes with the repository: complete, readable without training, and true on the real MNIST."""

import importlib.util
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from models.spec import ArchSpec
from search.cli import main
from search.config import DataConfig
from search.data import load_dataset
from search.study import load_study, open_storage
from search.trials import FINISHED, TRAINED, ranked, read_trials

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
    best = ranked(records)[0]
    card = json.loads((folder / "winner" / "card.json").read_text())
    assert (card["trial"], card["accuracy"]["recorded"]) == (best.number, best.value)
    assert best.value >= 0.994
    assert best.n_params <= 8000


def test_its_report_needs_no_training(reference, monkeypatch, capsys):
    monkeypatch.chdir(reference)
    written = (REFERENCE / "report.md").read_text()
    assert main(["report", "reference"]) == 0
    assert "s004_net3" in capsys.readouterr().out
    assert (reference / "studies" / "reference" / "report.md").read_text() == written


@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason="no MNIST in ../shared/data")
def test_its_winner_scores_on_mnist_exactly_what_its_card_says():
    winner = REFERENCE / "winner"
    card = json.loads((winner / "card.json").read_text())
    spec = importlib.util.spec_from_file_location("reference_winner", winner / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = load_dataset(DataConfig("mnist", str(MNIST)))
    net = module.load()
    assert sum(parameter.numel() for parameter in net.parameters()) == card["cost"]["n_params"]
    assert module.accuracy(net, data.test.images, data.test.labels) == card["accuracy"]["file_on_test"]
    assert ArchSpec.from_dict(card["arch"]).n_classes == 10
    shutil.rmtree(winner / "__pycache__", ignore_errors=True)
