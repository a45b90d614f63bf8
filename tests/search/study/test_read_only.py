"""Studies that are only looked at: on a file system that is mounted read-only, and in a fresh clone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.bad_input.refusals import tree
from tests.search.made_up_studies import made_up_study
from tests.search.made_up_trials import EVERY_OUTCOME

ROOT = Path(__file__).resolve().parents[3]
# In a mount namespace of its own: nothing of it is seen outside, or left.
_MOUNTED = [
    *("unshare", "--mount", "sh", "-c"),
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"',
]


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A folder for what MOUNTED makes read-only."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    try:
        done = subprocess.run([*_MOUNTED, str(folder), "touch", "x"], capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no file system can be mounted read-only here: {error}")
    if "Read-only file system" not in done.stderr:
        pytest.skip(f"no file system can be mounted read-only here: {done.stderr.strip()}")
    return folder


def search(folder: Path, *arguments: object, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, str(ROOT / "search.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def dashboard(folder: Path, study: str, prefix: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Start the dashboard, yield what it said on standard error and what it answers, and end it with SIGTERM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temporary = folder.parent / "temporary"
    temporary.mkdir()
    server = subprocess.Popen(
        [*prefix, sys.executable, str(ROOT / "search.py"), "dashboard", study, "--port", str(port)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while "(Ctrl-C ends it)" not in said:
            line = server.stderr.readline()
            assert line, said
            said += line
        page = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            assert server.poll() is None
            with contextlib.suppress(OSError):  # not listening yet
                answer = page.open(f"http://127.0.0.1:{port}/api/studies", timeout=60).read().decode()
                break
            time.sleep(0.05)
        yield said, answer
        server.terminate()
        server.wait()
        assert server.returncode == -signal.SIGTERM
        assert list(temporary.iterdir()) == []
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def clone(folder: Path) -> Path:
    copy = folder / "clone"
    done = subprocess.run(["git", "clone", "-q", "--shared", ROOT, copy], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this is no clone: {done.stderr.strip()}")
    return copy


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "with what is still in the log"])
def test_a_study_on_a_read_only_file_system_is_reported(read_only: Path, is_open: bool) -> None:
    study = made_up_study(EVERY_OUTCOME, read_only / "studies")
    if not is_open:
        study._storage._backend.engine.dispose()
    before = tree(read_only)
    done = search(read_only, "report", "made-up", prefix=(*_MOUNTED, str(read_only)))
    assert done.returncode == 0, done.stderr
    assert "Study made-up" in done.stdout
    assert "Written to" not in done.stdout
    words = "search.py: studies/made-up can only be read: report.html, report.md, trials.csv are not written there\n"
    assert done.stderr == words
    assert tree(read_only) == before


@pytest.mark.slow
def test_a_study_on_a_read_only_file_system_is_browsed(read_only: Path) -> None:
    made_up_study(EVERY_OUTCOME, read_only / "studies")._storage._backend.engine.dispose()
    before = tree(read_only)
    with dashboard(read_only, "made-up", (*_MOUNTED, str(read_only))) as (said, answer):
        assert "shown is a copy of studies/studies.db: notes made here are not kept\n" in said
        assert "made-up" in answer
        assert "search.py: drawing the notes and figures of study " in said
        assert said.count("\n") == 3
    assert tree(read_only) == before


@pytest.mark.slow
def test_published_studies_on_a_read_only_file_system_can_be_read(read_only: Path, tmp_path: Path) -> None:
    copy = clone(read_only)
    prefix = (*_MOUNTED, str(copy))
    done = search(copy, "report", "baselines", prefix=prefix)
    assert done.returncode == 0, done.stderr
    words = "search.py: studies/baselines can only be read: report.md, results.json, stated.svg are not written there\n"
    assert done.stderr == words
    done = search(copy, "export", "reference", "--trial", "0", "--out", tmp_path / "out", prefix=prefix)
    # That far it comes: the data, or the weights of a trial, are not published, and only they are missing.
    assert done.returncode == 2
    assert not {"readonly", "read-only", "can only be read"} & set(done.stderr.split())
    assert "MNIST" in done.stderr or "weights" in done.stderr


@pytest.mark.slow
def test_the_dashboard_leaves_a_clone_as_it_is(tmp_path: Path) -> None:
    copy = clone(tmp_path)
    with dashboard(copy, "reference") as (said, answer):
        assert "shown is a copy of studies/reference/study.db: notes made here are not kept; to keep them" in said
        assert "reference" in answer
    status = subprocess.run(["git", "status", "--porcelain"], cwd=copy, capture_output=True, text=True, check=True)
    assert status.stdout == ""
