"""Run searches in processes of their own, and wait for, suspend and check them."""

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
# Longest wait in seconds, which also suffices on a very busy machine.
PATIENCE = 1200

T = TypeVar("T")


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "search.py"), *map(str, arguments)]


@contextmanager
def started(folder: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a search in the background, and kill it at the end.

    The process handles SIGINT by default, even if the test runner ignores it.
    """
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


def wait_for_success(process: subprocess.Popen[str]) -> str:
    """Wait until the process ends with exit status 0, and return its standard error."""
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors
    return errors


def wait_for_study(url: str, name: str) -> optuna.Study:
    """Wait until the study exists, and return it."""
    return wait_until(lambda: _load_if_present(url, name), "no study")


def _load_if_present(url: str, name: str) -> optuna.Study | None:
    storage = open_storage(url)
    return load_study(storage, name) if name in optuna.get_all_study_names(storage) else None


def running_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are being trained."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in trials if "candidate" in trial.user_attrs]


def pid_of(trial: FrozenTrial) -> int:
    """Return the id of the process that trains the trial."""
    return int(trial.user_attrs["worker"].rpartition("/")[2].partition("-")[0])


def wait_until(poll: Callable[[], T | None], message: str, patience: float = PATIENCE) -> T:
    """Call `poll` until it returns a true value, and return that value.

    patience: in seconds. Raises AssertionError with `message` after that time.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if value := poll():
            return value
        time.sleep(0.1)  # reading a study through Optuna takes processor time from the trainings
    raise AssertionError(message)


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def trials_by_machine(study: optuna.Study, mains: dict[str, int]) -> dict[str, list[FrozenTrial]]:
    """Return the trials that are being trained, grouped by the main process whose workers train them."""
    training = running_trials(study)
    workers = {name: {pid, *children(pid)} for name, pid in mains.items()}
    return {name: [trial for trial in training if pid_of(trial) in pids] for name, pids in workers.items()}


def suspend_in_training(find_pids: Callable[[], list[int]]) -> list[int]:
    """Suspend the processes that `find_pids` returns, once they are training, and return their ids.

    The test can then act on them in the middle of a training.
    """

    def suspend() -> list[int]:
        if not (pids := find_pids()):
            return []
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)  # their earlier writes reach the server in this time
        if pids == find_pids():
            return pids
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        return []

    return wait_until(suspend, "no training was seen", patience=300)


def suspend_one_per_machine(study: optuna.Study, mains: dict[str, int]) -> list[FrozenTrial]:
    """Suspend the worker of one trial on each machine, all during training, and return these trials."""

    def first_of_each() -> list[FrozenTrial]:
        trials_by_main = trials_by_machine(study, mains)
        return [trials[0] for trials in trials_by_main.values()] if all(trials_by_main.values()) else []

    suspend_in_training(lambda: list(map(pid_of, first_of_each())))
    return first_of_each()


def check_study(study: optuna.Study, asked: int, n_workers: int) -> None:
    """Check what must be true of a study after any interruption.

    asked: the requested number of trained trials
    """
    trials = study.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert asked <= n_trained(trials) <= asked + n_workers - 1
    indices = Counter(trial.user_attrs["index"] for trial in trials if outcome_of(trial))
    assert set(indices.values()) == {1}
    retried = Counter(trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs)
    interrupted = [trial.number for trial in trials if trial.state == TrialState.FAIL and not outcome_of(trial)]
    assert sorted(retried.elements()) == interrupted
    for trial in trials:
        if "retry_of" in trial.user_attrs and outcome_of(trial):
            first = trials[trial.user_attrs["retry_of"]]
            for name in ("index", "seed"):
                assert trial.user_attrs[name] == first.user_attrs[name]
            # A trial with an incomplete proposal is proposed again, perhaps with different results to learn from.
            assert trial.params == first.params or len(first.params) < len(trial.params)
    assert not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
