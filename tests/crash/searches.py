"""Searches as processes of their own, and what the tests do to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.storage import open_storage
from search.study import load_study

ROOT = Path(__file__).resolve().parents[2]
# On a machine that is many times busier.
PATIENCE = 1200

T = TypeVar("T")


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "search.py"), *map(str, arguments)]


@contextmanager
def started(folder: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A search that runs while the test goes on; its interrupt signal is on, whatever the test runner inherited."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> str:
    """Wait until it ends well; what it said on standard error."""
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    return said


def open_now(url: str, name: str) -> optuna.Study:
    """The study, once it is there."""
    return until(lambda: _study(url, name), "no study")


def _study(url: str, name: str) -> optuna.Study | None:
    storage = open_storage(url)
    return load_study(storage, name) if name in optuna.get_all_study_names(storage) else None


def running(study: optuna.Study) -> list[FrozenTrial]:
    """The trials in training."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in trials if "candidate" in trial.user_attrs]


def pid_of(trial: FrozenTrial) -> int:
    """The process that trains it."""
    return int(trial.user_attrs["worker"].rpartition("/")[2].partition("-")[0])


def until(look: Callable[[], T | None], otherwise: str, patience: float = PATIENCE) -> T:
    """What `look` finds, as soon as it finds something. patience: in seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(otherwise)


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
