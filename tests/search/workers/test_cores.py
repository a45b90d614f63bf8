"""How the workers of a study share the cores."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest

from search.config import DataConfig, SearchConfig
from search.storage.open import open_storage
from search.study.study import open_study
from search.study.training import RecordedTraining
from search.study.training_report import ignore_report
from search.study.trials import TrialFailedError
from search.workers.cores import CoresEach
from search.workers.pool import Task, carry_out


@pytest.mark.parametrize(("n_workers", "expected"), [(1, 8), (2, 4), (3, 2), (8, 1), (20, 1), (0, 8)])
def test_cores_are_divided_among_the_workers(monkeypatch: pytest.MonkeyPatch, n_workers: int, expected: int) -> None:
    monkeypatch.setattr("search.workers.cores.n_cores", lambda: 8)
    each = CoresEach()
    each.divide_among(n_workers)
    assert each() == expected


class Waiting:
    """Objective that waits until its training may use `n_cores` cores; trial 0 ends as soon as another one runs."""

    def __init__(self, n_cores: int) -> None:
        self.n_cores, self.training = n_cores, RecordedTraining()

    def __call__(self, trial: optuna.Trial) -> float:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.training.n_threads() == self.n_cores or (trial.number == 0 and len(trial.study.trials) == 2):
                return float(self.training.n_threads())
            time.sleep(0.01)
        raise TrialFailedError(f"{self.training.n_threads()} threads")


class OneEnded:
    """Stop rule that lets no trial begin after one has ended."""

    def is_reached(self, study: optuna.Study) -> bool:
        return any(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


@pytest.mark.slow
def test_the_last_training_of_a_study_uses_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.workers.cores.n_cores", lambda: 6)
    url = f"sqlite:///{tmp_path}/studies.db"
    open_study(open_storage(url), "last", {})
    config = SearchConfig(DataConfig("digits", ""), max_params=1000, sampler="random", pruner="none")
    task = Task(url, "last", Waiting(6), config, OneEnded())
    carry_out(task, 2, lambda _study: None, ignore_report)
    trials = task.join_study().get_trials()
    assert [trial.value for trial in trials] == [3.0, 6.0]
