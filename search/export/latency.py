"""Measure the latency of exported networks: once for a network, format and machine, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import filelock
import torch
from torch import Tensor

from search.engine.latency import one_thread
from search.errors import InputError
from search.files import write_whole
from search.study.provenance import processor
from search.study.read_only import is_writable

Answer = Callable[[Tensor], Tensor]

BATCHES = (1, 256)
LOCK = ".latencies.lock"
# Long enough that one interruption does not move the median, short enough to wait for.
SECONDS_PER_BATCH, MAX_CALLS, MIN_CALLS = 0.2, 300, 5


def milliseconds(answer: Answer, images: Tensor) -> dict[str, float]:
    """Median milliseconds of one call by batch size ("1", "256"), on one thread; images: uint8 (N, C, H, W)."""
    found = {}
    with one_thread():
        for size in BATCHES:
            batch = images[torch.arange(size) % len(images)]
            answer(batch)  # the first call may still compile or allocate
            found[str(size)] = round(1000 * _median_seconds(partial(answer, batch)), 3)
    return found


def _median_seconds(call: Callable[[], object]) -> float:
    seconds: list[float] = []
    while len(seconds) < MIN_CALLS or (len(seconds) < MAX_CALLS and sum(seconds) < SECONDS_PER_BATCH):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


@dataclass(frozen=True)
class Latencies:
    """The latencies that were measured for one study, in a JSON file; None keeps nothing.

    A second export takes the first one's figures, so that it writes the same texts. Of several processes one measures
    at a time: the others would disturb it, and then find what it has measured.
    """

    path: Path | None = None

    def of(self, network: str, form: str, runtime: str, measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
        """Return the latency of a network (its key), format and runtime on this machine; measure an unknown one."""
        key = {"network": network, "format": form, "runtime": runtime, "processor": processor()}
        found = _entry(key, self._read())
        if found is not None:
            return found
        if self.path is None or not is_writable(self.path.parent):
            return {**key, "milliseconds": measure()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.path.with_name(LOCK)):
            known = self._read()
            found = _entry(key, known)
            if found is None:
                found = {**key, "milliseconds": measure()}
                write_whole(self.path, json.dumps([*known, found], indent=1) + "\n")
        return found

    def _read(self) -> list[dict[str, Any]]:
        if self.path is None or not self.path.exists():
            return []
        try:
            found = [dict(entry) for entry in json.loads(self.path.read_text(encoding="utf-8"))]
            if not all(isinstance(entry.get("milliseconds"), dict) for entry in found):
                raise TypeError("an entry has no milliseconds")
            return found
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"{self.path} is damaged ({error!s:.120}); delete it, the latencies are measured again"
            ) from error


def _entry(key: Mapping[str, str], known: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what is known of `key`."""
    return next((entry for entry in known if {name: entry.get(name) for name in key} == key), None)
