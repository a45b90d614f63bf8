from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from search.errors import InputError
from search.export import latency as module_under_test
from search.export.latency import BATCHES, Latencies, milliseconds


def test_both_batch_sizes_are_measured_on_one_thread() -> None:
    sizes: dict[int, int] = {}

    def answer(images: Tensor) -> Tensor:
        sizes[len(images)] = sizes.get(len(images), 0) + 1
        assert torch.get_num_threads() == 1
        time.sleep(len(images) / 100_000)
        return images

    n_threads = torch.get_num_threads()
    medians = milliseconds(answer, torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    assert torch.get_num_threads() == n_threads
    assert set(sizes) == set(BATCHES) == {1, 256}
    assert min(sizes.values()) > module_under_test.MIN_CALLS
    # A sleep never ends early, but on a busy machine it may end late.
    assert medians["1"] >= 0.01
    assert medians["256"] >= 2.56


def test_a_latency_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1, 9))

    def measure() -> dict[str, float]:
        return {"1": next(calls), "256": 0.0}

    path = tmp_path / "study" / "latencies.json"
    latencies = Latencies(path)
    first = latencies.of("network", "onnx", "runtime 1", measure)
    assert first["milliseconds"]["1"] == 1
    assert Latencies(path).of("network", "onnx", "runtime 1", measure) == first
    assert latencies.of("another", "onnx", "runtime 1", measure)["milliseconds"]["1"] == 2
    assert latencies.of("network", "pt2", "runtime 1", measure)["milliseconds"]["1"] == 3
    assert latencies.of("network", "onnx", "runtime 2", measure)["milliseconds"]["1"] == 4
    monkeypatch.setattr(module_under_test, "processor", lambda: "another")
    assert latencies.of("network", "onnx", "runtime 1", measure)["milliseconds"]["1"] == 5
    assert len(json.loads(path.read_text())) == 5
    assert Latencies().of("network", "onnx", "runtime 1", measure)["milliseconds"]["1"] == 6


N_NETWORKS = 40


def measure_many(path: Path, name: str, gate: Any, pipe: Any) -> None:
    latencies = Latencies(path)
    gate.wait()
    unique = [latencies.of(f"{name} {i}", "c", "runtime", lambda: {"1": 1.0}) for i in range(N_NETWORKS)]
    common = [latencies.of(f"both {i}", "c", "runtime", lambda: {name: 1.0}) for i in range(N_NETWORKS)]
    pipe.send((unique, common))


def test_two_processes_store_all_latencies_and_agree(tmp_path: Path) -> None:
    path, context = tmp_path / "latencies.json", multiprocessing.get_context("spawn")
    gate, pipes, processes = context.Barrier(2), [], []
    for name in ("first", "second"):
        receiver, sender = context.Pipe()
        processes.append(context.Process(target=measure_many, args=(path, name, gate, sender)))
        processes[-1].start()
        sender.close()  # otherwise a process that fails would block recv
        pipes.append(receiver)
    (first, common_of_first), (second, common_of_second) = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    assert common_of_first == common_of_second
    stored = json.loads(path.read_text())
    assert len(stored) == 3 * N_NETWORKS
    assert all(entry in stored for entry in first + second + common_of_first)


def test_a_latency_that_cannot_be_stored_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "is_writable", lambda _folder: False)
    entry = Latencies(tmp_path / "latencies.json").of("network", "c", "runtime", lambda: {"1": 1.0})
    assert entry["milliseconds"] == {"1": 1.0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_file_is_not_overwritten(content: str, tmp_path: Path) -> None:
    path = tmp_path / "latencies.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"latencies\.json is damaged .*; delete it"):
        Latencies(path).of("network", "onnx", "runtime 1", lambda: {})
    assert path.read_text() == content
