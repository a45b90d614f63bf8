"""The list of the studies, `report --json`, `describe` of a study, and how a missing study is answered."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from search.cli.main import main
from search.storage.open import open_storage

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the studies of the repository, read through a link."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    for path in (ROOT / "studies").glob("*/study.db"):
        folder = tmp_path / "studies" / path.parent.name
        folder.mkdir()
        (folder / path.name).write_bytes(path.read_bytes())
    card = tmp_path / "studies" / "reference" / "winner" / "card.json"
    card.parent.mkdir()
    card.write_bytes((ROOT / "studies" / "reference" / "winner" / "card.json").read_bytes())
    return tmp_path


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
def test_studies_are_listed_with_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["study"]: row for row in json.loads(output(capsys, "studies", "--json"))}
    assert list(rows) == [
        *("baselines", "evolve", "reference", "reference-1000", "reference-2000", "reference-4000", "reference-6000"),
        "tpe",
    ]
    reference = rows["reference"]
    assert (reference["data"], reference["budget"], reference["trials"]) == ("mnist", 8000, 101)
    assert (reference["best"], reference["n_confirmed"]) == (0.9966, 10)
    assert reference["confirmed"] == pytest.approx(0.99619)
    assert (rows["baselines"]["kind"], rows["baselines"]["budget"], rows["baselines"]["trials"]) == (
        "baselines",
        None,
        52,
    )
    assert rows["reference-2000"]["storage"].endswith("reference-frontier/study.db")
    table = output(capsys, "studies").splitlines()
    assert table[0].split() == ["study", "data", "budget", "trials", "best", "confirmed", "n", "storage"]
    assert " ".join(table[3].split()).startswith("reference mnist 8,000 101 99.66 % 99.62 % 10 sqlite:///")


def test_a_folder_without_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert output(capsys, "studies") == "there is no study in studies yet\n"
    assert json.loads(output(capsys, "studies", "--json")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_reported_beside_the_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    damaged = tmp_path / "studies" / "damaged" / "study.db"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes((ROOT / "studies" / "tpe" / "study.db").read_bytes()[:5000])
    words = "studies/damaged/study.db); it is damaged; restore it from a copy\n"
    assert main(["studies"]) == 2
    listed = capsys.readouterr()
    assert listed.out == ""
    assert listed.err.endswith(words)
    optuna.create_study(storage=open_storage("sqlite:///studies/studies.db"), study_name="of another program")
    (row,) = json.loads(output(capsys, "studies", "--json"))
    assert (row["study"], row["kind"], row["trials"]) == ("of another program", None, 0)
    assert main(["studies"]) == 0
    listed = capsys.readouterr()
    assert listed.out.splitlines()[1].startswith("of another program")
    assert listed.err.endswith(words)
    assert listed.err.count("\n") == 1


def test_a_study_in_the_write_ahead_log_of_a_running_search_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    storage = open_storage("sqlite:///studies/studies.db")
    optuna.create_study(storage=storage, study_name="running")
    assert (tmp_path / "studies" / "studies.db-wal").stat().st_size
    (row,) = json.loads(output(capsys, "studies", "--json"))
    assert row["study"] == "running"


def test_the_figures_of_a_report_are_those_of_the_card(tracked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = json.loads(output(capsys, "report", "reference", "--json"))
    card = json.loads((ROOT / "studies" / "reference" / "winner" / "card.json").read_text())
    assert {name: figures[name] for name in card} == card
    assert figures["counts"]["feasible"] == 101
    other = json.loads(output(capsys, "report", "tpe", "--json"))
    assert {
        "study",
        "trial",
        "cost",
        "limits",
        "limits_met",
        "accuracy",
        "confirmation",
        "arch",
        "recipe",
    } <= other.keys()
    assert other["cost"]["n_params"] <= other["limits"]["max_params"] == 8000
    networks = json.loads(output(capsys, "report", "baselines", "--json"))
    assert networks == json.loads((ROOT / "studies" / "baselines" / "results.json").read_text())
    assert not (tracked / "studies" / "reference" / "report.md").exists()


@pytest.mark.parametrize(
    ("arguments", "trial", "n_params"),
    [(["reference"], "trial 144 (the winner)", 7895), (["reference-2000", "--trial", "0"], "trial 0", None)],
)
@pytest.mark.usefixtures("tracked")
def test_a_network_of_a_study_is_described(
    capsys: pytest.CaptureFixture[str], arguments: list[str], trial: str, n_params: int | None
) -> None:
    described = json.loads(output(capsys, "describe", *arguments, "--json"))
    assert described["network"] == f"{arguments[0]}, {trial}"
    assert n_params in (None, described["n_params"])
    table = output(capsys, "describe", *arguments)
    assert table.startswith(f"{arguments[0]}, {trial}: {described['architecture']}\n\nlayer ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "refrence"], "no study 'refrence' here; the nearest is 'reference'; there are: baselines, evolve,"),
        (["report", "refrence"], "reference-6000, tpe\n"),
        (["export", "referense-2000"], "the nearest is 'reference-2000'"),
        (["null", "studies/tqe"], "no study 'tqe' here; the nearest is 'tpe'"),
        (["describe", "refrence"], "the networks are s000_net"),
        (["describe", "refrence"], "the nearest is 'reference'"),
        (["describe", "reference", "--trial", "100000"], "trial 100000 is not a finished one"),
        (["--budget", "8k", "--warm", "refrence"], "the nearest is 'reference'"),
        (["report", "unlike"], "no study 'unlike' here; there are: baselines"),
    ],
)
@pytest.mark.usefixtures("tracked")
def test_the_nearest_study_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "-repeats" not in error
    assert error.count("\n") == 1
