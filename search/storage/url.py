"""The URL of a storage: read, or refused without repeating it, for it may hold a password; what may be shown of it."""

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
_PROXY = "grpc"


def parse_url(url: str) -> URL:
    """Parse the URL of a storage. Raises InputError for one that is none, or that names no place to keep anything."""
    authority = url.partition("://")[2].partition("/")[0].partition("?")[0]
    if authority.count("@") > 1:
        raise InputError("--storage has more than one '@' before its host; write those of a password as %40")
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        scheme, colon, _ = url.partition(":")
        shown = f"{scheme:.40}{colon}{'...' * bool(colon)}"
        raise InputError(f"--storage is not a database URL, got {shown!r}; {_EXAMPLE}") from None
    if found.drivername == _PROXY:
        raise InputError(
            "--storage grpc://... was of a proxy that PgBouncer has replaced: give PgBouncer's address, "
            "postgresql://USER@HOST:6432/DATABASE (docs/distributed.md)"
        )
    if found.get_backend_name() != "sqlite":
        return found
    if found.host:
        raise InputError(
            f"--storage names a server, which SQLite has none of: a file comes after three slashes; {_EXAMPLE}"
        )
    if found.database in (None, "", ":memory:") or found.query.get("mode") == "memory":
        raise InputError(f"--storage names no file, so that nothing would be kept; {_EXAMPLE}")
    return found


def is_server(url: str) -> bool:
    """Return whether a storage is a server, where several machines may work on one study."""
    return parse_url(url).get_backend_name() != "sqlite"


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file, whatever characters its name has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a plain SQLite storage; None of any other storage."""
    is_file = url.get_backend_name() == "sqlite" and not str(url.database).startswith("file:")
    return Path(str(url.database)) if is_file else None


def shown_url(url: URL) -> str:
    """Return the URL without its password, and without its options, which may hold another."""
    return url.set(query={}).render_as_string(hide_password=True)


def without_secrets(arguments: Iterable[str]) -> Iterator[str]:
    """Return arguments of the command line without the password in the storage's URL."""
    follows = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if follows:
            yield _shown(argument)
        elif name == _OPTION and equals:
            yield f"{name}={_shown(value)}"
        else:
            yield argument
        follows = argument == _OPTION and not follows


def _shown(url: str) -> str:
    try:
        return shown_url(make_url(url))
    except (ArgumentError, ValueError):
        return "..."


# Of Optuna's first tables.
_OPTUNAS = {"studies", "version_info"}


def check_sqlite(path: Path) -> None:
    """Raise InputError for a file that is no database, or one of something else. Nothing is written, nothing locked."""
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"the storage {path} is not a file; name another with --storage")
    tables = set() if is_new(path) else _tables(path)
    if tables and not tables & _OPTUNAS:
        raise InputError(
            f"the storage {path} is a database of something else: it has the table {min(tables)!r:.80} and none of "
            "Optuna's; name another with --storage"
        )


def is_new(path: Path) -> bool:
    """Return whether the file is missing or empty."""
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def _tables(path: Path) -> set[str]:
    """Return the names of the tables; none where they cannot be read, which is told where the file is opened.

    Through SQLite alone: a process that opens and closes a file itself loses every lock that it has on it, also those
    of its other connections to the database, which another process may then take apart under them.
    """
    # Immutable: neither a lock nor a file beside it. What is still in a write-ahead log is not seen.
    address = f"file:{quote(str(path))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        if "not a database" in str(error):
            raise InputError(f"the storage {path} is not a SQLite database; name another with --storage") from error
        return set()
