"""`search.py baselines` as its user runs it, on the embedded digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import space
from models.baselines import BASELINES
from search.cli.main import main
from search.storage.open import open_storage
from search.study.study import load_study
from tests.search.tiny_mnist import write_files

NAME = "s004_net3"
ARGUMENTS = ("baselines", NAME, "--dataset", "digits", "--seeds", "1", "--jobs", "1")


def values(folder: Path) -> dict[str, float]:
    """Accuracy by purpose."""
    study = load_study(open_storage(f"sqlite:///{folder}/studies/studies.db"), "baselines")
    return {trial.user_attrs["repeat"]["purpose"]: trial.value or 0.0 for trial in study.trials}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network, trained by its own recipe and by the search's default one."""
    folder = tmp_path_factory.mktemp("baselines")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(list(ARGUMENTS)) == 0
    return folder


@pytest.mark.slow
def test_own_and_common_recipe_are_trained_and_kept(trained: Path) -> None:
    data = json.loads((trained / "studies" / "baselines" / "results.json").read_text())
    own = next(one for one in data["own_recipes"] if one["id"] == NAME)
    common = next(one for one in data["common_recipe"] if one["id"] == NAME)
    assert values(trained) == {"own recipe": own["last"]["mean"], "common recipe": common["last"]["mean"]}
    assert own["settings"] == BASELINES[NAME].recipes["sgd_constant"].to_dict()
    assert common["recipe"] == "the search's default"
    (curve,) = own["curves"]
    assert (len(curve), curve[-1], max(curve)) == (15, own["last"]["mean"], own["best"]["mean"])
    assert own["last"]["mean"] > 0.9


@pytest.mark.slow
def test_again_trains_nothing_and_reports_the_same(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setattr("search.study.training.train", lambda *_args, **_options: pytest.fail("trained again"))
    folder = trained / "studies" / "baselines"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert set(before) >= {"report.md", "results.json", "stated.svg"}
    for arguments in (ARGUMENTS, ("report", "baselines")):
        capsys.readouterr()
        assert main(list(arguments)) == 0
        shown = capsys.readouterr().out
        assert "Trained on digits: the accuracies that the authors state are of MNIST" in " ".join(shown.split())
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_the_recipe_of_a_winner(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = space.assemble(space.DEFAULTS | {"sgd.lr": 0.1}).recipe
    card = trained / "studies" / "mine" / "winner" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"study": "mine", "trial": 3, "recipe": recipe.to_dict() | {"epochs": 1}}))
    monkeypatch.chdir(trained)
    assert main([*ARGUMENTS, "--recipe-of", "mine", "--study", "other"]) == 0
    data = json.loads((trained / "studies" / "other" / "results.json").read_text())
    assert {one["recipe"] for one in data["common_recipe"]} == {"mine, trial 3"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("s004_net9",), "unknown hand-designed network 's004_net9'; the known ones are s000_net"),
        (("--dataset", "letters"), "unknown data set 'letters'"),
        (("--seeds", "0"), "must be a whole number of at least 1, got '0'"),
        (("--recipe-of", "broken"), "holds no recipe"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = tmp_path / "studies" / "broken" / "winner" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    try:
        status = main(["baselines", "--dataset", "digits", *arguments])
    except SystemExit as error:
        status = int(error.code or 0)
    error_line = capsys.readouterr().err
    assert (status, error_line.count("\n")) == (2, 1)
    assert message in error_line


@pytest.mark.slow
def test_a_trained_one_is_exported(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(trained)
    assert main(["export", "baselines", "--network", NAME, "--out", str(tmp_path / "it")]) == 0
    card = json.loads((tmp_path / "it" / "card.json").read_text())
    assert card["accuracy"]["recorded"] == max(values(trained).values())
    assert card["arch"] == json.loads(json.dumps(card["arch"])) != {}
    assert "designed by hand" in (tmp_path / "it" / "model.py").read_text()
    for arguments, message in (
        (["--network", "s000_net"], "name one that was trained with --network (s004_net3), got 's000_net'"),
        ([], "name one that was trained with --network (s004_net3), got None"),
    ):
        capsys.readouterr()
        assert main(["export", "baselines", *arguments]) == 2
        err = capsys.readouterr().err
        assert (message in err, err.count("\n")) == (True, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_mnist")
def test_the_directory_of_the_data_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    write_files(tmp_path / "kept")
    assert main(["baselines", NAME, "--data-dir", "kept", "--seeds", "1", "--jobs", "1"]) == 0
    assert main(["export", "baselines", "--network", NAME]) == 0
    assert main(["rerun", "baselines", "--trial", "0"]) == 0
    assert capsys.readouterr().out.endswith("again: the same\n")
