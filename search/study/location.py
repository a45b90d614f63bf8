"""Locate the folder and the storage of a study, and lock them while they are written."""

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
# Longest time to wait for another writer: an export evaluates the whole test set in every format.
WRITER_SECONDS = 1800
# Longest part of a study's name that is taken from its data set.
MAX_LABEL = 60


@dataclass(frozen=True)
class StudyLocation:
    """Location of a study by its folder, its name and its storage.

    out      folder of all studies
    name     name of the study, and of its folder in `out`; None if it is not chosen yet
    storage  URL of its storage; None for `studies.db` in `out`, one SQLite file for all studies, or for `study.db` in
             the folder of the study where that exists
    """

    out: Path
    name: str | None = None
    storage: str | None = None

    @property
    def folder(self) -> Path:
        """Return the folder with the study's report, trials, weights and winner. Raises InputError for a bad name."""
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
        """Return the SQLAlchemy URL of the storage."""
        if self.storage:
            return self.storage
        return sqlite_url(self.folder / OWN_DATABASE if self.has_own_database else self.out / DATABASE)

    @property
    def has_own_database(self) -> bool:
        """Return whether the study is read from a database in its own folder."""
        return not self.storage and bool(self.name) and (self.folder / OWN_DATABASE).is_file()

    @property
    def is_shared(self) -> bool:
        """Return whether the storage is a server, so that several machines may work on the study."""
        return is_server(self.url)

    @property
    def sqlite_path(self) -> Path | None:
        """Return the database file of an SQLite storage, or None for a server. Raises InputError for an invalid URL."""
        return sqlite_path(parse_url(self.url))

    @property
    def shown_url(self) -> str:
        """Return the URL without its password."""
        return shown_url(parse_url(self.url))


def check_name(location: StudyLocation) -> None:
    """Raise InputError if a study cannot have this name."""
    if location.folder.name.endswith(REPEATS):
        raise InputError(
            f"the name {location.name!r} is reserved for the repeats of a study; choose a --study without {REPEATS!r}"
        )


def name_part(text: str) -> str:
    """Return text as part of a study's name, without the characters that it cannot have."""
    return re.sub("[^A-Za-z0-9._]+", "-", text)[:MAX_LABEL].strip("-")


@contextmanager
def hold_study(location: StudyLocation) -> Iterator[None]:
    """Lock the study for this process. Raises InputError if another process has locked it.

    A study on a server is not locked, because several processes may work on it.
    """
    if location.is_shared:
        yield
        return
    message = f"study {location.name} is being run by another process; wait for it or choose another --study"
    with _locked(location, 0, message):
        _remove_partial_files(location.folder)
        yield


def _remove_partial_files(folder: Path) -> None:
    """Remove the files and folders that killed processes left incomplete."""
    for pattern in ("*.partial", "*/*.partial", ".writable-*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for path in folder.glob(".winner-*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def hold_folder(location: StudyLocation) -> Iterator[None]:
    """Lock the folder of a study on a server while its files are written. Raises InputError after a long wait.

    The folder of any other study is already locked, by `hold_study`.
    """
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


# Ending of the name of a study of repeats.
REPEATS = "-repeats"


def repeats_name(location: StudyLocation) -> str:
    """Return the name of the study of repeats that belongs to the study at `location`."""
    return f"{location.name}{REPEATS}"
