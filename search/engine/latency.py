"""Measure a network's latency for one image on this machine, before the network is trained.

The network runs on PyTorch's operators in float32, on one thread of the processor and in evaluation mode. The fastest
of several passes counts, because other work of the machine can only add to it. The latency is still noisy: it varies by
a few per cent from run to run, and by more on a busy machine. Other machines have other latencies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from models.spec import ArchSpec
from search.limits import N_LATENCY_PASSES

if TYPE_CHECKING:
    import torch

N_WARM_UP = 5


def measure_latency(arch: ArchSpec) -> float:
    """Return the milliseconds of the fastest of N_LATENCY_PASSES forward passes over one image."""
    import torch

    from models.build import blank_model

    with torch.inference_mode(), one_thread():
        model = blank_model(arch).eval()
        image = torch.zeros(1, *arch.input_shape)
        for _ in range(N_WARM_UP):
            model(image)
        return 1000 * min(_seconds(model, image) for _ in range(N_LATENCY_PASSES))


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread within the context."""
    import torch

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
