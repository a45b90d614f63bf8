"""Optuna storage in a SQLite file, whose writers take the write lock first and whose readers never wait."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy import Connection, event
from sqlalchemy.exc import SAWarning

from search.storage.optuna_internals import READING_METHODS


class FileStorage(RDBStorage):
    """Storage in a SQLite file, whose writing transactions take the write lock at their beginning.

    Every writing method of Optuna reads before it writes: it reads that a trial is waiting, and writes that it is
    running; it reads that the trial is running, and writes its value. A transaction that begins as a reader cannot wait
    for a writer that comes between (SQLITE_BUSY_SNAPSHOT). Without a transaction around both steps, two workers could
    take the same trial. With the write-ahead log, a reader sees what is committed and needs no lock.

    url           in the form that Optuna expects
    busy_seconds  how long a writer waits for another one
    """

    def __init__(self, url: str, busy_seconds: float) -> None:
        self._thread = thread = threading.local()
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)  # SQLAlchemy warns of an option that the driver does not know
            super().__init__(url, engine_kwargs={"connect_args": {"timeout": busy_seconds}})
        event.listen(self.engine, "connect", _set_up)

        def begin(connection: Connection) -> None:
            only_reads = getattr(thread, "n_reads", 0) > 0
            connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

        event.listen(self.engine, "begin", begin)
        self.engine.dispose()  # connections made so far lack the settings


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method whose transactions begin as readers."""

    @functools.wraps(method)
    def call(self: FileStorage, *args: Any, **kwargs: Any) -> Any:
        thread = self._thread
        thread.n_reads = getattr(thread, "n_reads", 0) + 1  # one of these methods may call another
        try:
            return method(self, *args, **kwargs)
        finally:
            thread.n_reads -= 1

    return call


# Whatever is not named there takes the write lock, which is only slow where it is not needed.
for _name in READING_METHODS:
    setattr(FileStorage, _name, _reading(getattr(RDBStorage, _name)))


def _set_up(connection: Any, _record: object) -> None:
    # Readers do not make the writer wait, and a commit does not wait for the disk. A killed process
    # loses nothing; a power cut may lose the last commits but does not damage the file.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.isolation_level = None  # the driver begins no transactions itself; the `begin` event does
