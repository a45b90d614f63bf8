"""The URL of a storage: read, or refused without repeating it, for it may hold a password; what may be shown of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from search.errors import InputError

_EXAMPLE = "an example: sqlite:///studies/studies.db"
_OPTION = "--storage"
PROXY = "grpc"


def parse_url(url: str) -> URL:
    """What the URL says. Raises InputError for one that is none, or that names no place to keep anything."""
    authority = url.partition("://")[2].partition("/")[0].partition("?")[0]
    if authority.count("@") > 1:
        raise InputError("--storage has more than one '@' before its host; write those of a password as %40")
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        scheme, colon, _ = url.partition(":")
        shown = f"{scheme:.40}{colon}{'...' * bool(colon)}"
        raise InputError(f"--storage is not a database URL, got {shown!r}; {_EXAMPLE}") from None
    if found.drivername == PROXY:
        return _checked_proxy(found)
    if found.get_backend_name() != "sqlite":
        return found
    if found.host:
        raise InputError(
            f"--storage names a server, which SQLite has none of: a file comes after three slashes; {_EXAMPLE}"
        )
    if found.database in (None, "", ":memory:") or found.query.get("mode") == "memory":
        raise InputError(f"--storage names no file, so that nothing would be kept; {_EXAMPLE}")
    return found


def _checked_proxy(url: URL) -> URL:
    """Raise InputError unless it is a host and a port and nothing else."""
    if not url.host or not url.port or url.username or url.password or url.database or url.query:
        raise InputError("--storage of a proxy is grpc://HOST:PORT and nothing more, as `search.py proxy` prints it")
    return url


def is_server(url: str) -> bool:
    """Whether a storage is a server, where several machines may work on one study."""
    return parse_url(url).get_backend_name() != "sqlite"


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever characters its name has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_path(url: URL) -> Path | None:
    """The file, where the storage is a plain one of SQLite."""
    is_file = url.get_backend_name() == "sqlite" and not str(url.database).startswith("file:")
    return Path(str(url.database)) if is_file else None


def shown_url(url: URL) -> str:
    """The URL without its password, and without its options, which may hold another."""
    return url.set(query={}).render_as_string(hide_password=True)


def without_secrets(arguments: Iterable[str]) -> Iterator[str]:
    """Arguments of the command line as they may be kept: no password in the storage's URL."""
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
