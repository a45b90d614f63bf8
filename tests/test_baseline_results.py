"""The hand-designed networks trained again, as they come with the repository: complete, readable without training."""

import json
import shutil
from pathlib import Path

import pytest

from models.baselines import BASELINES, baselines_for
from models.cost import compute_cost
from search.cli.main import main
from search.evidence.reproduction import ABOVE, BELOW, HOLDS

RESULTS = Path(__file__).resolve().parents[1] / "studies" / "baselines"
NAMES = set(baselines_for((1, 28, 28), 10))  # those of MNIST


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A copy: SQLite writes beside a database even to read it."""
    shutil.copytree(RESULTS, tmp_path / "studies" / "baselines")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "studies" / "baselines"


def test_every_network_was_trained_by_every_recipe_often_enough():
    data = json.loads((RESULTS / "results.json").read_text())
    own, common = data["own_recipes"], data["common_recipe"]
    assert {(one["id"], one["recipe"]) for one in own} == {
        (name, recipe) for name in NAMES for recipe in BASELINES[name].recipes
    }
    assert {one["id"] for one in common} == NAMES
    for one in (*own, *common):
        baseline = BASELINES[one["id"]]
        n_params = compute_cost(baseline.spec).n_params
        assert one["n_params"] == n_params
        assert one["last"]["n"] >= (3 if n_params <= 8000 else 1)
    for one in own:
        assert one["verdict"] in (HOLDS, ABOVE, BELOW)
        epochs = BASELINES[one["id"]].recipes[one["recipe"]].epochs
        assert [len(curve) for curve in one["curves"]] == [epochs] * one["last"]["n"]
        last = [curve[-1] for curve in one["curves"]]
        assert one["last"]["mean"] == pytest.approx(sum(last) / len(last))


def test_the_report_needs_no_training(results, capsys):
    written = {name: (results / name).read_bytes() for name in ("report.md", "results.json", "stated.svg")}
    assert main(["report", "baselines"]) == 0
    shown = capsys.readouterr().out
    assert "not run" not in shown
    assert all(shown.count(f"\n{name} ") == len(BASELINES[name].recipes) + 1 for name in NAMES)
    assert {name: (results / name).read_bytes() for name in written} == written
