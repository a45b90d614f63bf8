"""Confirmations of a search of the embedded digits as the tests give them, and what they left."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from search.cli.main import main
from search.evidence.repeats import Repeat, Retraining
from search.storage.open import open_storage
from search.study.study import load_study

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ("--dataset", "digits", "--epochs", 1, "--jobs", 1)
STUDY = "digits-8000"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def confirm(out: Path, plan: str, *arguments: object) -> int:
    return run("confirm", out / STUDY, "--confirm", plan, "--jobs", 1, *arguments)


def null(out: Path, *arguments: object) -> int:
    return run("null", out / STUDY, "--jobs", 1, *arguments)


def repeats(out: Path) -> list[FrozenTrial]:
    """Every trial of the study of repeats."""
    return load_study(open_storage(f"sqlite:///{out}/studies.db"), f"{STUDY}-repeats").get_trials(deepcopy=False)


def identities(trials: Sequence[FrozenTrial]) -> list[tuple[str, int, int, str]]:
    return [Repeat.from_dict(trial.user_attrs["repeat"]).identity for trial in trials]


def outcome(out: Path) -> dict[tuple[str, int, int, str], tuple[float, list[int]]]:
    """What every finished repeat gave."""
    done = [trial for trial in repeats(out) if trial.state == TrialState.COMPLETE]
    return dict(zip(identities(done), [(t.value or 0.0, t.user_attrs["misread"]) for t in done], strict=True))


def card(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / STUDY / "winner" / "card.json").read_text())
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Everything that a user reads of a study."""
    return {
        str(path): path.read_bytes() for path in [*folder.glob("*.md"), *folder.glob("*.csv"), *folder.glob("w*/*")]
    }


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A command that runs while the test goes on."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "search.py"), *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def in_training(out: Path) -> list[int]:
    """Process ids of those that train a repeat now."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_database(out)) as database:
        return [int(json.loads(worker).partition("-")[0]) for (worker,) in database.execute(_TRAINING)]
    return []


def _database(out: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{out}/studies.db?mode=ro", uri=True)


# What is noted just before the training begins, of trials that have not ended.
_TRAINING = f"""
SELECT worker.value_json FROM trials
JOIN studies ON studies.study_id = trials.study_id AND studies.study_name = '{STUDY}-repeats'
JOIN trial_user_attributes AS worker ON worker.trial_id = trials.trial_id AND worker.key = 'worker'
JOIN trial_user_attributes AS begun ON begun.trial_id = trials.trial_id AND begun.key = 'engine'
WHERE trials.state = 'RUNNING' ORDER BY trials.number
"""


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Repeat]:
    """Grows by every repeat that is trained in this process."""
    found: list[Repeat] = []
    train = Retraining.__call__

    def counted(self: Retraining, trial: Any) -> float:
        found.append(Repeat.from_dict(trial.user_attrs["repeat"]))
        return train(self, trial)

    monkeypatch.setattr(Retraining, "__call__", counted)
    return found


@pytest.fixture(scope="module")
def searched(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """The folder of a study of three trials, of which nothing was trained again."""
    out = tmp_path_factory.mktemp("searched")
    assert run("--budget", 8000, "--trials", 3, *DIGITS, "--out", out, "--confirm", "none") == 0
    return out


@pytest.fixture(scope="module")
def confirmed(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it, its two best trials confirmed from two seeds."""
    out = tmp_path_factory.mktemp("confirmed")
    shutil.copytree(searched, out, dirs_exist_ok=True)
    assert confirm(out, "2:2") == 0
    return out
