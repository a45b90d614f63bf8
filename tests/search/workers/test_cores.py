"""How many cores there are, and how the workers of a study share them."""

from __future__ import annotations

import subprocess
import sys
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
from search.workers import cores
from search.workers.cores import CoresEach, n_cores
from search.workers.pool import Task, carry_out

ROOT = Path(__file__).parents[3]


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of eight cores with a folder for its control groups."""
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "PROC", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/a/b", {"a/b/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n"}, 3),
        ("0::/docker/1", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a", {"a/cpu.max": "1600000 100000\n"}, 8),
        ("0::/a", {"a/cpu.max": "of another kind\n"}, 8),
        (
            "3:memory:/a\n2:cpu,cpuacct:/a\n0::/",
            {"cpu/a/cpu.cfs_quota_us": "200000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("2:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 8),
        ("2:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "0\n"}, 8),
        ("not a group", {}, 8),
    ],
)
def test_quotas_of_control_groups(groups: Path, group: str, files: dict[str, str], expected: int) -> None:
    (groups / "cgroup").write_text(group + "\n")
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    assert n_cores() == expected


def test_a_machine_without_control_groups(groups: Path) -> None:
    assert not (groups / "cgroup").exists()
    assert n_cores() == 8


@pytest.mark.skipif(sys.platform != "linux", reason="sets a mask of cores")
def test_a_mask_of_cores() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + (
        "from search.workers.cores import n_cores; print(n_cores())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(("n_workers", "expected"), [(1, 8), (2, 4), (3, 2), (8, 1), (20, 1), (0, 8)])
def test_cores_are_divided_among_the_workers(groups: Path, n_workers: int, expected: int) -> None:
    assert not (groups / "cgroup").exists()
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
