"""Databases that cannot be used, and what their failures are called."""

from __future__ import annotations

import errno
import inspect
import json
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from search.cli import main
from search.errors import InputError, explanation
from search.storage.open import open_storage
from search.storage.optuna_internals import READING_METHODS, backend_of, storage_of, study_id_of
from search.study.loop import StopRule, run_trials
from search.study.study import load_study, open_study


def test_a_folder_with_braces_holds_a_database(tmp_path: Path) -> None:
    folder = tmp_path / "a{b}c"
    folder.mkdir()
    open_storage(f"sqlite:///{folder}/studies.db")
    assert (folder / "studies.db").is_file()


def test_of_many_that_make_one_database_at_the_same_moment_none_fails(tmp_path: Path) -> None:
    names = {f"study{i}" for i in range(6)}
    gate = threading.Barrier(len(names))

    def make(folder: Path, name: str) -> None:
        gate.wait()
        optuna.create_study(storage=open_storage(f"sqlite:///{folder}/studies.db"), study_name=name)

    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with ThreadPoolExecutor(len(names)) as pool:
            for made in [pool.submit(make, folder, name) for name in names]:
                made.result()
        assert set(optuna.get_all_study_names(f"sqlite:///{folder}/studies.db")) == names
        with closing(sqlite3.connect(folder / "studies.db")) as database:
            for table in ("version_info", "alembic_version"):
                assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "mysql://me:secret@host/db",
            "--storage must be sqlite:///FILE or postgresql://USER@HOST/DATABASE, got one that begins with",
        ),
        ("postgres://me:secret@host/db", "got one that begins with 'postgres'"),
        ("studies.db", "--storage is not a database URL, got 'studies.db'"),
        ("postgresql://me:sec@ret@host/db", "write those of a password as %40"),
        ("postgresql://me:secret@host:port/db", "--storage is not a database URL"),
        ("postgresql://me:secret@127.0.0.1:1/db", "cannot open the postgresql storage: connection"),
    ],
)
def test_what_is_no_storage_is_one_line_without_the_password(url: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_storage(url)
    said = str(caught.value)
    assert words in said
    assert "\n" not in said
    assert not any(secret in said for secret in ("secret", "sec@ret", "ret@"))


def test_without_its_driver_a_server_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"needs psycopg, .*: python -m pip install -r requirements-postgresql.txt"):
        open_storage("postgresql://me@127.0.0.1:1/db")


def failed(reason: str) -> StorageInternalError:
    """As Optuna raises it."""
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = OperationalError("INSERT INTO trials", {}, sqlite3.OperationalError(reason))
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            failed("database is locked"),
            "the storage failed: database is locked; another program has locked it; end that program",
        ),
        (failed("database or disk is full"), "the storage failed: database or disk is full; free some space"),
        (
            failed("server closed the connection\nunexpectedly"),
            "the storage failed: server closed the connection; when it is available again",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "a.pt"), "a.pt: No space left on device; free some space"),
    ],
)
def test_failures_of_database_and_disk_are_one_line_with_the_way_out(error: Exception, words: str) -> None:
    said = str(explanation(error))
    assert words in said
    assert "repeat the command to continue" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "error",
    [
        ValueError("locked"),
        KeyError("full"),
        OSError(errno.EINVAL, "Invalid argument"),
        json.JSONDecodeError("Expecting value", "", 0),
    ],
)
def test_other_errors_are_not_taken_for_that(error: Exception) -> None:
    assert explanation(error) is None


def test_a_database_that_another_program_locks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.storage.open.SQLITE_BUSY_SECONDS", 0.1)
    study = open_study(open_storage(f"sqlite:///{tmp_path}/studies.db"), "one", {})
    with closing(sqlite3.connect(tmp_path / "studies.db", isolation_level=None)) as other:

        def meets_a_lock(trial: optuna.Trial) -> float:
            other.execute("BEGIN IMMEDIATE")
            trial.set_user_attr("outcome", "finished")
            return 1.0

        # Optuna's own clearing up fails as well, which must not hide why.
        with pytest.raises(StorageInternalError) as caught:
            run_trials(study, meets_a_lock, 0, StopRule(1))
        assert "database is locked; another program has locked it" in str(explanation(caught.value))


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.storage.open.SQLITE_BUSY_SECONDS", 0.01)
    study = open_study(open_storage(f"sqlite:///{tmp_path}/studies.db"), "one", {})
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=1)
    with closing(sqlite3.connect(tmp_path / "studies.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM trial_params")
        found = load_study(storage_of(study), "one")
        assert found.trials[0].params == study.best_trial.params != {}
        storage = backend_of(storage_of(study))
        arguments = {
            "study_id": study_id_of(study),
            "trial_id": 1,
            "study_name": "one",
            "param_name": "x",
            "direction": study.direction,
        }
        arguments |= {"trial_number": 0, "states": None, "included_trial_ids": set(), "trial_id_greater_than": -1}
        for name in READING_METHODS:
            method = getattr(storage, name)
            method(**{key: arguments[key] for key in inspect.signature(method).parameters if key in arguments})
        with pytest.raises(StorageInternalError):
            study.set_user_attr("written", True)
    study.set_user_attr("written", True)


def test_workers_that_claim_at_the_same_moment_lose_and_double_nothing(tmp_path: Path) -> None:
    url, n_queued, n_workers = f"sqlite:///{tmp_path}/studies.db", 30, 6
    study = open_study(open_storage(url), "one", {})
    for i in range(n_queued):
        study.enqueue_trial({}, user_attrs={"place": i})
    studies = [load_study(open_storage(url), "one") for _ in range(n_workers)]
    gate = threading.Barrier(n_workers)

    def claim(study: optuna.Study) -> list[int]:
        claimed = []
        gate.wait()
        while True:
            trial = study.ask()
            study.tell(trial, 1.0)
            if "place" not in trial.user_attrs:
                return claimed
            claimed.append(trial.user_attrs["place"])

    with ThreadPoolExecutor(n_workers) as pool:
        claimed = [place for places in pool.map(claim, studies) for place in places]
    assert sorted(claimed) == list(range(n_queued))
    assert [trial.number for trial in study.trials] == list(range(n_queued + n_workers))


def test_the_command_line_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_args: object) -> int:
        raise failed("database or disk is full")

    monkeypatch.setattr(main.COMMANDS["space"], "run", fails)
    assert main.main(["space"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("search.py: the storage failed: database or disk is full; free some space")
    assert said.count("\n") == 1
