"""Searches of the embedded digits as the tests give them: as processes, or inside this one; and what they left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from filelock import FileLock

from search.cli.main import main
from search.storage.open import open_storage
from search.study.study import load_study
from tests.crash.searches import command

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


def trials(folder: Path, study: str) -> list[optuna.trial.FrozenTrial]:
    return load_study(open_storage(f"sqlite:///{folder}/studies/studies.db"), study).get_trials(deepcopy=False)


def wait_for_training(process: subprocess.Popen[str], folder: Path, study: str, n_started: int) -> list[int]:
    """Until `n_started` candidates were found to fit and one of them is in training; process ids of their trainers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if found := in_training(folder, study, n_started):
            return found
        time.sleep(0.01)
    raise AssertionError(f"no training was seen; exit status {process.poll()}")


def in_training(folder: Path, study: str, n_started: int) -> list[int]:
    """Process ids of those that train now, or none before `n_started` candidates were found to fit.

    Reads the database itself: a look through Optuna takes longer than some trainings.
    """
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_database(folder)) as database:
        found = database.execute(_STARTED, (study,)).fetchall()
        training = [int(json.loads(worker).partition("-")[0]) for state, worker in found if state == "RUNNING"]
        return training if len(found) >= n_started else []
    return []


def _database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{folder}/studies/studies.db?mode=ro", uri=True)


_STARTED = """
SELECT trials.state, worker.value_json FROM trials
JOIN studies ON studies.study_id = trials.study_id AND studies.study_name = ?
JOIN trial_user_attributes AS worker ON worker.trial_id = trials.trial_id AND worker.key = 'worker'
JOIN trial_user_attributes AS fits ON fits.trial_id = trials.trial_id AND fits.key = 'candidate'
ORDER BY trials.number
"""


def decided(folder: Path, study: str) -> dict[int, tuple[object, ...]]:
    """Every decided proposal by its index: state, value, point and training seed."""
    return {
        t.user_attrs["index"]: (t.state, t.value, t.params, t.user_attrs["seed"])
        for t in trials(folder, study)
        if "outcome" in t.user_attrs
    }


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    return Inside(monkeypatch, capsys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One uninterrupted study with one worker, and what its command said.

    Searched once, for all processes that pytest-xdist runs tests in; every module has a copy.
    """
    ours = tmp_path_factory.getbasetemp()
    common = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours
    original, said = common / "finished", common / "finished.json"
    with FileLock(common / "finished.lock"):
        if not said.exists():
            original.mkdir()
            done = search(original, "--budget", 8000, "--trials", N_TRIALS, "--jobs", 1, *DIGITS)
            said.write_text(json.dumps([done.returncode, done.stdout, done.stderr]), encoding="utf-8")
    folder = tmp_path_factory.mktemp("finished") / "copy"
    shutil.copytree(original, folder)
    return folder, subprocess.CompletedProcess([], *json.loads(said.read_text(encoding="utf-8")))
