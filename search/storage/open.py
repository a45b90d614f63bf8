"""Where studies lie: a SQLite file of one machine, or a PostgreSQL server of many, perhaps behind a proxy."""

from __future__ import annotations

import hashlib
import os
import warnings
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import ProgrammingError, SAWarning, SQLAlchemyError

from search.errors import InputError, cannot_open
from search.storage.proxy_client import OnStale, ProxyStorage
from search.storage.url import PROXY, check_sqlite, parse_url, sqlite_path

SQLITE_BUSY_SECONDS = 60
# A worker that was silent for so long is given up, and its trial queued again.
GRACE_SECONDS = 180
BEATS_A_GRACE = 3
_FILES, _SERVERS = ("sqlite", "sqlite+pysqlite"), ("postgresql", "postgresql+psycopg")
_CONNECT_SECONDS = 10
# A machine that was switched off must not hold what it had locked for the two hours that are TCP's default.
_KEEPALIVE = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
_SERVER_SETTINGS = (
    "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; "
    # Nor must a process that was stopped in the middle of a transaction, which otherwise takes a moment.
    "SET idle_in_transaction_session_timeout = '120s'"
)


class ServerStorage(RDBStorage):
    """PostgreSQL."""

    def record_heartbeat(self, trial_id: int) -> None:
        """See RDBStorage. A beat that fails is not missed: where the server is gone, the trial's next word tells it."""
        try:
            super().record_heartbeat(trial_id)
        except (StorageInternalError, SQLAlchemyError):
            return

    def hold(self, what: str) -> AbstractContextManager[None]:
        """Hold a lock of the server's, which goes with the connection: a holder that is killed holds nothing."""
        return _locked(self.engine, what)

    @contextmanager
    def hold_if_free(self, what: str) -> Iterator[bool]:
        """The same without waiting: whether it is held."""
        with self.engine.connect() as connection:
            yield connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), _key(what)).scalar_one()


def open_storage(
    url: str, grace: int | None = None, on_stale: OnStale | None = None, n_threads: int = 1
) -> BaseStorage:
    """The storage at a SQLAlchemy URL, or at grpc://HOST:PORT; a new SQLite file is created. Raises InputError.

    grace: on a server, trials that run tell that they do, and one that was silent for so many seconds is marked failed
    by whoever next begins a trial, who then calls `on_stale`. None: trials run in silence.
    n_threads: of this process, that use it at the same time: as many connections are kept, for moments twice as many.
    """
    parsed = parse_url(url)
    kind = parsed.drivername
    if kind not in (*_FILES, *_SERVERS, PROXY):
        raise InputError(
            "--storage is sqlite:///FILE, postgresql://USER@HOST/DATABASE or grpc://HOST:PORT, got one that is "
            f"{kind!r:.40}"
        )
    path = sqlite_path(parsed)
    if path is not None:
        check_sqlite(path)
    try:
        if kind in _FILES:
            return _open_file(url, path)
        interval = max(1, grace // BEATS_A_GRACE) if grace else None
        if kind == PROXY:
            return ProxyStorage(str(parsed.host), parsed.port or 0, interval, grace, on_stale)
        return _open_server(url, parsed, interval, grace, on_stale, n_threads)
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
    """As Optuna wants it, which takes braces for fields to fill in."""
    return url.replace("{", "{{").replace("}", "}}")


def _open_file(url: str, path: Path | None) -> RDBStorage:
    with _opened_by_one(path), warnings.catch_warnings():
        warnings.simplefilter("error", SAWarning)  # of an option that the driver does not know
        storage = RDBStorage(_template(url), engine_kwargs={"connect_args": {"timeout": SQLITE_BUSY_SECONDS}})
        event.listen(storage.engine, "connect", _set_up_sqlite)
        event.listen(storage.engine, "begin", _begin_immediately)
        storage.engine.dispose()  # connections made so far lack the settings
        # A file's first connection makes the journal what it stays, for which SQLite does not wait while others write.
        with storage.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM studies WHERE false")  # refused where the file can only be read
    return storage


@contextmanager
def _opened_by_one(path: Path | None) -> Iterator[None]:
    """A context for opening: of processes that come to a new file at the same moment, one makes the tables."""
    with ExitStack() as stack:
        # The folder is what is locked: a file for that would be left beside a database that is refused. Where folders
        # cannot be locked, or there is none, nothing is, and SQLite tells what is wrong.
        with suppress(OSError):
            if path is not None:
                folder = os.open(path.parent, os.O_RDONLY)
                stack.callback(os.close, folder)
                lock_descriptor(folder)
        yield


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Readers do not block the writer, and a commit no longer waits for the disk. A killed process
    # loses nothing; a power cut may lose the last commits but leaves the file whole.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.isolation_level = None  # the driver begins no transactions of its own: the next function does


def _begin_immediately(connection: Connection) -> None:
    # Optuna claims a queued trial by reading that it waits and then writing that it runs. The driver would begin the
    # transaction at the write only, so that two workers could both read, both write, and both train the same trial.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _open_server(
    url: str, asked: URL, interval: int | None, grace: int | None, on_stale: OnStale | None, n_threads: int
) -> ServerStorage:
    defaults = {"connect_timeout": _CONNECT_SECONDS, **_KEEPALIVE}
    options = {"connect_args": {name: value for name, value in defaults.items() if name not in asked.query}}
    # A worker holds one connection, and for moments a second, so that a server with room for 100 serves nearly as many.
    pool = {"pool_size": n_threads, "max_overflow": n_threads + 3, "pool_pre_ping": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of the heartbeat
        with _tables_made_once(create_engine(asked, poolclass=NullPool, **options)):
            storage = ServerStorage(
                _template(url),
                engine_kwargs={**options, **pool},
                heartbeat_interval=interval,
                grace_period=grace,
                heartbeat_stale_trial_callback=on_stale,
            )
    event.listen(storage.engine, "connect", _set_up_server)
    storage.engine.dispose()
    weakref.finalize(storage, storage.engine.dispose)  # a server has few connections to give
    return storage


def _set_up_server(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SERVER_SETTINGS)
    connection.commit()


def _tables_made_once(engine: Engine) -> AbstractContextManager[None]:
    """A context for opening: of machines that come to an empty database at the same moment, one makes the tables."""
    try:
        with engine.connect() as connection:
            is_made = connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one()
    except ProgrammingError:  # there is no such table
        is_made = 0
    return nullcontext() if is_made else _locked(engine, "tables")


@contextmanager
def _locked(engine: Engine, what: str) -> Iterator[None]:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), _key(what))
        yield


def _key(what: str) -> dict[str, int]:
    return {"key": int.from_bytes(hashlib.sha256(f"search.py {what}".encode()).digest()[:8], "big", signed=True)}


def alone(storage: Any, name: str) -> AbstractContextManager[None]:
    """A context in which no other machine decides about the trials of study `name`: what it reads there stays true.

    Not to be entered twice. A SQLite file has but one deciding process anyway (search.study.location.only_one).
    """
    storage = getattr(storage, "_backend", storage)  # a study sees its storage through a cache
    return storage.hold(f"study {name}") if isinstance(storage, ServerStorage | ProxyStorage) else nullcontext()
