"""The main job as its user runs it: real processes, real signals, on the embedded digits."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch

from models.baselines import BASELINES
from models.cost import compute_cost
from search import kernels
from search.cli import main
from search.config import DataConfig, SearchConfig
from search.data import DATASETS, load_dataset
from search.run import own_starts
from search.storage import open_storage
from search.study import load_study, open_study
from search.trials import FINISHED, TRAINED
from space import DEFAULTS, assemble
from tests.crash.searches import command, started

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT.parent / "shared" / "data"
DIGITS = ("--dataset", "digits", "--epochs", "1", "--confirm", "none")
# Five hand-designed networks and two starting points of the space go first, so two of nine are proposed.
N_TRIALS = 9


def search(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, timeout=300)


@dataclass(frozen=True)
class Inside:
    """Runs a command in this process, for what needs no process of its own."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, folder: Path, *arguments: object) -> tuple[int, str, str]:
        """(exit status, standard output, standard error)."""
        self.monkeypatch.chdir(folder)
        self.capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        return status, captured.out, captured.err


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    return Inside(monkeypatch, capsys)


def trials(folder: Path, study: str) -> list[optuna.trial.FrozenTrial]:
    return load_study(open_storage(f"sqlite:///{folder}/studies/studies.db"), study).get_trials(deepcopy=False)


def wait_for_training(process: subprocess.Popen[str], folder: Path, study: str, n_started: int) -> list[int]:
    """Until `n_started` candidates were found to fit and one of them is in training; process ids of its trainers.

    Reads the database itself: a look through Optuna takes longer than some trainings.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_database(folder)) as database:
            found = database.execute(_STARTED, (study,)).fetchall()
            training = [int(json.loads(worker).partition("-")[0]) for state, worker in found if state == "RUNNING"]
            if training and len(found) >= n_started:
                return training
        time.sleep(0.01)
    raise AssertionError(f"no training was seen; exit status {process.poll()}")


def _database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{folder}/studies/studies.db?mode=ro", uri=True)


_STARTED = """
SELECT trials.state, worker.value_json FROM trials
JOIN studies ON studies.study_id = trials.study_id AND studies.study_name = ?
JOIN trial_user_attributes AS worker ON worker.trial_id = trials.trial_id AND worker.key = 'worker'
JOIN trial_user_attributes AS fits ON fits.trial_id = trials.trial_id AND fits.key = 'candidate'
"""


def decided(folder: Path, study: str) -> dict[int, tuple[object, ...]]:
    """Every decided proposal by its index: state, value, point and training seed."""
    return {
        t.user_attrs["index"]: (t.state, t.value, t.params, t.user_attrs["seed"])
        for t in trials(folder, study)
        if "outcome" in t.user_attrs
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One uninterrupted study with one worker."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, search(folder, "--budget", 8000, "--trials", N_TRIALS, "--jobs", 1, *DIGITS)


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
        assert all(name in text for name in BASELINES)
        assert "elected on test" in text
    table = pd.read_csv(study / "trials.csv")
    assert table.outcome.isin(TRAINED).sum() == N_TRIALS
    assert set(table.engine.dropna()) == {"torch" if kernels.load() is None else "native"}
    assert set(table.baseline.dropna()) >= {"s001_model3", "s002_model1", "s002_model2", "s002_model3", "s004_net3"}


def test_starting_points_of_the_space_follow_the_hand_designed_networks(finished):
    first = trials(finished[0], "digits-8000")[:7]
    assert all("baseline" in trial.user_attrs for trial in first[:5])
    found = [(trial.user_attrs["start"], trial.user_attrs["n_params"]) for trial in first[5:]]
    assert found == [("separable-sgd", 7452), ("separable-adamw", 7452)]


@pytest.mark.parametrize(
    ("limits", "n_params"),
    [
        ({"max_params": 7452}, 7452),
        ({"max_params": 7451}, 5574),
        ({"max_params": 1000}, 985),
        ({"max_params": 984}, None),
        ({"max_params": 8000, "max_macs": 300_000}, 1953),
        ({"max_params": 8000, "max_memory": 1}, None),
    ],
    ids=str,
)
def test_of_each_starting_point_the_largest_within_every_limit_is_queued(limits, n_params):
    config = SearchConfig(DataConfig("digits", "unused"), **limits)
    found = own_starts(config, load_dataset(config.data))
    assert set(found) == ({"separable-sgd", "separable-adamw"} if n_params else set())
    assert {compute_cost(assemble(params).arch).n_params for params in found.values()} == ({n_params} - {None})


def test_a_study_started_from_a_smaller_one_has_starting_points_of_its_own_size(tmp_path, inside):
    one = ("--trials", 1, "--jobs", 1, *DIGITS)
    assert inside(tmp_path, "--budget", 1000, *one)[0] == 0
    status, out, err = inside(tmp_path, "--budget", 8000, *one, "--warm", "digits-1000")
    assert (status, err) == (0, "")
    assert "adopted  1 finished trials of other studies\n" in out
    queued = [trial for trial in trials(tmp_path, "digits-8000") if "start" in trial.user_attrs]
    sizes = [compute_cost(assemble(trial.system_attrs["fixed_params"]).arch).n_params for trial in queued]
    assert sizes == [7452, 7452]


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
    [(None, "NOT the same\n"), ({}, "NOT the same, but the code or its packages have changed since\n")],
)
def test_a_trial_that_has_another_value_is_told_with_what_else_has_changed(finished, inside, monkeypatch, code, words):
    monkeypatch.setattr("search.rerun.score", lambda *_: 0.5)
    if code is not None:
        monkeypatch.setattr("search.rerun.code_version", lambda: code)
    status, out, _ = inside(finished[0], "rerun", "digits-8000")
    assert status == 1
    assert f"50.00 % again: {words}" in out


def test_the_same_command_has_nothing_left_to_do(finished, inside):
    folder, _ = finished
    before = decided(folder, "digits-8000")
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
        ("--max-macs", "500k", "max_macs None there, 500000 now"),
        ("--min-rf", 5, "min_rf None there, 5 now"),
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


def test_a_study_of_another_data_set_is_refused(tmp_path, inside):
    (tmp_path / "studies").mkdir()
    settings = SearchConfig(DataConfig("mnist", "unused"), max_params=8000, epochs=1).settings()
    open_study(open_storage(f"sqlite:///{tmp_path}/studies/studies.db"), "mine", settings)
    status, _, err = inside(tmp_path, "--budget", 8000, *DIGITS, "--study", "mine")
    assert (status, err.count("\n")) == (2, 1)
    assert "dataset mnist there, digits now" in err


def test_interrupted_killed_and_resumed_equals_uninterrupted(finished, tmp_path):
    arguments = ("--budget", 8000, "--trials", N_TRIALS, "--jobs", 1, *DIGITS)
    with started(tmp_path, *arguments) as process:
        wait_for_training(process, tmp_path, "digits-8000", 2)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "the same command goes on" in message
    with started(tmp_path, *arguments) as process:
        wait_for_training(process, tmp_path, "digits-8000", 8)
        process.kill()
    done = search(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert sum("retry_of" in trial.user_attrs for trial in trials(tmp_path, "digits-8000")) == 2
    assert decided(tmp_path, "digits-8000") == decided(finished[0], "digits-8000")


def test_a_killed_worker_is_replaced_and_its_trial_run_again(tmp_path, inside):
    arguments = ("--budget", 8000, "--trials", 6, "--jobs", 2, *DIGITS)
    with started(tmp_path, *arguments) as process:
        os.kill(wait_for_training(process, tmp_path, "digits-8000", 2)[0], signal.SIGKILL)
        _, message = process.communicate(timeout=240)
        assert process.returncode == 0, message
    found = trials(tmp_path, "digits-8000")
    lost = [trial.number for trial in found if trial.state.name == "FAIL"]
    assert [trial.user_attrs["retry_of"] for trial in found if "retry_of" in trial.user_attrs] == lost != []
    assert 6 <= sum(trial.user_attrs.get("outcome") in TRAINED for trial in found) <= 7
    assert len({trial.user_attrs["index"] for trial in found if "outcome" in trial.user_attrs}) == len(found) - len(
        lost
    )
    with sqlite3.connect(tmp_path / "studies" / "studies.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    # Trained beside others, and again alone.
    assert inside(tmp_path, "rerun", "digits-8000")[0] == 0


def test_workers_end_with_a_killed_main_process(tmp_path):
    # Trainings so long that the workers cannot simply have come to their end.
    with started(tmp_path, "--budget", 8000, "--trials", 50, "--jobs", 2, *DIGITS, "--epochs", 1000) as process:
        workers = wait_for_training(process, tmp_path, "digits-8000", 2)
        process.kill()
        process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(Path(f"/proc/{worker}").exists() for worker in workers):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_one_study_is_run_by_one_process_at_a_time(tmp_path):
    arguments = ("--budget", 8000, "--trials", 50, "--jobs", 1, *DIGITS)
    with started(tmp_path, *arguments) as process:
        wait_for_training(process, tmp_path, "digits-8000", 1)
        done = search(tmp_path, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is being run by another process" in done.stderr


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            ("--budget", 50),
            "fits the budget of 50 parameters: the nearest network found has 105 parameters, 55 over the",
        ),
        # Each can be met, but a field of 40 pixels takes more than two of the smallest convolutions.
        (("--budget", 110, "--min-rf", 40), "at least 40 pixels of receptive field before the head: the nearest"),
    ],
    ids=str,
)
def test_limits_that_nothing_fits_are_one_line_and_leave_nothing(tmp_path, inside, limits, words):
    status, out, err = inside(tmp_path, *limits, "--trials", 5, "--jobs", 1, *DIGITS)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_hardly_anything_fits_is_searched_at_once(tmp_path, inside):
    status, out, err = inside(tmp_path, "--budget", 300, "--trials", 2, "--jobs", 1, *DIGITS)
    assert (status, err) == (0, "")
    assert "of 2,000 random points fit the budget of 300 parameters" in out
    assert "feasible / proposed: 2 / 2 (100.0 %)" in out


def test_a_changed_space_and_a_network_from_a_file(tmp_path, inside):
    (tmp_path / "my.toml").write_text("stages = 2\nstages.1.width = 3\nstages.1.depth = 1")
    network = assemble(DEFAULTS | {f"stages.{i}.{name}": 1 for i in (1, 2) for name in ("width.1", "depth")}).arch
    (tmp_path / "mine.json").write_text(json.dumps(network.to_dict()))
    arguments = ("--budget", 300, "--trials", 2, "--jobs", 1, *DIGITS, "--baseline", "mine.json")
    status, out, err = inside(tmp_path, *arguments, "--space", "my.toml")
    assert (status, err) == (0, "")
    assert "58 dimensions, 8 of them changed; " in out
    study = tmp_path / "studies" / "digits-300"
    table = pd.read_csv(study / "trials.csv")
    assert list(table.baseline.fillna("-")) == ["mine", "-"]
    assert table.loc[1, ["stages", "stages.1.width.1", "stages.1.width.6", "stages.1.depth"]].tolist() == [2, 3, 3, 1]
    assert table.n_params.max() <= 300
    assert "--space space.toml" in (study / "report.md").read_text()
    assert "mine" in out[out.index("Hand-designed networks") :]
    status, out, err = inside(tmp_path, "report", "digits-300")
    assert (status, err) == (0, "")
    # The space is a setting; the file that the study keeps is the same space.
    status, _, err = inside(tmp_path, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "dimensions.stages.1.depth 1 there, None now" in err
    status, _, err = inside(tmp_path, *arguments, "--space", study / "space.toml")
    assert (status, err) == (0, "")


def test_a_random_search_that_meets_nothing_that_fits_ends_with_a_feasibility_report(tmp_path, inside, monkeypatch):
    monkeypatch.setattr("search.study.MAX_REFUSED_IN_A_ROW", 50)
    arguments = ("--budget", 110, "--trials", 5, "--jobs", 1, "--sampler", "random", "--study", "digits-50")
    status, _, err = inside(tmp_path, *arguments, *DIGITS)
    assert status == 2
    for words in (
        "No proposal fits the budget of 110 parameters",
        "share of the space",
        "smallest network",
        "cost most",
    ):
        assert words in err
    assert not (tmp_path / "studies" / "digits-50" / "weights").exists()


def test_without_a_compiler_pytorch_trains_and_the_plan_says_why(tmp_path):
    arguments = ("--budget", 8000, "--trials", 1, "--jobs", 1, *DIGITS)
    environment = {**os.environ, "CXX": "/no/such/compiler", "PYTHONPYCACHEPREFIX": str(tmp_path / "pycache")}
    done = subprocess.run(
        command(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "PyTorch's operators ([Errno 2] No such file or directory: '/no/such/compiler')" in done.stdout
    assert set(pd.read_csv(tmp_path / "studies" / "digits-8000" / "trials.csv").engine.dropna()) == {"torch"}


def test_kernels_that_are_asked_for_and_missing_end_in_one_line(tmp_path, inside, monkeypatch):
    monkeypatch.setattr(kernels, "_attempt", lambda: (None, "no C++ compiler found"))
    status, out, err = inside(tmp_path, "--budget", 8000, "--trials", 1, "--engine", "native", *DIGITS)
    assert (status, out) == (2, "")
    assert (
        err == "search.py: the native engine cannot run here: no C++ compiler found; --engine torch needs no kernels\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_selected_on_validation_images_the_test_set_is_read_once_for_the_winner(tmp_path, inside):
    arguments = ("--budget", 8000, "--trials", 2, "--jobs", 1, *DIGITS, "--select-on", "val")
    status, out, err = inside(tmp_path, *arguments)
    assert (status, err) == (0, "")
    assert "validation" in out
    card = json.loads((tmp_path / "studies" / "digits-8000" / "winner" / "card.json").read_text())
    assert (card["accuracy"]["select_on"], card["accuracy"]["scored_on"]) == ("val", "val")
    assert card["data"]["n_images"]["val"] > 0
    assert card["confirmation"] is None


def test_a_confirmed_winner_is_trained_again_on_all_images(tmp_path, inside):
    arguments = ("--budget", 8000, "--trials", 2, "--jobs", 1, *DIGITS, "--select-on", "val")
    # The last --confirm counts.
    status, out, err = inside(tmp_path, *arguments, "--confirm", "2:2")
    assert (status, err) == (0, "")
    assert "confirm  2 trials, 2 fresh seeds each\n" in out
    study = tmp_path / "studies" / "digits-8000"
    card = json.loads((study / "winner" / "card.json").read_text())
    confirmed = card["confirmation"]
    assert (card["accuracy"]["select_on"], card["accuracy"]["scored_on"]) == ("val", "test")
    assert "val" not in card["data"]["n_images"]
    assert {contender["trial"] for contender in confirmed["contenders"]} == {0, 1}
    assert confirmed["accuracy"]["n"] == 2
    # The file is the lower of the two trainings that are reported.
    assert card["accuracy"]["file_on_test"] == card["accuracy"]["recorded"] == confirmed["accuracy"]["minimum"]
    for text in (out, (study / "report.md").read_text()):
        assert f"{100 * confirmed['accuracy']['mean']:.2f} %, mean of 2 fresh seeds" in text
    # Two rounds: two trials twice, then the winner and the other hand-designed network, if it was that, twice.
    assert len(trials(tmp_path, "digits-8000-repeats")) in (6, 8)
    before = decided(tmp_path, "digits-8000-repeats")
    status, again, _ = inside(tmp_path, *arguments, "--confirm", "2:2")
    assert (status, decided(tmp_path, "digits-8000-repeats")) == (0, before)
    assert again[again.index("Winner") :] == out[out.index("Winner") :]


def test_where_writers_have_become_known_other_images_are_held_out_and_the_study_is_refused(
    tmp_path, inside, monkeypatch
):
    arguments = ("--budget", 8000, "--trials", 1, "--jobs", 1, *DIGITS, "--select-on", "val")
    status, out, _ = inside(tmp_path, *arguments)
    assert (status, "held-out training images (stratified)\n" in out) == (0, True)
    before = decided(tmp_path, "digits-8000")
    known = replace(DATASETS["digits"], writers=lambda _root, labels: torch.arange(len(labels)) // 10)
    monkeypatch.setitem(DATASETS, "digits", known)
    status, _, err = inside(tmp_path, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "held_out stratified there, stratified and writer-disjoint now; choose another --study name" in err
    assert decided(tmp_path, "digits-8000") == before


def test_settings_are_those_of_the_study_that_comes_with_the_repository(finished):
    """With a setting more or less that study could not go on."""
    studies = (finished[0] / "studies" / "digits-8000", ROOT / "studies" / "reference")
    new, old = (json.loads((study / "config.json").read_text())["settings"] for study in studies)
    assert new.keys() == old.keys()


@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason="no MNIST in ../shared/data")
def test_two_workers_on_mnist(tmp_path):
    small = ("--budget", 2000, "--max-macs", 200_000, "--confirm", "none")
    done = search(tmp_path, *small, "--trials", 2, "--jobs", 2, "--epochs", 1, "--data-dir", MNIST)
    assert (done.returncode, done.stderr) == (0, "")
    study = tmp_path / "studies" / "mnist-2000"
    card = json.loads((study / "winner" / "card.json").read_text())
    assert card["data"]["n_images"] == {"train": 60_000, "test": 10_000}
    assert card["accuracy"]["file_on_test"] == card["accuracy"]["recorded"] > 0.5
    assert pd.read_csv(study / "trials.csv").n_params.notna().all()
    assert card["cost"]["n_params"] <= 2000
    assert card["cost"]["macs"] <= 200_000


def test_without_mnist_and_network_digits_stand_in_and_nobody_can_overlook_it(tmp_path):
    # A proxy that is not there: every download fails at once.
    environment = os.environ | dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://[::1]:9"
    )
    environment.pop("DATA_DIR", None)
    arguments = ("--budget", 8000, "--trials", 1, "--jobs", 1, "--epochs", 1, "--confirm", "none", "--study", "mine")
    done = subprocess.run(
        command(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "THIS IS NOT MNIST" in done.stderr
    assert "THIS IS NOT MNIST" in done.stdout
    assert "THIS IS NOT MNIST" in (tmp_path / "studies" / "mine-digits" / "report.md").read_text()


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
    """Arguments of `export` after the study; its card, or the one line that says why there is none."""
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


def test_export_goes_over_nothing_without_being_told(finished, inside):
    folder, _ = finished
    target = folder / "studies" / "digits-8000" / "winner"
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    status, _, err = inside(folder, "export", "digits-8000")
    assert (status, "winner exists; replace it with --force" in err) == (2, True)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    status, _, err = inside(folder, "export", "digits-8000", "--force", "--format", "pt2")
    assert (status, err) == (0, "")
    assert {path.name for path in target.iterdir()} == {*before, "model.pt2"}
    # The report of the study exports nothing, and a search that goes on keeps the formats.
    assert inside(folder, "report", "digits-8000")[0] == 0
    assert (target / "model.pt2").is_file()
    assert inside(folder, "--budget", 8000, "--trials", N_TRIALS, "--jobs", 1, *DIGITS)[0] == 0
    assert {path.name for path in target.iterdir()} == {*before, "model.pt2"}


def test_the_winner_can_be_exported_where_only_its_files_are_left(finished, inside, tmp_path):
    """As in a copy of the study that was handed on without the weights of all trials."""
    folder, _ = finished
    shutil.copytree(folder / "studies", tmp_path / "studies")
    shutil.rmtree(tmp_path / "studies" / "digits-8000" / "weights")
    card = exported(inside, tmp_path)
    original = json.loads((tmp_path / "studies" / "digits-8000" / "winner" / "card.json").read_text())
    assert card["sha256"] == original["sha256"]
    another = next(t.number for t in trials(tmp_path, "digits-8000") if t.value and t.number != card["trial"])
    assert "cannot read the weights file" in exported(inside, tmp_path, "--trial", another)


def test_a_damaged_latency_file_is_named(finished, inside, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "studies", tmp_path / "studies")
    for content in ("{", "[1]", '{"a": 1}'):
        (tmp_path / "studies" / "digits-8000" / "latencies.json").write_text(content)
        assert "latencies.json is damaged" in exported(inside, tmp_path)
