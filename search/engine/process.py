"""Settings of a process that trains, which hold for all of it: threads and memory."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from multiprocessing.connection import wait

import torch


def prepare_process() -> None:
    """Set this process up for training; whoever trains calls it once, before the data is loaded.

    One thread, so that a result does not depend on how many trainings run side by side.
    """
    torch.set_num_threads(1)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Stop glibc from returning each step's tensors to the system, which costs time; do nothing on other systems."""
    trim_threshold, mmap_threshold, mebibyte = -1, -3, 1 << 20
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(mmap_threshold, 32 * mebibyte)  # the largest glibc accepts
    mallopt(trim_threshold, 512 * mebibyte)


def end_with_parent() -> None:
    """End this worker when its main process is killed, so that it does not train on unseen."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
