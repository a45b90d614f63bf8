"""What every refusal has in common: one line that names the value and the way out, status 2, and nothing changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from search.cli.main import main

# Of one bad input: the command, what its message has to say, and what makes the place for it.
PASSWORD = "hunter2"
# A search that would begin.
RUN = ["--budget", "8000", "--dataset", "digits", "--trials", "1", "--epochs", "1", "--jobs", "1", "--confirm", "none"]
# SQLite keeps these beside a database that somebody has open.
_BESIDE = ("-wal", "-shm")


@dataclass(frozen=True)
class Refuses:
    """Gives a command in this process, in `folder`, and checks that it is refused."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, arguments: Sequence[str], *words: str) -> str:
        """What it said on standard error. words: that this has to hold."""
        before = tree(self.folder)
        self.capsys.readouterr()
        try:
            status = main(list(arguments))
        except SystemExit as stop:  # argparse's own way out
            status = stop.code if isinstance(stop.code, int) else 1
        out, err = self.capsys.readouterr()
        assert (status, out) == (2, ""), err
        check_line(err, *words)
        assert tree(self.folder) == before
        return err


def check_line(err: str, *words: str) -> None:
    """One line that somebody can read, with these words in it, and without a password."""
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert err.isprintable() or err[:-1].isprintable(), err
    assert len(err) < 1200, err
    assert "Traceback" not in err
    assert PASSWORD not in err
    for word in words:
        assert word in err


def short(value: object) -> str:
    """A readable name of a row."""
    return ascii(" ".join(value) if isinstance(value, list) else value)[-60:].replace("\\", "/")


def tree(folder: Path) -> dict[str, object]:
    """Everything below a folder by its path: the content of files and databases, where links lead, None for folders."""
    paths = (path for path in sorted(folder.rglob("*")) if not path.name.endswith(_BESIDE))
    return {path.relative_to(folder).as_posix(): _content(path) for path in paths}


def _content(path: Path) -> object:
    if path.is_symlink():
        return os.readlink(path)
    if not path.is_file():
        return None
    content = path.read_bytes()
    return list(_rows(path)) if content.startswith(b"SQLite format 3\0") else content


def _rows(path: Path) -> Iterator[object]:
    """A database as text: its bytes change when it is only read. One that cannot be read is its bytes."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as database:
            yield from database.iterdump()
    except sqlite3.Error:
        yield path.read_bytes()
