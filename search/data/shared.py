"""Keep the images of a data set in memory that worker processes map, so that a further worker takes no copy of them.

The memory is that of an anonymous file, which has no name, takes no room on a disk where the system has such files
(Linux), and is gone with the last process that uses it. Its descriptor is handed to a worker when that is started.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import reduction
from typing import Any

import torch

from search.data.dataset import Dataset, Split

_LABEL_BYTES = 8


@dataclass(frozen=True, eq=False)
class SharedSplit(Split):
    """Split whose labels and images lie, in this order, in the anonymous file with an open descriptor.

    Pickled for a process that is being started, it is that descriptor, and the process reads the same memory.
    """

    descriptor: int

    def __reduce__(self) -> tuple[Callable[..., SharedSplit], tuple[Any, tuple[int, ...]]]:
        return _open, (reduction.DupFd(self.descriptor), tuple(self.images.shape))


def shared(data: Dataset) -> Dataset:
    """Return a data set with the same images in shared memory, or `data` itself where there is none to be had."""
    if os.name != "posix":  # a descriptor cannot be handed over
        return data
    try:
        train, test = _copy(data.train), _copy(data.test)
        return replace(data, train=train, test=test, val=None if data.val is None else _copy(data.val))
    except OSError:  # no memory, or no disk, is left for it
        return data


def is_shared(data: Dataset) -> bool:
    """Return whether the images of a data set are in shared memory."""
    return isinstance(data.train, SharedSplit)


def _copy(split: Split) -> SharedSplit:
    descriptor = _anonymous_file()
    try:
        with open(descriptor, "wb", closefd=False) as file:
            for tensor in (split.labels, split.images):
                file.write(tensor.contiguous().numpy().data.cast("B"))
        return _map(descriptor, tuple(split.images.shape))
    except BaseException:
        os.close(descriptor)
        raise


def _anonymous_file() -> int:
    """Return the descriptor of a new file without a name. Its size is not limited by that of /dev/shm."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("images")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _open(descriptor: Any, shape: tuple[int, ...]) -> SharedSplit:
    """Return the split in a file whose descriptor was handed to this process."""
    return _map(descriptor.detach(), shape)


def _map(descriptor: int, shape: tuple[int, ...]) -> SharedSplit:
    """Return the split in a file, with images of a shape (N, C, H, W); the descriptor is closed together with it."""
    n_images, start = shape[0], shape[0] * _LABEL_BYTES
    # A tensor needs memory it may write to. Pages that nobody writes to are those of the file.
    memory = mmap.mmap(descriptor, start + math.prod(shape), access=mmap.ACCESS_COPY)
    labels = torch.frombuffer(memory, dtype=torch.int64, count=n_images)
    images = torch.frombuffer(memory, dtype=torch.uint8, offset=start).view(shape)
    split = SharedSplit(images, labels, descriptor)
    weakref.finalize(split, os.close, descriptor)
    return split
