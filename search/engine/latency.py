"""Measure a network's latency for one image on this machine: on the network as it is built, before training.

PyTorch's operators in float32 on the processor, one thread, batch norm and dropout as after training. Of several passes
the fastest counts: whatever else the machine does can only add to it. Still noisy: from run to run it moves by some per
cent, on a busy machine by more, and another machine has other latencies altogether.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.build import blank_model
from models.spec import ArchSpec
from search.limits import N_LATENCY_PASSES

N_WARM_UP = 5


def measure_latency(arch: ArchSpec) -> float:
    """Milliseconds of the fastest of N_LATENCY_PASSES forward passes over one image."""
    with torch.inference_mode(), one_thread():
        model = blank_model(arch).eval()
        image = torch.zeros(1, *arch.input_shape)
        for _ in range(N_WARM_UP):
            model(image)
        return 1000 * min(_seconds(model, image) for _ in range(N_LATENCY_PASSES))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread meanwhile."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _seconds(model: torch.nn.Module, image: torch.Tensor) -> float:
    started = time.perf_counter()
    model(image)
    return time.perf_counter() - started
