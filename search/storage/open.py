"""Open storages: SQLite files for one machine, and PostgreSQL servers for several, with or without PgBouncer."""

from __future__ import annotations

import hashlib
import os
import random
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import lock_descriptor
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from search.errors import InputError, cannot_open
from search.storage.optuna_internals import backend_of
from search.storage.sqlite import FileStorage
from search.storage.url import check_sqlite, parse_url, sqlite_path

# How long a writer waits for another one.
SQLITE_BUSY_SECONDS = 60
# The trial of a worker that was silent for this long is abandoned, and requeued.
GRACE_SECONDS = 180
HEARTBEATS_PER_GRACE = 3
_FILES, _SERVERS = ("sqlite", "sqlite+pysqlite"), ("postgresql", "postgresql+psycopg")
_CONNECT_SECONDS = 10
# A machine that was switched off must not hold its locks for two hours, which is the default of TCP.
_KEEPALIVE = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
_SERVER_KEEPALIVE = "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
# A process that was stopped in the middle of a transaction must not hold its locks either; transactions usually take
# milliseconds. Every transaction sets this, because behind PgBouncer the next one may run on another connection.
_TRANSACTION_SETTINGS = "SET LOCAL idle_in_transaction_session_timeout = '120s'"
# Mean time between two attempts to take a lock that another process holds.
_LOCK_POLL_SECONDS = 0.1

OnStale = Callable[[optuna.Study, FrozenTrial], None]


class ServerStorage(RDBStorage):
    """Storage on a PostgreSQL server."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat, and ignore errors: if the server is gone, the next write of the trial reports it."""
        try:
            super().record_heartbeat(trial_id)
        except (StorageInternalError, SQLAlchemyError):
            return

    @contextmanager
    def hold(self, lock: str) -> Iterator[None]:
        """Hold a lock of the server, by its name; it ends with its transaction, also if its holder is killed."""
        # The context is entered here and not returned, so that the storage lives until it ends: the storage closes
        # its connections when it is collected.
        with _advisory_lock(self.engine, lock):
            yield


def open_storage(url: str, grace: int | None = None, on_stale: OnStale | None = None) -> BaseStorage:
    """Open the storage at a SQLAlchemy URL; a missing SQLite file is created. Raises InputError.

    grace: on a server, running trials send heartbeats. A process that begins a trial marks those as failed that were
    silent for this many seconds, and calls `on_stale` with each of them. None: no heartbeats.
    """
    parsed = parse_url(url)
    kind = parsed.drivername
    if kind not in (*_FILES, *_SERVERS):
        raise InputError(
            "--storage must be sqlite:///FILE or postgresql://USER@HOST/DATABASE, "
            f"got one that begins with {kind!r:.40}"
        )
    path = sqlite_path(parsed)
    if path is not None:
        check_sqlite(path)
    try:
        if kind in _FILES:
            return _open_file(url, path)
        interval = max(1, grace // HEARTBEATS_PER_GRACE) if grace else None
        return _open_server(url, parsed, interval, grace, on_stale)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        way_out = "python -m pip install -r requirements-postgresql.txt"
        raise InputError(f"a PostgreSQL storage needs {error.name}, which is not installed: {way_out}") from error
    except Exception as error:  # drivers raise almost anything for a URL that they cannot use
        raise InputError(cannot_open(parsed, error)) from error


def _template(url: str) -> str:
    """Escape the braces of a URL, which Optuna would replace as the fields of a template."""
    return url.replace("{", "{{").replace("}", "}}")


def _open_file(url: str, path: Path | None) -> RDBStorage:
    with _folder_lock(path):
        storage = FileStorage(_template(url), SQLITE_BUSY_SECONDS)
        # The first connection to a file sets its journal mode; SQLite does not wait for other writers to do that.
        with storage.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM studies WHERE false")  # fails if the file is read-only
    return storage


@contextmanager
def _folder_lock(path: Path | None) -> Iterator[None]:
    """Lock the folder of a SQLite file while the file is opened, so that only one process creates the tables."""
    with ExitStack() as stack:
        # The folder itself is locked, because a lock file would remain beside a database that is refused. If the folder
        # is missing or cannot be locked, nothing is locked, and SQLite reports the error.
        with suppress(OSError):
            if path is not None:
                folder = os.open(path.parent, os.O_RDONLY)
                stack.callback(os.close, folder)
                lock_descriptor(folder)
        yield


def _open_server(
    url: str, parsed: URL, interval: int | None, grace: int | None, on_stale: OnStale | None
) -> ServerStorage:
    # A statement that is prepared on one connection of the server is unknown on the next one that PgBouncer uses.
    defaults = {"connect_timeout": _CONNECT_SECONDS, "prepare_threshold": None, **_KEEPALIVE}
    options = {"connect_args": {name: value for name, value in defaults.items() if name not in parsed.query}}
    # A worker holds one connection, and briefly a second one: a server with 100 connections serves nearly 100 workers.
    pool = {"pool_size": 1, "max_overflow": 4, "pool_pre_ping": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats are experimental
        with _tables_lock(create_engine(parsed, poolclass=NullPool, **options)):
            storage = ServerStorage(
                _template(url),
                engine_kwargs={**options, **pool},
                # The check needs a second connection: more workers than connections would wait for each other.
                skip_compatibility_check=True,
                heartbeat_interval=interval,
                grace_period=grace,
                heartbeat_stale_trial_callback=on_stale,
            )
    weakref.finalize(storage, storage.engine.dispose)  # a server has few connections
    _check_version(storage)
    event.listen(storage.engine, "connect", _set_up_server)
    event.listen(storage.engine, "begin", _set_up_transaction)
    storage.engine.dispose()
    return storage


def _check_version(storage: RDBStorage) -> None:
    current, supported = storage.get_current_version(), storage.get_head_version()
    if current != supported:
        raise InputError(
            f"the database was made by another version of Optuna: its tables are {current}, here {supported}; see "
            "`optuna storage upgrade`, or install the version that made it"
        )


def _set_up_server(connection: Any, _record: object) -> None:
    # Behind PgBouncer these settings reach its connection to the server, where they do no harm; the connection to
    # PgBouncer is kept alive by PgBouncer itself.
    with connection.cursor() as cursor:
        cursor.execute(_SERVER_KEEPALIVE)
    connection.commit()


def _set_up_transaction(connection: Connection) -> None:
    connection.exec_driver_sql(_TRANSACTION_SETTINGS)


def _tables_lock(engine: Engine) -> AbstractContextManager[None]:
    """Lock an empty database, so that only one machine creates the tables; do nothing if the tables exist."""
    try:
        with engine.connect() as connection:
            n_versions = connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one()
    except ProgrammingError:  # there is no such table
        n_versions = 0
    return nullcontext() if n_versions else _advisory_lock(engine, "tables")


@contextmanager
def _advisory_lock(engine: Engine, name: str) -> Iterator[None]:
    # A process that waits returns its connection meanwhile: the holder of the lock needs a second one, and PgBouncer
    # has only so many.
    while True:
        with engine.connect() as connection:
            if connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), _lock_key(name)).scalar_one():
                yield
                return
        time.sleep(random.uniform(0.5, 1.5) * _LOCK_POLL_SECONDS)


def _lock_key(name: str) -> dict[str, int]:
    return {"key": int.from_bytes(hashlib.sha256(f"search.py {name}".encode()).digest()[:8], "big", signed=True)}


def study_lock(storage: Any, name: str) -> AbstractContextManager[None]:
    """Hold the lock of study `name`, so that no other machine changes its trials between a read and a write.

    The lock is not reentrant. A SQLite file needs none, because a single process decides about its trials
    (search.study.location.hold_study).
    """
    storage = backend_of(storage)  # a study reads its storage through a cache
    return storage.hold(f"study {name}") if isinstance(storage, ServerStorage) else nullcontext()
