"""What a run leaves behind so that it can be repeated."""

import json
import platform
import re
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from search.errors import InputError
from search.study import provenance
from search.study.provenance import environment, write_config

SETTINGS = {"budget": 8000, "dataset": "mnist", "max_macs": None}


def test_environment_is_plain_data_and_complete() -> None:
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert list(found) == ["python", "packages", "platform", "processor", "revision"]
    assert found["python"] == platform.python_version()
    assert found["packages"]["torch"] == version("torch")
    assert found["packages"]["optuna"] == version("optuna")
    # The commit, marked if files differ from it; nothing outside a checkout.
    assert found["revision"] is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", found["revision"])


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert environment()["packages"] == {"torch": version("torch"), "no-such-package": None}


def test_without_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment()["revision"] is None


def test_every_run_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    for n_runs in (1, 2, 3):
        monkeypatch.setattr(sys, "argv", ["search.py", "--trials", str(n_runs)])
        write_config(path, SETTINGS)
        written = json.loads(path.read_text())
        assert written["settings"] == SETTINGS
        assert [run["argv"] for run in written["runs"]] == [["--trials", str(n)] for n in range(1, n_runs + 1)]
    last = written["runs"][-1]
    assert {name: last[name] for name in environment()} == environment()
    assert abs(datetime.now(UTC) - datetime.fromisoformat(last["started"])) < timedelta(minutes=10)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"null", b"3", b"[]", b"{}", b'{"runs": null}', b'{"runs": 3}', b'{"runs": {}}'],
)
def test_a_damaged_file_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json is damaged, it has no list of runs; move it away"):
        write_config(path, SETTINGS)
    assert path.read_bytes() == content


def test_a_password_in_the_storage_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    for arguments in (["--storage", "postgresql://me:hunter2@host/db"], ["--storage=postgresql://me:hunter2@host/db"]):
        monkeypatch.setattr(sys, "argv", ["search.py", *arguments, "--trials", "3"])
        write_config(path, SETTINGS)
    assert "hunter2" not in path.read_text()
    runs = json.loads(path.read_text())["runs"]
    assert [run["argv"] for run in runs] == [
        ["--storage", "postgresql://me:***@host/db", "--trials", "3"],
        ["--storage=postgresql://me:***@host/db", "--trials", "3"],
    ]


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_config(path, SETTINGS)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_config(path, {"budget": object()})
    assert path.read_bytes() == before
