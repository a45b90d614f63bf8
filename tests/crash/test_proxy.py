"""One study on several machines behind a proxy: what is killed, the proxy itself among it, and who decides."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.storages._grpc.server import make_server
from optuna.trial import TrialState

from search.errors import InputError
from search.storage.address import address
from search.storage.open import alone, open_storage
from search.storage.proxy_server import serve
from search.study.loop import n_trained
from tests.crash.searches import (
    by_machine,
    check_whole,
    finish,
    open_now,
    pid_of,
    started,
    stop_one_of_each,
    until,
)
from tests.crash.server import PASSWORD, postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def proxied(folder: Path, server: str, port: int, host: str = "127.0.0.1") -> Iterator[Any]:
    """A proxy that answers."""
    with started(folder, "proxy", "--storage", server, "--port", port, "--host", host) as process:
        until(lambda: answers(address(host, port)) or process.poll() is not None, "no proxy")
        assert process.poll() is None, process.stderr.read()
        yield process


def answers(at: str) -> bool:
    with suppress(InputError):
        open_storage(f"grpc://{at}")
        return True
    return False


@pytest.fixture(scope="module")
def proxy(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with proxied(tmp_path_factory.mktemp("proxy"), server, port):
        yield f"grpc://127.0.0.1:{port}"


def test_workers_are_killed_before_the_proxy_and_behind_it_and_the_proxy_too(
    server: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    asked, port = 7, free_port()
    url = f"grpc://127.0.0.1:{port}"
    arguments = (*digits, "--study", "four", "--trials", asked, "--jobs", 2, "--epochs", 8)
    with (
        proxied(tmp_path / "proxy", server, port) as first,
        started(tmp_path / "a", *arguments, "--storage", server) as a,
        started(tmp_path / "b", *arguments, "--storage", url) as b,
    ):
        study = open_now(server, "four")
        mains = {"a": a.pid, "b": b.pid}
        caught = stop_one_of_each(study, mains)
        for trial in caught:
            os.kill(pid_of(trial), signal.SIGKILL)
        until(lambda: n_trained(study.get_trials(deepcopy=False)) >= 2, "nothing was trained")
        until(lambda: by_machine(study, mains)["b"], "b did not train")
        first.kill()
        first.wait()
        time.sleep(3)  # in which the workers come to the end of an epoch and find nobody to tell
        with proxied(tmp_path / "proxy", server, port) as second:
            said = finish(a) + finish(b)
            second.send_signal(signal.SIGINT)
            _, of_proxy = second.communicate(timeout=60)
    assert second.returncode == 130
    assert url in of_proxy
    assert PASSWORD not in said + of_proxy
    check_whole(study, asked, 4)
    assert {trial.number for trial in caught} <= retried(study)
    # Though both had made the study, and queued what comes first.
    starts = Counter(
        str({"start", "baseline"} & trial.user_attrs.keys() and trial.params)
        for trial in study.trials
        if "retry_of" not in trial.user_attrs
    )
    assert [n for point, n in starts.items() if point != "set()" and n > 1] == []
    # Every machine has a report of the whole study; the winner's files one of them.
    folders = [tmp_path / name / "studies" / "four" for name in "ab"]
    tables = {(folder / "trials.csv").read_text() for folder in folders}
    assert len(tables) == 1
    winners = [(folder / "winner" / "card.json").is_file() for folder in folders]
    assert sorted(winners) == [False, True]
    assert len(re.findall("no winner/ here: the weights of trial", said)) == 1
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("where", ["behind the proxy", "at the server"])
def test_a_machine_buries_the_dead_of_another_and_a_worker_that_was_only_slow(
    server: str, proxy: str, tmp_path: Path, digits: tuple[str, ...], where: str
) -> None:
    """The other one dies at the server; the slow worker is of the machine that is left."""
    asked, grace, name = 5, 10, where.replace(" ", "-")
    common = (*digits, "--study", name, "--trials", asked, "--epochs", 8, "--grace", grace)
    url = proxy if where == "behind the proxy" else server
    with (
        started(tmp_path / "a", *common, "--storage", url, "--jobs", 2) as a,
        started(tmp_path / "b", *common, "--storage", server, "--jobs", 1) as b,
    ):
        study = open_now(server, name)
        mains = {"a": a.pid, "b": b.pid}
        slow, lost = stop_one_of_each(study, mains)
        b.kill()  # with one job it is what trains
        until(lambda: study.get_trials(deepcopy=False)[slow.number].state == TrialState.FAIL, "it was not given up")
        os.kill(pid_of(slow), signal.SIGCONT)
        finish(a)
    check_whole(study, asked, 3)
    assert {lost.number, slow.number} <= retried(study)


def retried(study: optuna.Study) -> set[int]:
    """The numbers of the trials that were queued again."""
    return {trial.user_attrs["retry_of"] for trial in study.trials if "retry_of" in trial.user_attrs}


def test_machines_with_folders_of_their_own_search_and_confirm_together(
    server: str, proxy: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    arguments = (*digits, "--study", "apart", "--storage", proxy, "--trials", 4, "--jobs", 1, "--epochs", 1)
    arguments = (*arguments, "--confirm", "2:2")
    with started(tmp_path / "a", *arguments) as a, started(tmp_path / "b", *arguments) as b:
        said = finish(a) + finish(b)
    check_whole(open_now(server, "apart"), 4, 2)
    # Of two workers that saw one trial left in the queue, one gets a trial that is none.
    repeats = [trial for trial in open_now(server, "apart-repeats").get_trials() if "repeat" in trial.user_attrs]
    identities = [tuple(trial.user_attrs["repeat"][name] for name in ("purpose", "trial", "seed")) for trial in repeats]
    assert len(set(identities)) == len(identities) >= 2 * 2 + 2
    # The one that trained the median network has the winner's files; the other says where they are.
    folders = [tmp_path / name / "studies" / "apart" for name in "ab"]
    assert sorted((folder / "winner" / "card.json").is_file() for folder in folders) == [False, True]
    assert said.count("are not in") == 1
    assert len({(folder / "trials.csv").read_text() for folder in folders}) == 1
    assert len({"mean of 2 fresh seeds" in (folder / "report.md").read_text() for folder in folders}) == 1


def test_the_lock_holds_behind_the_proxy_and_before_it(server: str, proxy: str) -> None:
    seen: list[str] = []
    storages = [open_storage(url) for url in (proxy, server, proxy, server)]

    def hold(storage: Any) -> None:
        for _ in range(5):
            with alone(storage, "one"):
                seen.append("in")
                time.sleep(0.02)
                seen.append("out")

    threads = [threading.Thread(target=hold, args=(storage,)) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["in", "out"] * 20


def test_two_studies_do_not_wait_for_each_other(proxy: str) -> None:
    storage = open_storage(proxy)
    with alone(storage, "one"), alone(storage, "other"):
        pass


def hold_until_killed(url: str, told: Any) -> None:
    with alone(open_storage(url), "one"):
        told.send("held")
        time.sleep(600)


def test_a_holder_that_is_killed_holds_nothing(proxy: str) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold_until_killed, args=(proxy, theirs))
    process.start()
    assert ours.recv() == "held"
    process.kill()
    process.join()
    with alone(open_storage(proxy), "one"):
        pass


def test_more_that_wait_than_the_proxy_has_threads(proxy: str) -> None:
    """Each that waited in a thread of the proxy's would leave the holder none for its own calls."""
    entered = []

    def wait() -> None:
        with alone(open_storage(proxy), "crowd"):
            entered.append(None)

    holder = open_storage(proxy)
    with alone(holder, "crowd"):
        threads = [threading.Thread(target=wait) for _ in range(40)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        assert holder.get_all_studies() is not None
        assert not entered
    for thread in threads:
        thread.join()
    assert len(entered) == 40


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_an_address_of_six_groups(server: str, tmp_path: Path) -> None:
    with proxied(tmp_path, server, free_port(), "::1"):
        pass


def test_another_program_at_that_address_is_refused() -> None:
    server = make_server(InMemoryStorage(), "127.0.0.1", port := free_port())
    server.start()
    try:
        with pytest.raises(InputError, match="what answers is another program; start `search"):
            open_storage(f"grpc://127.0.0.1:{port}")
    finally:
        server.stop(0).wait()


def test_two_proxies_do_not_share_an_address(server: str, proxy: str) -> None:
    with pytest.raises(InputError, match="choose another --host or --port"):
        serve(server, "127.0.0.1", int(proxy.rpartition(":")[2]))
