"""How many cores a process may use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search import cores
from search.cores import n_cores

ROOT = Path(__file__).parents[2]


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
        "from search.cores import n_cores; print(n_cores())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
