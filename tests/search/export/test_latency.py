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


def test_batches_of_both_sizes_on_one_thread() -> None:
    sizes: dict[int, int] = {}

    def answer(images: Tensor) -> Tensor:
        sizes[len(images)] = sizes.get(len(images), 0) + 1
        assert torch.get_num_threads() == 1
        time.sleep(len(images) / 100_000)
        return images

    before = torch.get_num_threads()
    found = milliseconds(answer, torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    assert torch.get_num_threads() == before
    assert set(sizes) == set(BATCHES) == {1, 256}
    assert min(sizes.values()) > module_under_test.MIN_CALLS
    # A sleep never ends early; how late, depends on what else runs.
    assert found["1"] >= 0.01
    assert found["256"] >= 2.56


def test_what_was_measured_once_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1, 9))

    def measure() -> dict[str, float]:
        return {"1": next(calls), "256": 0.0}

    path = tmp_path / "study" / "latencies.json"
    known = Latencies(path)
    first = known.of("network", "onnx", "runtime 1", measure)
    assert first["milliseconds"]["1"] == 1
    assert Latencies(path).of("network", "onnx", "runtime 1", measure) == first
    assert known.of("another", "onnx", "runtime 1", measure)["milliseconds"]["1"] == 2
    assert known.of("network", "pt2", "runtime 1", measure)["milliseconds"]["1"] == 3
    assert known.of("network", "onnx", "runtime 2", measure)["milliseconds"]["1"] == 4
    monkeypatch.setattr(module_under_test, "processor", lambda: "another")
    assert known.of("network", "onnx", "runtime 1", measure)["milliseconds"]["1"] == 5
    assert len(json.loads(path.read_text())) == 5
    assert Latencies().of("network", "onnx", "runtime 1", measure)["milliseconds"]["1"] == 6


N_NETWORKS = 40


def measure_at_once(path: Path, name: str, gate: Any, told: Any) -> None:
    known = Latencies(path)
    gate.wait()
    own = {f"{name} {i}": known.of(f"{name} {i}", "c", "runtime", lambda: {"1": 1.0}) for i in range(N_NETWORKS)}
    both = [known.of(f"both {i}", "c", "runtime", lambda: {name: 1.0}) for i in range(N_NETWORKS)]
    told.send((list(own.values()), both))


def test_two_processes_lose_nothing_and_have_the_same_figures(tmp_path: Path) -> None:
    path, context = tmp_path / "latencies.json", multiprocessing.get_context("spawn")
    gate, pipes, processes = context.Barrier(2), [], []
    for name in ("one", "other"):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=measure_at_once, args=(path, name, gate, theirs)))
        processes[-1].start()
        theirs.close()  # so that a process that fails is not waited for
        pipes.append(ours)
    (one, both), (other, the_same) = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    assert both == the_same
    kept = json.loads(path.read_text())
    assert len(kept) == 3 * N_NETWORKS
    assert all(entry in kept for entry in one + other + both)


def test_where_nothing_can_be_written_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "is_writable", lambda _folder: False)
    found = Latencies(tmp_path / "latencies.json").of("network", "c", "runtime", lambda: {"1": 1.0})
    assert found["milliseconds"] == {"1": 1.0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_file_is_not_overwritten(content: str, tmp_path: Path) -> None:
    path = tmp_path / "latencies.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"latencies\.json is damaged .*; delete it"):
        Latencies(path).of("network", "onnx", "runtime 1", lambda: {})
    assert path.read_text() == content
