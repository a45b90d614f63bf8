"""Test the export command on a finished search of the embedded digits."""

import json
import secrets
import shutil

import pytest

from search.study.trials import FINISHED
from tests.search.digits_runs import DIGITS, N_TRIALS, trials


def test_export_of_another_trial(finished, tmp_path, inside):
    folder, _ = finished
    finals = [t for t in trials(folder, "digits-8000") if t.user_attrs.get("outcome") == FINISHED]
    other = min(finals, key=lambda trial: trial.value)
    status, _, err = inside(folder, "export", "digits-8000", "--trial", other.number, "--out", tmp_path / "other")
    assert (status, err) == (0, "")
    card = json.loads((tmp_path / "other" / "card.json").read_text())
    assert (card["trial"], card["accuracy"]["file_on_test"]) == (other.number, other.value)
    status, _, err = inside(folder, "export", "digits-8000", "--trial", 999)
    assert (status, err.count("\n")) == (2, 1)
    assert "trial 999 is not a finished one" in err


def exported(inside, folder, *arguments):
    """Run `export` with further arguments and return its card, or its error message of one line."""
    target = folder / "studies" / f"copy-{secrets.token_hex(4)}"
    status, _, err = inside(folder, "export", "digits-8000", "--out", target, *arguments)
    if status:
        assert (status, err.count("\n"), target.exists()) == (2, 1, False)
        return err
    return json.loads((target / "card.json").read_text())


def test_export_of_the_best_within_a_budget(finished, inside):
    folder, _ = finished
    finals = [t for t in trials(folder, "digits-8000") if t.user_attrs.get("outcome") == FINISHED]
    sizes = sorted(trial.user_attrs["n_params"] for trial in finals)
    best = max(finals, key=lambda trial: trial.value)
    assert exported(inside, folder, "--budget", best.user_attrs["n_params"])["trial"] == best.number
    smallest = exported(inside, folder, "--budget", f"{sizes[0]}")
    assert smallest["cost"]["n_params"] == sizes[0]
    assert "has at most 10 parameters" in exported(inside, folder, "--budget", 10)


def test_export_of_a_hand_designed_network_that_was_trained(finished, inside):
    folder, _ = finished
    card = exported(inside, folder, "--network", "s004_net3")
    records = {t.number: t for t in trials(folder, "digits-8000")}
    assert records[card["trial"]].user_attrs["baseline"] == "s004_net3"
    assert "no finished training of 's000_net'" in exported(inside, folder, "--network", "s000_net")


@pytest.mark.slow
def test_an_export_is_replaced_only_with_force(finished, inside):
    folder, _ = finished
    target = folder / "studies" / "digits-8000" / "winner"
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    status, _, err = inside(folder, "export", "digits-8000")
    assert (status, "winner exists; replace it with --force" in err) == (2, True)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    status, _, err = inside(folder, "export", "digits-8000", "--force", "--format", "pt2")
    assert (status, err) == (0, "")
    assert {path.name for path in target.iterdir()} == {*before, "model.pt2"}
    # The report of the study exports nothing, and a search that is continued exports the same formats again.
    assert inside(folder, "report", "digits-8000")[0] == 0
    assert (target / "model.pt2").is_file()
    assert inside(folder, "--budget", 8000, "--trials", N_TRIALS, "--jobs", 1, *DIGITS)[0] == 0
    assert {path.name for path in target.iterdir()} == {*before, "model.pt2"}


def test_the_winner_can_be_exported_from_its_files_alone(finished, inside, tmp_path):
    """A copy of the study may contain winner/ but not the weights of the trials."""
    folder, _ = finished
    shutil.copytree(folder / "studies", tmp_path / "studies")
    shutil.rmtree(tmp_path / "studies" / "digits-8000" / "weights")
    card = exported(inside, tmp_path)
    original = json.loads((tmp_path / "studies" / "digits-8000" / "winner" / "card.json").read_text())
    assert card["sha256"] == original["sha256"]
    another = next(t.number for t in trials(tmp_path, "digits-8000") if t.value and t.number != card["trial"])
    again = ("rerun", "digits-8000", "--trial", another)
    missing = exported(inside, tmp_path, "--trial", another)
    assert "cannot read the weights file" in missing
    assert f"`search.py {' '.join(map(str, again))}`" in missing
    status, out, err = inside(tmp_path, *again)
    assert (status, err) == (0, "")
    assert "its weights are saved again: studies/digits-8000/weights" in out
    assert exported(inside, tmp_path, "--trial", another)["trial"] == another


def test_a_damaged_latency_file_is_named(finished, inside, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "studies", tmp_path / "studies")
    for content in ("{", "[1]", '{"a": 1}'):
        (tmp_path / "studies" / "digits-8000" / "latencies.json").write_text(content)
        assert "latencies.json is damaged" in exported(inside, tmp_path)
