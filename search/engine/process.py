"""Configure processes that train: their threads, their memory, their smallest numbers and their end."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait


def prepare_process() -> None:
    """Configure this process for training.

    Every process that trains calls this once, before it loads the data. PyTorch's operators are limited to one thread,
    because some of them round otherwise with more. Only the kernels and the scoring use the cores that are free.
    """
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Stop glibc from returning each step's tensors to the system, which costs time; do nothing on other systems."""
    trim_threshold, mmap_threshold, mebibyte = -1, -3, 1 << 20
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(mmap_threshold, 32 * mebibyte)  # the largest value that glibc accepts
    mallopt(trim_threshold, 512 * mebibyte)


@contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """Replace numbers below 1.2e-38 by zero within the context, on this thread and its helpers in the kernels.

    Weights and moments without gradients decay to such numbers, which processors compute many times more slowly than
    others: the fifth epoch of one network took five times as long (benchmarks/training/subnormals.py).
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:  # the scores must be those of an exported copy
        torch.set_flush_denormal(False)


def end_with_parent() -> None:
    """Wait until the main process of this worker ends, then end the worker.

    Otherwise a worker whose main process was killed would go on training unnoticed.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
