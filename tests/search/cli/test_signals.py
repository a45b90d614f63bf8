"""Ctrl-C, as a process meets it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from search.cli.signals import interruptible

ROOT = Path(__file__).parents[3]
SAVES = """
import sys, time
from search.cli.signals import interruptible
try:
    with interruptible():
        try:
            print("at work", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            print("saving", flush=True)
            time.sleep(float(sys.argv[1]))
            raise
except KeyboardInterrupt:
    print("saved", flush=True)
    sys.exit(7)
"""


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize(("saving", "times", "expected"), [(0, 1, (7, "saved\n")), (600, 2, (130, ""))])
def test_once_ends_after_saving_and_again_at_once(
    asked: signal.Signals, saving: float, times: int, expected: tuple[int, str]
) -> None:
    words = [sys.executable, "-c", SAVES, str(saving)]
    # A test run in the background of a shell is deaf to SIGINT, and so are its children unless they are told to listen.
    listen = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        assert process.stdout
        for said in ("at work\n", "saving\n")[:times]:
            assert process.stdout.readline() == said
            process.send_signal(asked)
        rest = process.stdout.read().removeprefix("saving\n")
        assert (process.wait(300), rest) == expected


def test_signals_are_as_before_afterwards() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_nothing_is_touched() -> None:
    failures: list[Exception] = []

    def use() -> None:
        try:
            with interruptible():
                pass
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failures == []
