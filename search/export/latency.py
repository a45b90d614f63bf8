"""Measure the latency of exported networks, and store it for each network, format and machine."""

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
# Long enough that one interruption does not move the median, short enough not to delay an export.
SECONDS_PER_BATCH, MAX_CALLS, MIN_CALLS = 0.2, 300, 5


def milliseconds(answer: Answer, images: Tensor) -> dict[str, float]:
    """Return the median milliseconds of one call on one thread, by batch size ("1", "256").

    images: uint8 (N, C, H, W), repeated until they fill a batch.
    """
    medians = {}
    with one_thread():
        for size in BATCHES:
            batch = images[torch.arange(size) % len(images)]
            answer(batch)  # the first call may still compile or allocate
            medians[str(size)] = round(1000 * _median_seconds(partial(answer, batch)), 3)
    return medians


def _median_seconds(call: Callable[[], object]) -> float:
    seconds: list[float] = []
    while len(seconds) < MIN_CALLS or (len(seconds) < MAX_CALLS and sum(seconds) < SECONDS_PER_BATCH):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


@dataclass(frozen=True)
class Latencies:
    """Latencies measured for one study, stored in a JSON file.

    path: the file; None stores nothing. A second export uses the stored values, so that it writes the same texts. Only
    one process measures at a time, because several would slow each other down; the others wait and use its result.
    """

    path: Path | None = None

    def of(self, network: str, form: str, runtime: str, measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
        """Return the latency of a network on this machine, and measure it first if it is not stored.

        network  key of the network
        form     export format
        runtime  runtime and its version
        measure  function that returns milliseconds by batch size

        Raises InputError if the file is damaged.
        """
        key = {"network": network, "format": form, "runtime": runtime, "processor": processor()}
        entry = _find_entry(key, self._read())
        if entry is not None:
            return entry
        if self.path is None or not is_writable(self.path.parent):
            return {**key, "milliseconds": measure()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.path.with_name(LOCK)):
            entries = self._read()
            entry = _find_entry(key, entries)
            if entry is None:
                entry = {**key, "milliseconds": measure()}
                write_whole(self.path, json.dumps([*entries, entry], indent=1) + "\n")
        return entry

    def _read(self) -> list[dict[str, Any]]:
        if self.path is None or not self.path.exists():
            return []
        try:
            entries = [dict(entry) for entry in json.loads(self.path.read_text(encoding="utf-8"))]
            if not all(isinstance(entry.get("milliseconds"), dict) for entry in entries):
                raise TypeError("an entry has no milliseconds")
            return entries
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"{self.path} is damaged ({error!s:.120}); delete it, the latencies are measured again"
            ) from error


def _find_entry(key: Mapping[str, str], entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first entry whose values equal those of `key`, or None."""
    return next((entry for entry in entries if {name: entry.get(name) for name in key} == key), None)
