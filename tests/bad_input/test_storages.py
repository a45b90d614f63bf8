"""Storages that cannot be used, or that are somebody else's."""

from __future__ import annotations

import gzip
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from search.storage.open import open_storage
from tests.bad_input.refusals import PASSWORD, RUN, Refuses, short

EXAMPLE = "; an example: sqlite:///studies/studies.db"
NO_URL = "--storage is not a database URL, got "
OTHER = "--storage must be sqlite:///FILE or postgresql://USER@HOST/DATABASE, got one that begins with "
PROXY = "no longer supported: give the address of PgBouncer instead, postgresql://USER@HOST:6432/DATABASE"


@pytest.fixture(scope="module")
def refused_port() -> int:
    """Of this machine, where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# PORT stands for that port, SECRET for a password, which must never be shown.
URLS: list[tuple[str, str]] = [
    ("", "must not be empty, got ''"),
    ("nonsense", f"{NO_URL}'nonsense'{EXAMPLE}"),
    ("studies.db", f"{NO_URL}'studies.db'"),
    ("/anywhere/studies.db", NO_URL),
    ("journal.log", NO_URL),
    ("://", NO_URL),
    ("sqlite:", f"{NO_URL}'sqlite:...'"),
    ("sqlite:/x.db", f"{NO_URL}'sqlite:...'"),
    ("me:SECRET@host/db", f"{NO_URL}'me:...'"),
    ("postgresql//me:SECRET@host/db", NO_URL),
    ("postgresql://me:SECRET@host:port/db", f"{NO_URL}'postgresql:...'"),
    ("postgresql://me:x@SECRET@host/db", "more than one '@' before its host; write those of a password as %40"),
    ("postgresql://me:x@host:SECRET@y/db", "more than one '@' before its host"),
    ("sqlite://", f"--storage names no file, so nothing would be kept{EXAMPLE}"),
    ("sqlite:///", "names no file"),
    ("sqlite:///:memory:", "names no file"),
    ("sqlite:///file::memory:?uri=true&mode=memory", "names no file"),
    ("sqlite://x.db", "--storage names a server, but SQLite has none: write three slashes before the file"),
    ("sqlite://me:SECRET@x.db/y", "names a server"),
    ("sqlite:////no/such/folder/x.db", "cannot open the sqlite storage: there is no folder /no/such/folder; check"),
    ("sqlite:///new/x.db", "there is no folder new; check --storage"),
    ("sqlite:///x.db?nonsense=1", "; check --storage"),
    ("sqlite:///x.db?timeout=soon", "; check --storage"),
    ("nodb://me:SECRET@host/x", f"{OTHER}'nodb'"),
    ("mysql://me:SECRET@127.0.0.1:PORT/x", f"{OTHER}'mysql'"),
    ("redis://127.0.0.1:PORT", f"{OTHER}'redis'"),
    ("postgresql+nodriver://me:SECRET@127.0.0.1:PORT/x", f"{OTHER}'postgresql+nodriver'"),
    ("postgresql+psycopg://me:SECRET@127.0.0.1:PORT/x", "cannot open the postgresql+psycopg storage: "),
    ("postgresql+psycopg://127.0.0.1:PORT/x?user=me&password=SECRET", "cannot open the postgresql+psycopg storage: "),
    ("postgresql+psycopg://me:SECRET@no-such-host.invalid/x", "cannot open the postgresql+psycopg storage: "),
    ("postgresql+psycopg://me:{SECRET}@127.0.0.1:PORT/{0}", "cannot open the postgresql+psycopg storage: "),
    ("grpc://127.0.0.1:PORT", PROXY),
    ("grpc://me:SECRET@127.0.0.1:PORT/x", PROXY),
    ("grpcs://127.0.0.1:PORT", f"{OTHER}'grpcs'"),
]
COMMANDS = [RUN, ["report", "mine"], ["dashboard", "--port", "9"]]


@pytest.mark.parametrize(("url", "words"), URLS, ids=short)
def test_addresses_of_nothing(refuses: Refuses, refused_port: int, url: str, words: str) -> None:
    url = url.replace("PORT", str(refused_port)).replace("SECRET", PASSWORD)
    refuses([*RUN, "--storage", url], words)
    path = url.startswith("sqlite:///") and "names" not in words
    for command in COMMANDS[1:]:
        # Of a file the others say first that it is not there.
        refuses(
            [*command, f"--storage={url}"],
            "no database" if path and "memory" not in url and url != "sqlite:///" else words,
        )


def test_a_named_database_is_asked_by_every_command_that_has_one(refuses: Refuses) -> None:
    for command in (
        ["export", "mine"],
        ["confirm", "mine"],
        ["null", "mine"],
        ["baselines", "--dataset", "digits"],
        ["frontier", "--dataset", "digits"],
    ):
        refuses([*command, "--storage", "sqlite://"], "--storage names no file")


# --- files that are no storage --------------------------------------------------------------------------------------

TEXT = "CREATE TABLE notes (text VARCHAR); INSERT INTO notes VALUES ('precious');"


def make(path: Path, kind: str) -> None:
    """A file that is called a storage."""
    if kind == "a folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("precious")
    elif kind == "zeros":
        path.write_bytes(bytes(8192))
    elif kind == "a database of something else":
        with closing(sqlite3.connect(path)) as database:
            database.executescript(TEXT)
    else:
        open_storage(f"sqlite:///{path}").engine.dispose()
    content = path.read_bytes() if path.is_file() else b""
    if kind == "gzip":
        path.write_bytes(gzip.compress(content))
    elif kind == "its header alone":
        path.write_bytes(content[:100])
    elif kind == "cut off":
        path.write_bytes(content[:8192])
    elif kind == "garbage behind the first page":
        path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    elif kind == "of another version of Optuna":
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = 'v99'")
    elif kind == "without Optuna's version":
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("DROP TABLE alembic_version")
            database.execute("CREATE TABLE alembic_version (nonsense INT)")


KINDS = {
    "a folder": "is not a file; name another with --storage",
    "text": "is not a SQLite database; name another with --storage",
    "zeros": "is not a SQLite database",
    "gzip": "is not a SQLite database",
    "a database of something else": "is a database of another program: it has the table 'notes' and none of Optuna's",
    "its header alone": "; it is damaged; restore it from a copy",
    "cut off": "it is damaged; restore it from a copy",
    "garbage behind the first page": "it is damaged; restore it from a copy",
    "of another version of Optuna": "is no longer compatible with the table schema",
    "without Optuna's version": "cannot open the sqlite storage: no such column: alembic_version.version_num",
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_no_storage(refuses: Refuses, kind: str) -> None:
    make(refuses.folder / "x.db", kind)
    url = "sqlite:///x.db"
    refuses([*RUN, "--storage", url], KINDS[kind])
    words = "no database x.db" if kind == "a folder" else KINDS[kind]
    for command in COMMANDS[1:]:
        refuses([*command, "--storage", url], words)
    (refuses.folder / "studies").mkdir()
    (refuses.folder / "x.db").rename(refuses.folder / "studies" / "studies.db")
    refuses(RUN, KINDS[kind])


def test_an_empty_file_is_no_study_and_stays_empty(refuses: Refuses) -> None:
    (refuses.folder / "x.db").touch()
    for command in COMMANDS[1:]:
        refuses([*command, "--storage", "sqlite:///x.db"], "no database x.db")


@pytest.fixture
def locked(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """x.db, which another program holds, and nobody waits for."""
    monkeypatch.setattr("search.storage.open.SQLITE_BUSY_SECONDS", 0.05)
    make(refuses.folder / "x.db", "good")
    with closing(sqlite3.connect(refuses.folder / "x.db", isolation_level=None)) as database:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("command", COMMANDS, ids=short)
def test_a_database_that_another_program_holds(refuses: Refuses, command: list[str]) -> None:
    refuses([*command, "--storage", "sqlite:///x.db"], "database is locked (x.db); another program has locked it")


@pytest.mark.parametrize("command", COMMANDS, ids=short)
def test_a_database_that_can_only_be_read(refuses: Refuses, command: list[str]) -> None:
    make(refuses.folder / "x.db", "good")
    url = "sqlite:///file:x.db?mode=ro&uri=true"
    refuses([*command, "--storage", url], "readonly database (file:x.db); check its permissions, or")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this machine has no /dev/full")
@pytest.mark.parametrize("url", ["sqlite:////dev/full", "sqlite:////dev/null"])
def test_devices(refuses: Refuses, url: str) -> None:
    refuses([*RUN, "--storage", url], "is not a file; name another with --storage")


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="this machine has no /proc")
@pytest.mark.parametrize("folder", ["/proc", "/proc/version", "/proc/nowhere", "/dev/full"])
def test_folders_where_nothing_can_be_made(refuses: Refuses, folder: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this machine has no /dev/full")
    refuses([*RUN, "--out", folder], f"cannot write to {folder}", "; choose another folder with --out")
