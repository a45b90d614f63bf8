"""Test one study on a PostgreSQL server behind PgBouncer in transaction mode: killed processes, locks, recovery."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from benchmarks.many_workers import Crowd, run_crowd, work
from search.errors import InputError
from search.storage.open import ServerStorage, open_storage, study_lock
from search.study.loop import n_trained
from tests.crash.searches import (
    check_study,
    pid_of,
    started,
    suspend_one_per_machine,
    wait_for_study,
    wait_for_success,
    wait_until,
)
from tests.crash.server import PASSWORD, pgbouncer, postgresql

pytestmark = pytest.mark.server

N_CONNECTIONS = 20


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(scope="module")
def bouncer(server: str) -> Iterator[str]:
    with pgbouncer(server, N_CONNECTIONS) as url:
        yield url


def requeued(study: optuna.Study) -> set[int]:
    """Return the numbers of the trials that were requeued."""
    return {trial.user_attrs["retry_of"] for trial in study.trials if "retry_of" in trial.user_attrs}


def test_forty_workers_on_twenty_connections_recover_from_a_kill(bouncer: str) -> None:
    crowd = Crowd(40, n_killed=1, n_trials=45, n_processes=4, n_suggestions=3, epoch_seconds=0.05, grace=6)
    outcome = run_crowd(bouncer, crowd)
    assert outcome.errors == []
    assert outcome.n_connections <= N_CONNECTIONS
    study, interrupted = outcome.study, requeued(outcome.study)
    assert interrupted
    # One more worker trains the requeued trials that the others left.
    asked = n_trained(study.trials) + len(interrupted)
    work(bouncer, study.study_name, 1, Crowd(1, 0, asked, n_suggestions=3, epoch_seconds=0))
    check_study(study, asked, 1)


def test_a_transaction_ends_if_its_process_is_suspended(bouncer: str) -> None:
    storage = open_storage(bouncer)
    assert isinstance(storage, ServerStorage)
    with storage.engine.connect() as first, storage.engine.connect() as second:
        for connection in (first, second):
            assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "2min"


def test_a_worker_never_needs_two_connections_at_once(server: str) -> None:
    """If each worker needed two, more workers than connections would wait for each other."""
    open_storage(server)
    with pgbouncer(server, pool_size=1) as url:
        study = optuna.create_study(storage=open_storage(url))
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=2)
        assert len(study.trials) == 2


def test_tables_of_another_version_of_optuna_are_refused(server: str) -> None:
    storage = open_storage(server)
    assert isinstance(storage, ServerStorage)
    version_here = storage.get_head_version()

    def write(version: str) -> None:
        with storage.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})

    write("v99")
    try:
        with pytest.raises(InputError, match="made by another version of Optuna: its tables are v99, here v"):
            open_storage(server)
    finally:
        write(version_here)
    open_storage(server)


def test_the_lock_holds_with_and_without_pgbouncer(server: str, bouncer: str) -> None:
    events: list[str] = []

    def hold(url: str) -> None:
        storage = open_storage(url)
        for _ in range(5):
            with study_lock(storage, "one"):
                events.append("in")
                storage.get_all_studies()
                events.append("out")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, (bouncer, server, bouncer, server)))
    assert events == ["in", "out"] * 20


def test_two_studies_do_not_wait_for_each_other(bouncer: str) -> None:
    storage = open_storage(bouncer)
    with study_lock(storage, "one"), study_lock(storage, "other"):
        pass


def test_waiting_workers_leave_a_connection_to_the_holder(server: str) -> None:
    n_waiting = 6
    with pgbouncer(server, pool_size=3) as url:
        storages = [open_storage(url) for _ in range(n_waiting)]
        holder, entered, gate = open_storage(url), [], threading.Barrier(n_waiting + 1)

        def wait(storage: Any) -> None:
            gate.wait()
            with study_lock(storage, "crowd"):
                entered.append(storage)

        with ThreadPoolExecutor(n_waiting) as pool:
            with study_lock(holder, "crowd"):
                waiting = [pool.submit(wait, storage) for storage in storages]
                gate.wait()
                for _ in range(100):
                    holder.get_all_studies()
                assert not entered
            for future in waiting:
                future.result()
        assert len(entered) == n_waiting


def hold_until_killed(url: str, pipe: Any) -> None:
    with study_lock(open_storage(url), "one"):
        pipe.send("held")
        signal.pause()


def test_a_killed_holder_releases_the_lock(bouncer: str) -> None:
    receiver, sender = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold_until_killed, args=(bouncer, sender))
    process.start()
    assert receiver.recv() == "held"
    process.kill()
    process.join()
    with study_lock(open_storage(bouncer), "one"):
        pass


def test_workers_are_killed_with_and_without_pgbouncer(
    server: str, bouncer: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    asked = 7
    arguments = (*digits, "--study", "four", "--trials", asked, "--jobs", 2, "--epochs", 8)
    with (
        started(tmp_path / "a", *arguments, "--storage", server) as a,
        started(tmp_path / "b", *arguments, "--storage", bouncer) as b,
    ):
        study = wait_for_study(server, "four")
        suspended = suspend_one_per_machine(study, {"a": a.pid, "b": b.pid})
        for trial in suspended:
            os.kill(pid_of(trial), signal.SIGKILL)
        errors = wait_for_success(a) + wait_for_success(b)
    assert PASSWORD not in errors
    check_study(study, asked, 4)
    assert {trial.number for trial in suspended} <= requeued(study)
    # Each starting point was queued once, although both machines created the study.
    starts = Counter(
        str({"start", "baseline"} & trial.user_attrs.keys() and trial.params)
        for trial in study.trials
        if "retry_of" not in trial.user_attrs
    )
    assert [n for point, n in starts.items() if point != "set()" and n > 1] == []
    # Each machine has a report of the whole study, but only one has the files of the winner.
    folders = [tmp_path / name / "studies" / "four" for name in "ab"]
    assert len({(folder / "trials.csv").read_text() for folder in folders}) == 1
    assert sorted((folder / "winner" / "card.json").is_file() for folder in folders) == [False, True]
    assert len(re.findall("the winner is not exported: the weights of trial", errors)) == 1
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("where", ["behind PgBouncer", "at the server"])
def test_a_machine_recovers_the_trials_of_another_and_of_a_slow_worker(
    server: str, bouncer: str, tmp_path: Path, digits: tuple[str, ...], where: str
) -> None:
    """The killed machine is connected to the server directly; the slow worker belongs to the surviving machine."""
    asked, grace, name = 5, 10, where.replace(" ", "-")
    common = (*digits, "--study", name, "--trials", asked, "--epochs", 8, "--grace", grace)
    url = bouncer if where == "behind PgBouncer" else server
    with (
        started(tmp_path / "a", *common, "--storage", url, "--jobs", 2) as a,
        started(tmp_path / "b", *common, "--storage", server, "--jobs", 1) as b,
    ):
        study = wait_for_study(server, name)
        slow, interrupted = suspend_one_per_machine(study, {"a": a.pid, "b": b.pid})
        b.kill()  # with one job the main process trains
        wait_until(
            lambda: study.get_trials(deepcopy=False)[slow.number].state == TrialState.FAIL,
            "the slow trial was not abandoned",
        )
        os.kill(pid_of(slow), signal.SIGCONT)
        wait_for_success(a)
    check_study(study, asked, 3)
    assert {interrupted.number, slow.number} <= requeued(study)


def test_machines_with_folders_of_their_own_search_and_confirm_together(
    server: str, bouncer: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    arguments = (*digits, "--study", "apart", "--storage", bouncer, "--trials", 4, "--jobs", 1, "--epochs", 1)
    arguments = (*arguments, "--confirm", "2:2")
    with started(tmp_path / "a", *arguments) as a, started(tmp_path / "b", *arguments) as b:
        errors = wait_for_success(a) + wait_for_success(b)
    check_study(wait_for_study(server, "apart"), 4, 2)
    # If two workers see one last trial in the queue, one of them gets a trial without a repeat.
    repeats = [trial for trial in wait_for_study(server, "apart-repeats").get_trials() if "repeat" in trial.user_attrs]
    identities = [tuple(trial.user_attrs["repeat"][name] for name in ("purpose", "trial", "seed")) for trial in repeats]
    assert len(set(identities)) == len(identities) >= 2 * 2 + 2
    # The machine that trained the median network has the files of the winner; the other says where they are.
    folders = [tmp_path / name / "studies" / "apart" for name in "ab"]
    assert sorted((folder / "winner" / "card.json").is_file() for folder in folders) == [False, True]
    assert errors.count("are not in") == 1
    assert len({(folder / "trials.csv").read_text() for folder in folders}) == 1
    assert len({"mean of 2 fresh seeds" in (folder / "report.md").read_text() for folder in folders}) == 1
