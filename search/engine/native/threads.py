"""Choose the number of threads of a training's steps, which may change while it runs and changes no result."""

from __future__ import annotations

import time
from collections.abc import Callable

# Of every PERIOD steps, N_COMPARED take all allowed threads and as many take one, in turn. The others take what was
# faster: more threads than one do not pay for tiny batches, and on cores that are busy with other work.
PERIOD, N_COMPARED = 300, 6


class ThreadChoice:
    """Number of threads of the steps of a training, at most as many as `allowed` returns at the moment.

    current  number of threads of the last step
    """

    def __init__(self, allowed: Callable[[], int]) -> None:
        self._allowed = allowed
        self._n_steps = 0
        self._seconds: dict[int, float] = {}
        self._faster = self._n_allowed = self.current = 1

    def run(self, step: Callable[[int], object]) -> None:
        """Call step(number of threads)."""
        n_allowed = self._allowed()
        if n_allowed != self._n_allowed:
            self._n_allowed, self._n_steps = n_allowed, 0
        if n_allowed == 1:
            self.current = 1
            step(1)
            return
        position = self._n_steps % PERIOD
        self._n_steps += 1
        if position == 0:
            self._seconds = {1: 0.0, n_allowed: 0.0}
        is_compared = position < 2 * N_COMPARED
        self.current = (1 if position % 2 else n_allowed) if is_compared else self._faster
        started = time.perf_counter()
        step(self.current)
        if is_compared:
            self._seconds[self.current] += time.perf_counter() - started
            self._faster = min(self._seconds, key=self._seconds.__getitem__)
