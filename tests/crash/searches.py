"""Searches as processes of their own, and what the tests do to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from benchmarks.kills import children
from search.storage.open import open_storage
from search.study.loop import n_trained
from search.study.study import load_study
from search.study.trials import outcome_of

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
        time.sleep(0.1)  # a look through Optuna costs the trainings some of their processor
    raise AssertionError(otherwise)


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def by_machine(study: optuna.Study, mains: dict[str, int]) -> dict[str, list[FrozenTrial]]:
    """The trials in training, by the main process whose workers train them."""
    training = running(study)
    workers = {name: {pid, *children(pid)} for name, pid in mains.items()}
    return {name: [trial for trial in training if pid_of(trial) in pids] for name, pids in workers.items()}


def stop_in_training(look: Callable[[], list[int]]) -> list[int]:
    """The processes that `look` finds in training, stopped: what is done to them then, is done amid a training."""

    def stopped() -> list[int]:
        if not (pids := look()):
            return []
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)  # what they had told the server before is written meanwhile
        if pids == look():
            return pids
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        return []

    return until(stopped, "no training was seen", patience=300)


def stop_one_of_each(study: optuna.Study, mains: dict[str, int]) -> list[FrozenTrial]:
    """A trial in training on each machine, all at the same time, whose workers are stopped amid it."""

    def first_of_each() -> list[FrozenTrial]:
        found = by_machine(study, mains)
        return [trials[0] for trials in found.values()] if all(found.values()) else []

    stop_in_training(lambda: list(map(pid_of, first_of_each())))
    return first_of_each()


def check_whole(study: optuna.Study, asked: int, n_workers: int) -> None:
    """What holds of a study whatever was done to it."""
    trials = study.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert asked <= n_trained(trials) <= asked + n_workers - 1
    places = Counter(trial.user_attrs["index"] for trial in trials if outcome_of(trial))
    assert set(places.values()) == {1}
    retried = Counter(trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs)
    lost = [trial.number for trial in trials if trial.state == TrialState.FAIL and not outcome_of(trial)]
    assert sorted(retried.elements()) == lost
    for trial in trials:
        if "retry_of" in trial.user_attrs and outcome_of(trial):
            first = trials[trial.user_attrs["retry_of"]]
            for name in ("index", "seed"):
                assert trial.user_attrs[name] == first.user_attrs[name]
            # One whose proposal was not complete is proposed anew, perhaps from what has become known meanwhile.
            assert trial.params == first.params or len(first.params) < len(trial.params)
    assert not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
