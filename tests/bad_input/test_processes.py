"""The same as its user sees it: real processes, real devices, and what a shell can do to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bad_input.refusals import check_line, tree

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *arguments: str | bytes, redirected: str = "") -> subprocess.CompletedProcess[str]:
    """search.py, its output redirected as a shell would."""
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    command = ["bash", "-c", f'"$@" {redirected}', "bash", sys.executable, str(ROOT / "search.py"), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def check_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    check_line(done.stderr, *words)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this machine has no /dev/full")
def test_output_to_a_full_device(tmp_path: Path) -> None:
    done = run(tmp_path, "describe", "s004_net3", redirected="> /dev/full")
    check_refused(done, "cannot write: No space left on device; free some space, then repeat the command to continue")


def test_output_that_is_closed(tmp_path: Path) -> None:
    done = run(tmp_path, "describe", "s004_net3", redirected=">&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    check_refused(run(tmp_path, "describe", b"\xff\xfe.json"), "must be UTF-8 text without control characters, got")
    assert tree(tmp_path) == {}
