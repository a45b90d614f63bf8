"""Read studies whose database cannot, or must not, be written: by a copy in a temporary folder."""

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

# What SQLite has not yet moved into the database itself.
_LOG = "-wal"


@contextmanager
def readable(location: StudyLocation) -> Iterator[StudyLocation]:
    """Yield `location`, or, where its SQLite file can only be read, the same with a copy of it as the storage.

    Even to be read the file needs others beside it, which a file system that is mounted read-only has no room for.
    """
    path = location.sqlite_path
    if path is None or can_be_written(path) or not path.is_file():
        yield location
        return
    with copied(path) as copy:
        yield replace(location, storage=sqlite_url(copy))


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """Copy a database into a temporary folder, which is gone afterwards. Raises InputError for what is no database."""
    check_sqlite(path)
    with tempfile.TemporaryDirectory(prefix="search-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        try:
            _back_up(path, copy)
        except sqlite3.Error:
            # Where nothing can be written, SQLite may not open it. Nobody else can write it either, then.
            for suffix in ("", _LOG):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        yield copy


def _back_up(path: Path, copy: Path) -> None:
    """Copy a database as it is at one moment, whoever writes it meanwhile."""
    mode = "rw" if can_be_written(path) else "ro"
    with (
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)) as original,
        closing(sqlite3.connect(copy)) as target,
    ):
        original.backup(target)


def warn_unwritten(folder: Path, names: Sequence[str]) -> None:
    """Say that these files of a study were not written, as its folder can only be read."""
    print(f"search.py: {folder} can only be read: {', '.join(names)} are not written there", file=sys.stderr)


def can_be_written(path: Path) -> bool:
    """Return whether a database, and files beside it, can be written. A new one: whether it can be made."""
    return is_writable(path.parent) and (is_new(path) or os.access(path, os.W_OK))


def is_writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, or in one that is made there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)
