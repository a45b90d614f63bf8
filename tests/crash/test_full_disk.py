"""Test a disk that fills up while a study runs: a clear message, an intact database, and a restart that goes on."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.kills import children
from search.study.loop import n_trained
from tests.crash.searches import PATIENCE, is_alive, started, wait_for_study, wait_for_success, wait_until

ASKED = 4


@dataclass(frozen=True)
class Disk:
    """Folder that can be filled, so that a process and its workers cannot write, and emptied again."""

    folder: Path
    fill: Callable[[subprocess.Popen[str]], None]
    make_room: Callable[[], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Yield a small file system if one can be mounted, otherwise a folder with a limit on the size of files."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    filler = folder / "filler"

    def fill(process: subprocess.Popen[str]) -> None:
        if not is_mounted:
            for pid in (process.pid, *children(process.pid)):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    try:
        yield Disk(folder, fill, lambda: filler.unlink(missing_ok=True))
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the database may still be open here


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no way to fill a disk")
def test_a_disk_that_fills_up_costs_nothing_but_time(disk: Disk, digits: tuple[str, ...]) -> None:
    url = f"sqlite:///{disk.folder}/studies/studies.db"
    arguments = (*digits, "--study", "full", "--jobs", 2, "--epochs", 1)
    with started(disk.folder, *arguments, "--trials", 100_000) as process:
        wait_until(lambda: (disk.folder / "studies" / "studies.db").is_file() or None, "no database")
        study = wait_for_study(url, "full")
        wait_until(lambda: n_trained(study.get_trials(deepcopy=False)) or None, "no trial was trained")
        workers = children(process.pid)
        disk.fill(process)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors, errors
    assert "repeat the command to continue" in errors
    assert "finished trials are kept" in errors or errors.count("repeat the command to continue") > 1
    wait_until(lambda: not any(map(is_alive, workers)) or None, "workers are left")
    disk.make_room()
    values = {
        t.number: t.value for t in wait_for_study(url, "full").get_trials() if "outcome" in t.user_attrs and t.value
    }
    asked = max(ASKED, n_trained(wait_for_study(url, "full").get_trials()) + 1)
    with started(disk.folder, *arguments, "--trials", asked) as process:
        wait_for_success(process)
    trials = wait_for_study(url, "full").get_trials()
    assert {number: trials[number].value for number in values} == values
    assert asked <= n_trained(trials) <= asked + 1
    with closing(sqlite3.connect(disk.folder / "studies" / "studies.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
