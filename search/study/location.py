"""Locate a study: its folder, its storage, and the right to write there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from search.errors import InputError
from search.storage.url import is_server, parse_url, shown_url, sqlite_path, sqlite_url

ARTIFACTS = "artifacts"
DATABASE, OWN_DATABASE = "studies.db", "study.db"
# Exports answer the whole test set, in every format.
WRITER_SECONDS = 1800


@dataclass(frozen=True)
class StudyLocation:
    """Location of a study: the folder of all studies, its name there (None: not chosen yet), its storage.

    The default storage (None) is `studies.db`, one SQLite file for all studies of the folder; a study that was given a
    database of its own, `study.db` in its folder, is read from there.
    """

    out: Path
    name: str | None = None
    storage: str | None = None

    @property
    def folder(self) -> Path:
        """The study's own folder: report, trials, weights, winner. Raises InputError for a name no folder can have."""
        name = self.name or ""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
            raise InputError(
                "a study's name is made of letters, digits, '.', '_' and '-', 100 at most, and begins with a letter or "
                f"digit, got {self.name!r:.120}; choose another --study"
            )
        if name == ARTIFACTS or name.startswith(DATABASE):
            raise InputError(f"{name!r} is a name of this program's own beside the studies; choose another --study")
        return self.out / name

    @property
    def url(self) -> str:
        """The storage's SQLAlchemy URL."""
        if self.storage:
            return self.storage
        return sqlite_url(self.folder / OWN_DATABASE if self.has_own_database else self.out / DATABASE)

    @property
    def has_own_database(self) -> bool:
        """Whether the study is read from a database in its own folder."""
        return not self.storage and bool(self.name) and (self.folder / OWN_DATABASE).is_file()

    @property
    def is_shared(self) -> bool:
        """Whether the storage is a server, where several machines may work on one study."""
        return is_server(self.url)

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, where the storage is one. Raises InputError for a URL that is none."""
        return sqlite_path(parse_url(self.url))

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return shown_url(parse_url(self.url))


@contextmanager
def only_one(location: StudyLocation) -> Iterator[None]:
    """Hold the study for this process; on a server, where many work on one study, there is nothing to hold."""
    if location.is_shared:
        yield
        return
    message = f"study {location.name} is being run by another process; wait for it or choose another --study"
    with _locked(location, 0, message):
        _sweep(location.folder)
        yield


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half written."""
    for pattern in ("*.partial", "*/*.partial", ".writable-*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for path in folder.glob(".winner-*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def one_writer(location: StudyLocation) -> Iterator[None]:
    """Hold the study's folder while its files are written, where that is not held already: others may share it."""
    if not location.is_shared:
        yield
        return
    with _locked(
        location, WRITER_SECONDS, f"another process has been writing to {location.folder} for too long; end it"
    ):
        yield


@contextmanager
def _locked(location: StudyLocation, seconds: float, message: str) -> Iterator[None]:
    lock = filelock.FileLock(location.folder / ".lock", timeout=seconds)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise InputError(message) from error
    try:
        yield
    finally:
        lock.release()


# How the name of a study of repeats ends.
REPEATS = "-repeats"


def repeats_name(location: StudyLocation) -> str:
    """The name of the study of repeats."""
    return f"{location.name}{REPEATS}"
