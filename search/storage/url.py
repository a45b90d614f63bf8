"""Parse the URLs of storages, and show them without their passwords."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from search.errors import InputError

_EXAMPLE = "an example: sqlite:///studies/studies.db"
_OPTION = "--storage"
_GRPC = "grpc"


def parse_url(url: str) -> URL:
    """Parse the URL of a storage.

    Raises InputError for text that is no URL and for a storage that would keep nothing. Messages do not repeat the URL,
    because it may hold a password.
    """
    authority = url.partition("://")[2].partition("/")[0].partition("?")[0]
    if authority.count("@") > 1:
        raise InputError("--storage has more than one '@' before its host; write those of a password as %40")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        scheme, colon, _ = url.partition(":")
        shown = f"{scheme:.40}{colon}{'...' * bool(colon)}"
        raise InputError(f"--storage is not a database URL, got {shown!r}; {_EXAMPLE}") from None
    if parsed.drivername == _GRPC:
        raise InputError(
            "--storage grpc://... is no longer supported: give the address of PgBouncer instead, "
            "postgresql://USER@HOST:6432/DATABASE (docs/distributed.md)"
        )
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if parsed.host:
        raise InputError(
            f"--storage names a server, but SQLite has none: write three slashes before the file; {_EXAMPLE}"
        )
    if parsed.database in (None, "", ":memory:") or parsed.query.get("mode") == "memory":
        raise InputError(f"--storage names no file, so nothing would be kept; {_EXAMPLE}")
    return parsed


def is_server(url: str) -> bool:
    """Return whether a storage is on a server, where several machines may work on one study."""
    return parse_url(url).get_backend_name() != "sqlite"


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file, with the special characters of its path escaped."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_path(url: URL) -> Path | None:
    """Return the path of a SQLite storage, or None for a server or a file: URI."""
    is_file = url.get_backend_name() == "sqlite" and not str(url.database).startswith("file:")
    return Path(str(url.database)) if is_file else None


def shown_url(url: URL) -> str:
    """Return a URL without its password and without its options, which may hold another password."""
    return url.set(query={}).render_as_string(hide_password=True)


def without_secrets(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the arguments of a command line, with the URL of --storage shown without its password."""
    is_url = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if is_url:
            yield _shown(argument)
        elif name == _OPTION and equals:
            yield f"{name}={_shown(value)}"
        else:
            yield argument
        is_url = argument == _OPTION and not is_url


def _shown(url: str) -> str:
    try:
        return shown_url(make_url(url))
    except (ArgumentError, ValueError):
        return "..."


# Tables that every version of Optuna has created.
_OPTUNA_TABLES = {"studies", "version_info"}


def check_sqlite(path: Path) -> None:
    """Raise InputError if a file is not a database, or not a database of Optuna. Nothing is written or locked."""
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"the storage {path} is not a file; name another with --storage")
    tables = set() if is_new(path) else _tables(path)
    if tables and not tables & _OPTUNA_TABLES:
        raise InputError(
            f"the storage {path} is a database of another program: it has the table {min(tables)!r:.80} and none of "
            "Optuna's; name another with --storage"
        )


def is_new(path: Path) -> bool:
    """Return whether a file is missing or empty."""
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def study_names(path: Path) -> tuple[str, ...]:
    """Return the names of the studies in a SQLite file; an empty tuple if they cannot be read."""
    try:
        return tuple(sorted(_texts(path, "SELECT study_name FROM studies"))) if path.is_file() else ()
    except InputError:
        return ()


def _tables(path: Path) -> set[str]:
    """Return the names of the tables of a SQLite file; an empty set if they cannot be read.

    The error is then reported when the storage is opened. Raises InputError if the file is no SQLite database.
    """
    return _texts(path, "SELECT name FROM sqlite_master WHERE type = 'table'")


def _texts(path: Path, query: str) -> set[str]:
    """Return the values of a query with one column; an empty set if it fails. Raises InputError as `_tables` does.

    The file is read through SQLite only: a process that opens
    and closes the file itself loses all its locks on it, also those of its other connections to the database. Another
    process could then change the database while those connections use it.
    """
    # An immutable database is neither locked nor given a file beside it. Changes in a write-ahead log are not seen.
    uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            return {value for (value,) in database.execute(query)}
    except sqlite3.Error as error:
        if "not a database" in str(error):
            raise InputError(f"the storage {path} is not a SQLite database; name another with --storage") from error
        return set()
