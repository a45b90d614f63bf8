"""Divide the cores among the workers of a study."""

from __future__ import annotations

import ctypes
from multiprocessing.sharedctypes import RawValue

from search.cores import n_cores


class CoresEach:
    """Number of cores for each worker of a study, which the main process sets and the workers read at any time.

    It can be passed to a process that is being started.
    """

    def __init__(self) -> None:
        self._number = RawValue(ctypes.c_int, 1)

    def divide_among(self, n_workers: int) -> None:
        """Divide the cores of this process among the workers that are left."""
        self._number.value = max(1, n_cores() // max(1, n_workers))

    def __call__(self) -> int:
        """Return the number of cores that a worker may use now."""
        return int(self._number.value)
