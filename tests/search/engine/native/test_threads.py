"""The number of threads that steps of a training use."""

from __future__ import annotations

import pytest

from search.engine.native import threads
from search.engine.native.threads import N_COMPARED, PERIOD, ThreadChoice


class Steps:
    """Steps on a clock of their own, which take a number of seconds that depends on their number of threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> None:
        self.now, self.seconds, self.allowed, self.used = 0.0, seconds, 4, list[int]()
        monkeypatch.setattr(threads.time, "perf_counter", lambda: self.now)
        self.choice = ThreadChoice(lambda: self.allowed)

    def take(self, n: int) -> list[int]:
        """Take steps and return their numbers of threads."""
        for _ in range(n):
            self.choice.run(self._step)
        return self.used[-n:]

    def _step(self, n_threads: int) -> None:
        self.used.append(n_threads)
        self.now += self.seconds[n_threads]


@pytest.mark.parametrize(("seconds", "faster"), [({1: 4.0, 4: 1.5}, 4), ({1: 1.0, 4: 1.5}, 1)])
def test_steps_use_what_is_faster(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], faster: int) -> None:
    steps = Steps(monkeypatch, seconds)
    assert steps.take(2 * N_COMPARED) == [4, 1] * N_COMPARED
    assert set(steps.take(PERIOD - 2 * N_COMPARED)) == {faster}
    # The other work of the machine has changed.
    steps.seconds = {1: seconds[4], 4: seconds[1]}
    assert steps.take(2 * N_COMPARED) == [4, 1] * N_COMPARED
    assert set(steps.take(50)) == {5 - faster}


def test_a_limit_that_changes_holds_from_the_next_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, {1: 4.0, 2: 2.2, 4: 1.5})
    steps.allowed = 1
    assert set(steps.take(50)) == {1}
    steps.allowed = 4
    assert set(steps.take(50)[2 * N_COMPARED :]) == {4}
    steps.allowed = 2
    assert set(steps.take(50)[2 * N_COMPARED :]) == {2}
    steps.allowed = 1
    assert set(steps.take(50)) == {1}
