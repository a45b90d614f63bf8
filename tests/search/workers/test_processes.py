"""How a worker process starts: forked from a server that has imported what it needs, or else as a new interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

from search.workers.processes import ROOT, spawn

# What a worker finds imported before it has imported anything; the working folder has a module of a package's name.
PROGRAM = """
import sys
if __name__ == "__main__":
    sys.path.insert(0, {root!r})
    from search.workers.processes import spawn
    finds = "import os, sys; os.write(1, b'%d' % ({needed!r} <= set(sys.modules)))"
    for process in [spawn(exec, finds) for _ in range(2)]:
        process.join()
        assert process.exitcode == 0, process.exitcode
"""
NEEDED = {"objective", "search.workers.pool"}

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no server")


@linux_only
def test_what_workers_need_is_imported_once_and_from_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('the wrong one')")
    (tmp_path / "objective.py").write_text("raise RuntimeError('the wrong one')")
    program = tmp_path / "elsewhere" / "program.py"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(root=str(ROOT), needed=NEEDED))
    done = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "11", "")


@linux_only
def test_where_there_can_be_no_server_it_is_an_interpreter_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    inside: list[object] = []

    def too_long() -> None:
        inside.extend((os.environ["PYTHONPATH"].split(os.pathsep)[0], signal.getsignal(signal.SIGINT)))
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(forkserver, "ensure_running", too_long)
    hears = signal.getsignal(signal.SIGINT)
    process = spawn(exec, "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)")
    process.join()
    assert process.exitcode == 0
    assert inside == [str(ROOT), signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is hears
    assert dict(os.environ) == before
