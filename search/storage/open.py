"""Open storages: a SQLite file of one machine, or a PostgreSQL server of many, perhaps behind PgBouncer."""

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

SQLITE_BUSY_SECONDS = 60
# A worker that was silent for so long is given up, and its trial queued again.
GRACE_SECONDS = 180
BEATS_A_GRACE = 3
_FILES, _SERVERS = ("sqlite", "sqlite+pysqlite"), ("postgresql", "postgresql+psycopg")
_CONNECT_SECONDS = 10
# A machine that was switched off must not hold what it had locked for the two hours that are TCP's default.
_KEEPALIVE = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
_SERVER_KEEPALIVE = "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
# Nor must a process that was stopped in the middle of a transaction, which otherwise takes a moment. Of each
# transaction: behind PgBouncer the next one may run on another connection of the server.
_TRANSACTION_SETTINGS = "SET LOCAL idle_in_transaction_session_timeout = '120s'"
# The mean time between two attempts at a lock that somebody else holds.
_LOCK_POLL_SECONDS = 0.1

OnStale = Callable[[optuna.Study, FrozenTrial], None]


class ServerStorage(RDBStorage):
    """PostgreSQL."""

    def record_heartbeat(self, trial_id: int) -> None:
        """See RDBStorage. A beat that fails is not missed: where the server is gone, the trial's next word tells it."""
        try:
            super().record_heartbeat(trial_id)
        except (StorageInternalError, SQLAlchemyError):
            return

    @contextmanager
    def hold(self, what: str) -> Iterator[None]:
        """Hold a lock of the server's, which ends with its transaction: a holder that is killed holds nothing."""
        with _locked(self.engine, what):  # not returned: the storage, which closes its connections, is to outlive it
            yield


def open_storage(url: str, grace: int | None = None, on_stale: OnStale | None = None) -> BaseStorage:
    """Open the storage at a SQLAlchemy URL; a new SQLite file is created. Raises InputError.

    grace: on a server, trials that run tell that they do, and one that was silent for so many seconds is marked failed
    by whoever next begins a trial, who then calls `on_stale`. None: trials run in silence.
    """
    parsed = parse_url(url)
    kind = parsed.drivername
    if kind not in (*_FILES, *_SERVERS):
        raise InputError(
            f"--storage is sqlite:///FILE or postgresql://USER@HOST/DATABASE, got one that is {kind!r:.40}"
        )
    path = sqlite_path(parsed)
    if path is not None:
        check_sqlite(path)
    try:
        if kind in _FILES:
            return _open_file(url, path)
        interval = max(1, grace // BEATS_A_GRACE) if grace else None
        return _open_server(url, parsed, interval, grace, on_stale)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        way_out = "python -m pip install -r requirements-postgresql.txt"
        raise InputError(
            f"a storage of several machines needs {error.name}, which is not installed: {way_out}"
        ) from error
    except Exception as error:  # drivers raise almost anything for a URL that they cannot use
        raise InputError(cannot_open(parsed, error)) from error


def _template(url: str) -> str:
    """Escape a URL for Optuna, which takes braces for fields to fill in."""
    return url.replace("{", "{{").replace("}", "}}")


def _open_file(url: str, path: Path | None) -> RDBStorage:
    with _opened_by_one(path):
        storage = FileStorage(_template(url), SQLITE_BUSY_SECONDS)
        # A file's first connection makes the journal what it stays, for which SQLite does not wait while others write.
        with storage.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM studies WHERE false")  # refused where the file can only be read
    return storage


@contextmanager
def _opened_by_one(path: Path | None) -> Iterator[None]:
    """Let one process at a time open a new file, so that only one makes the tables."""
    with ExitStack() as stack:
        # The folder is what is locked: a file for that would be left beside a database that is refused. Where folders
        # cannot be locked, or there is none, nothing is, and SQLite tells what is wrong.
        with suppress(OSError):
            if path is not None:
                folder = os.open(path.parent, os.O_RDONLY)
                stack.callback(os.close, folder)
                lock_descriptor(folder)
        yield


def _open_server(
    url: str, asked: URL, interval: int | None, grace: int | None, on_stale: OnStale | None
) -> ServerStorage:
    # A statement that is prepared on one connection of the server is unknown on the next that PgBouncer gives.
    defaults = {"connect_timeout": _CONNECT_SECONDS, "prepare_threshold": None, **_KEEPALIVE}
    options = {"connect_args": {name: value for name, value in defaults.items() if name not in asked.query}}
    # A worker holds one connection, and for moments a second, so that a server with room for 100 serves nearly as many.
    pool = {"pool_size": 1, "max_overflow": 4, "pool_pre_ping": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of the heartbeat
        with _tables_made_once(create_engine(asked, poolclass=NullPool, **options)):
            storage = ServerStorage(
                _template(url),
                engine_kwargs={**options, **pool},
                # It holds a connection and asks for another: more workers than connections would wait for each other.
                skip_compatibility_check=True,
                heartbeat_interval=interval,
                grace_period=grace,
                heartbeat_stale_trial_callback=on_stale,
            )
    weakref.finalize(storage, storage.engine.dispose)  # a server has few connections to give
    _check_version(storage)
    event.listen(storage.engine, "connect", _set_up_server)
    event.listen(storage.engine, "begin", _set_up_transaction)
    storage.engine.dispose()
    return storage


def _check_version(storage: RDBStorage) -> None:
    found, known = storage.get_current_version(), storage.get_head_version()
    if found != known:
        raise InputError(
            f"the database was made by another version of Optuna: its tables are {found}, here {known}; see "
            "`optuna storage upgrade`, or install the version that made it"
        )


def _set_up_server(connection: Any, _record: object) -> None:
    # Behind PgBouncer this is of its connection to the server, where it does no harm: PgBouncer looks after ours.
    with connection.cursor() as cursor:
        cursor.execute(_SERVER_KEEPALIVE)
    connection.commit()


def _set_up_transaction(connection: Connection) -> None:
    connection.exec_driver_sql(_TRANSACTION_SETTINGS)


def _tables_made_once(engine: Engine) -> AbstractContextManager[None]:
    """Let one machine at a time open an empty database, so that only one makes the tables."""
    try:
        with engine.connect() as connection:
            is_made = connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one()
    except ProgrammingError:  # there is no such table
        is_made = 0
    return nullcontext() if is_made else _locked(engine, "tables")


@contextmanager
def _locked(engine: Engine, what: str) -> Iterator[None]:
    # Whoever waits lets go of the connection meanwhile: of those that PgBouncer has, the holder needs a second one.
    while True:
        with engine.connect() as connection:
            if connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), _key(what)).scalar_one():
                yield
                return
        time.sleep(random.uniform(0.5, 1.5) * _LOCK_POLL_SECONDS)


def _key(what: str) -> dict[str, int]:
    return {"key": int.from_bytes(hashlib.sha256(f"search.py {what}".encode()).digest()[:8], "big", signed=True)}


def alone(storage: Any, name: str) -> AbstractContextManager[None]:
    """Let no other machine decide about the trials of study `name` meanwhile: what is read there stays true.

    Not to be entered twice. A SQLite file has but one deciding process anyway (search.study.location.only_one).
    """
    storage = backend_of(storage)  # a study sees its storage through a cache
    return storage.hold(f"study {name}") if isinstance(storage, ServerStorage) else nullcontext()
