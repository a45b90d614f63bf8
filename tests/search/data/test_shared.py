"""Data sets in shared memory: workers map it and take no copy."""

from __future__ import annotations

import gc
import os
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from search.config import DataConfig
from search.data import shared as module_under_test
from search.data.dataset import Dataset, Split
from search.data.load import load_dataset
from search.data.shared import is_shared, shared
from search.study.training import RecordedTraining
from search.workers.processes import spawn, stop

DIGITS = DataConfig("digits", "unused", "val")


def splits(data: Dataset) -> list[Split]:
    return [split for split in (data.train, data.val, data.test) if split is not None]


def same(first: Dataset, second: Dataset) -> bool:
    return all(
        torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
        for one, other in zip(splits(first), splits(second), strict=True)
    )


def name_of_memory(address: int) -> str:
    """Return what this process has mapped at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            return line
    return ""


def describe(training: RecordedTraining, answers: Connection) -> None:
    """In a worker: send whether the data set came with the training, its checksum, and the memory of its images."""
    had = DIGITS in training._data
    data = training.data(DIGITS)
    sums = [int(split.images.sum()) for split in splits(data)]
    name = name_of_memory(data.train.images.data_ptr())
    data.train.images[0] = 7
    answers.send((had, sums, name))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux names its memory")
def test_a_worker_maps_the_images_and_cannot_change_those_of_others() -> None:
    training = RecordedTraining()
    plain = load_dataset(DIGITS)
    data = training.share(DIGITS, plain)
    receiver, sender = Pipe(duplex=False)
    processes = [spawn(describe, training, sender) for _ in range(2)]
    try:
        found = [receiver.recv() for _ in processes]
    finally:
        stop(processes)
    sums = [int(split.images.sum()) for split in splits(plain)]
    assert [(had, others) for had, others, _ in found] == [(True, sums)] * 2
    assert all("memfd:images" in name for _, _, name in found)
    assert same(data, plain)


def test_shared_images_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset(DIGITS)
    assert not is_shared(data)
    assert is_shared(shared(data))
    assert same(shared(data), data)
    monkeypatch.delattr(os, "memfd_create")  # as on other systems
    assert is_shared(shared(data))
    assert same(shared(data), data)


def test_without_memory_for_it_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(module_under_test, "_anonymous_file", refuse)
    data = load_dataset(DIGITS)
    assert shared(data) is data
    training = RecordedTraining()
    training.share(DIGITS, data)
    assert training.__getstate__()["_data"] == {}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files in /proc")
def test_no_file_stays_open() -> None:
    data = load_dataset(DIGITS)
    gc.collect()
    n_open = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        copy = shared(data)
        assert len(os.listdir("/proc/self/fd")) > n_open
        del copy
        gc.collect()
    assert len(os.listdir("/proc/self/fd")) == n_open
