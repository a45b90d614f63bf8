"""Readings that are shared: by whom, and how fresh they are."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from search.storage.shared_reads import SharedReads


def test_those_who_wait_share_the_next_reading_and_nobody_an_older_one() -> None:
    shared, begun, may_end = SharedReads(), threading.Event(), threading.Event()
    n_read = 0

    def read() -> int:
        nonlocal n_read
        n_read += 1
        begun.set()
        assert may_end.wait(60)
        return n_read

    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(shared, "study", read)
        assert begun.wait(60)
        # What these want to know may have been written after the first reading began.
        others = [pool.submit(shared, "study", read) for _ in range(10)]
        while len(shared._next) < 1:
            pass
        another = pool.submit(shared, "another study", lambda: "at once")
        assert another.result(60) == "at once"
        assert not any(other.done() for other in others)
        may_end.set()
        assert first.result(60) == 1
        found = [other.result(60) for other in others]
    assert set(found) <= set(range(2, n_read + 1))
    assert 2 <= n_read < 11
    assert shared("study", lambda: "again") == "again"


def test_an_error_is_everybodys_and_does_not_stay() -> None:
    shared = SharedReads()

    def fail() -> None:
        raise KeyError("study")

    with pytest.raises(KeyError):
        shared("study", fail)
    assert shared("study", lambda: 1) == 1


def test_many_threads_read_what_was_written_before_they_asked() -> None:
    shared, written, lock = SharedReads(), [0], threading.Lock()

    def write_and_read() -> bool:
        for _ in range(200):
            with lock:
                written[0] += 1
                mine = written[0]
            if shared("study", lambda: written[0]) < mine:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: write_and_read(), range(8)))
