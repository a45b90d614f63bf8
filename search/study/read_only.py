"""Read studies whose database cannot or must not be written, from a copy in a temporary folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from search.storage.url import check_sqlite, is_new, sqlite_url
from search.study.location import StudyLocation

# Suffix of SQLite's write-ahead log, with changes that are not in the database itself yet.
_LOG_SUFFIX = "-wal"


@contextmanager
def readable(location: StudyLocation) -> Iterator[StudyLocation]:
    """Yield `location`, with a temporary copy as its storage if its SQLite file cannot be written.

    SQLite creates other files beside a database even to read it, which a read-only file system does not allow.
    """
    path = location.sqlite_path
    if path is None or can_be_written(path) or not path.is_file():
        yield location
        return
    with copied(path) as copy:
        yield replace(location, storage=sqlite_url(copy))


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """Yield a temporary copy of a database, which is removed afterwards. Raises InputError if `path` is no database."""
    check_sqlite(path)
    with tempfile.TemporaryDirectory(prefix="search-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        try:
            _back_up(path, copy)
        except sqlite3.Error:
            # SQLite may fail to open a database that cannot be written. Then no other process writes it either, so
            # that copies of the files are consistent.
            for suffix in ("", _LOG_SUFFIX):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        yield copy


def _back_up(path: Path, copy: Path) -> None:
    """Copy a database in a consistent state, even while other processes write it."""
    mode = "rw" if can_be_written(path) else "ro"
    with (
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)) as original,
        closing(sqlite3.connect(copy)) as target,
    ):
        original.backup(target)


def warn_unwritten(folder: Path, names: Sequence[str]) -> None:
    """Print a warning that names the files of a study that were not written, because its folder is read-only."""
    print(f"search.py: {folder} can only be read: {', '.join(names)} are not written there", file=sys.stderr)


def can_be_written(path: Path) -> bool:
    """Return whether a database and files beside it can be written or, if it is missing, created."""
    return is_writable(path.parent) and (is_new(path) or os.access(path, os.W_OK))


def is_writable(folder: Path) -> bool:
    """Return whether files can be created in a folder or, if it is missing, whether the folder can."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)
