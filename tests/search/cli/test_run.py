"""The main job as its user runs it, on the embedded digits: one study, and what can be done with it afterwards."""

import json
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch

from models.baselines import MNIST_BASELINES
from search.engine.native import kernels
from search.study.trials import FINISHED, TRAINED
from tests.crash.searches import started, suspend_in_training
from tests.search.digits_runs import DIGITS, N_TRIALS, ROOT, decided, in_training, search, trials


def test_a_study_ends_with_report_and_winner(finished):
    folder, done = finished
    assert (done.returncode, done.stderr) == (0, "")
    study = folder / "studies" / "digits-8000"
    assert {path.name for path in study.iterdir()} >= {"config.json", "report.md", "trials.csv", "winner", "weights"}
    assert {path.name for path in (study / "winner").iterdir()} == {
        "model.py",
        "weights.pt",
        "card.json",
        "README.md",
        "misread.png",
    }
    for text in (done.stdout, (study / "report.md").read_text()):
        assert all(name in text for name in MNIST_BASELINES)
        assert "elected on test" in text
    table = pd.read_csv(study / "trials.csv")
    assert table.outcome.isin(TRAINED).sum() == N_TRIALS
    assert set(table.engine.dropna()) == {"torch" if kernels.load() is None else "native"}
    assert set(table.baseline.dropna()) >= {"s001_model3", "s002_model1", "s002_model2", "s002_model3", "s004_net3"}


def test_starting_points_of_the_space_follow_the_hand_designed_networks(finished):
    first = trials(finished[0], "digits-8000")[:8]
    assert all("baseline" in trial.user_attrs for trial in first[:5])
    found = [(trial.user_attrs["start"], trial.user_attrs["n_params"]) for trial in first[5:]]
    assert found == [("separable-sgd", 7452), ("separable-adamw", 7452), ("deep-sgd", 7928)]


def test_the_winner_works_alone_and_scores_what_the_trial_scored(finished, tmp_path):
    folder, _ = finished
    winner = folder / "studies" / "digits-8000" / "winner"
    card = json.loads((winner / "card.json").read_text())
    best = max(trials(folder, "digits-8000"), key=lambda trial: trial.value or 0)
    assert card["accuracy"]["file_on_test"] == card["accuracy"]["recorded"] == best.value
    assert sum(tensor.numel() for tensor in torch.load(winner / "weights.pt", weights_only=True).values()) > 0
    for name in ("model.py", "weights.pt"):
        (tmp_path / name).write_bytes((winner / name).read_bytes())
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "model.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Tells 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 apart." in done.stdout


def test_the_report_comes_again_from_disk(finished, inside):
    folder, first = finished
    status, out, err = inside(folder, "report", "digits-8000")
    assert (status, err) == (0, "")
    assert out.strip() in first.stdout
    status, by_path, err = inside(folder.parent, "report", folder / "studies" / "digits-8000")
    assert (status, err) == (0, "")
    assert by_path.splitlines()[:-1] == out.splitlines()[:-1]


def test_a_trial_can_be_trained_again_alone_and_has_its_value(finished, inside):
    folder, _ = finished
    last = max(t.number for t in trials(folder, "digits-8000") if t.user_attrs.get("outcome") == FINISHED)
    files = set((folder / "studies" / "digits-8000").rglob("*"))
    before = decided(folder, "digits-8000")
    status, out, err = inside(folder, "rerun", "digits-8000", "--trial", last)
    assert (status, err) == (0, "")
    assert out.startswith(f"trial {last}: ")
    assert out.endswith(" again: the same\n")
    assert set((folder / "studies" / "digits-8000").rglob("*")) == files
    assert decided(folder, "digits-8000") == before


@pytest.mark.parametrize(
    ("code", "words"),
    [(None, "NOT the same\n"), ({}, "NOT the same, but versions have changed since\n")],
)
def test_a_trial_that_has_another_value_is_told_with_what_else_has_changed(finished, inside, monkeypatch, code, words):
    monkeypatch.setattr("search.study.training.score", lambda *_: 0.5)
    if code is not None:
        monkeypatch.setattr("search.cli.verify.results_version", lambda: code)
    status, out, _ = inside(finished[0], "rerun", "digits-8000")
    assert status == 1
    assert f"50.00 % again: {words}" in out


def test_the_same_command_has_nothing_left_to_do(finished, inside):
    folder, _ = finished
    before = decided(folder, "digits-8000")
    inside.monkeypatch.setattr("search.cli.job.carry_out", None)  # no worker is started, and no time is estimated
    status, _, err = inside(folder, "--budget", 8000, "--trials", N_TRIALS, "--jobs", 1, *DIGITS)
    assert (status, err) == (0, "")
    assert decided(folder, "digits-8000") == before


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--seed", 1, "seed 0 there, 1 now"),
        ("--score", "best", "score last there, best now"),
        ("--select-on", "val", "select_on test there, val now"),
        ("--sampler", "random", "sampler tpe there, random now"),
        ("--max-macs", "500k", "max_macs not set there, 500000 now"),
        ("--min-rf", 5, "min_rf not set there, 5 now"),
        ("--budget", "5k", "budget 8000 there, 5000 now"),
    ],
)
def test_other_settings_are_refused_by_name_and_nothing_is_lost(finished, inside, option, value, words):
    folder, _ = finished
    before = decided(folder, "digits-8000")
    arguments = ("--budget", 8000, "--trials", N_TRIALS, *DIGITS, "--study", "digits-8000", option, value)
    status, _, err = inside(folder, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert words in err
    assert decided(folder, "digits-8000") == before


@pytest.mark.slow
def test_interrupted_killed_and_resumed_equals_uninterrupted(finished, tmp_path):
    arguments = ("--budget", 8000, "--trials", N_TRIALS, "--jobs", 1, *DIGITS)
    with started(tmp_path, *arguments) as process:
        assert suspend_in_training(lambda: in_training(tmp_path, "digits-8000", 2)) == [process.pid]
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        _, message = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "repeat the command to continue" in message
    with started(tmp_path, *arguments) as process:
        assert suspend_in_training(lambda: in_training(tmp_path, "digits-8000", 8)) == [process.pid]
        process.kill()
    done = search(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert sum("retry_of" in trial.user_attrs for trial in trials(tmp_path, "digits-8000")) == 2
    assert decided(tmp_path, "digits-8000") == decided(finished[0], "digits-8000")


def test_settings_are_those_of_the_study_that_comes_with_the_repository(finished):
    """With a setting more or less that study could not go on."""
    studies = (finished[0] / "studies" / "digits-8000", ROOT / "studies" / "reference")
    new, old = (json.loads((study / "config.json").read_text())["settings"] for study in studies)
    assert new.keys() - old.keys() == {"share_weights"}  # which a study that shares does not record
    assert not old.keys() - new.keys()
