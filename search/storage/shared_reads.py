"""Reading a study once for all that ask for it at the same time.

Every reading of a study costs the proxy as much as the study has trials that run, and the more run, the more ask.
Optuna reads for one after the other; here those who wait for their turn get what the next reading finds.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Container, Hashable
from concurrent.futures import Future
from typing import Any

from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState


class SharedReads:
    """Reads one at a time for each key; an answer is never older than the question."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._next: dict[Hashable, Future[Any]] = {}

    def __call__(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """What `read` returns, or raises, to everybody who asked before it was begun."""
        with self._lock:
            found, turn = self._next.get(key), self._turns[key]
            if found is None:
                mine = self._next[key] = Future()
        if found is not None:
            return found.result()
        with turn:
            with self._lock:
                del self._next[key]  # whoever asks from now on may want to know what is written from now on
            try:
                mine.set_result(read())
            except BaseException as error:
                mine.set_exception(error)
        return mine.result()


class SharingStorage(_CachedStorage):
    """Optuna's cache of a database, whose trials are read once for all that ask at the same time."""

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self._reads = SharedReads()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See BaseStorage."""
        read = super().get_all_trials
        trials: list[FrozenTrial] = self._reads(study_id, lambda: read(study_id, deepcopy=False))
        found = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found
