"""What a SQLite file is, before it is opened as a storage: Optuna would write its tables into any database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from search.errors import InputError

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
    """Whether there is nothing yet in the file, or no file."""
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def _tables(path: Path) -> set[str]:
    """Their names; none where they cannot be read, which is told where the file is opened.

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
