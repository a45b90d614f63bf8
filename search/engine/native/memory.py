"""Allocate the memory of programs.

The activations of a batch are tens of megabytes, and every step goes through them several times. In pages of 4 KiB the
processor would have to look up thousands of addresses in each pass, so Linux is asked for huge pages.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from search.engine.native import kernels
from search.errors import FailureError

HUGE_PAGE = 2 << 20
BYTES = 4  # of a float32


def allocate(sizes: Sequence[int]) -> list[Tensor]:
    """Return float32 tensors of these sizes, one behind another in one allocation. Raises FailureError."""
    n_values = sum(sizes)
    try:
        in_huge_pages = hasattr(mmap, "MADV_HUGEPAGE") and n_values * BYTES >= HUGE_PAGE
        memory = _map(n_values) if in_huge_pages else torch.empty(n_values)
    except (OSError, RuntimeError) as error:  # PyTorch raises a RuntimeError
        raise FailureError(kernels.OUT_OF_MEMORY) from error
    return list(torch.split(memory, list(sizes)))


def allocate_in_turn(sizes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> list[Tensor]:
    """Return tensors of these sizes that share memory where they are not needed at the same time.

    starts, ends: first and last moment at which each is needed
    """
    slots: list[list[int]] = []  # the tensors of every slot
    for number in sorted(range(len(sizes)), key=starts.__getitem__):
        slot = next((slot for slot in slots if ends[slot[-1]] < starts[number]), None)
        if slot is None:
            slots.append([number])
        else:
            slot.append(number)
    memory = allocate([max(sizes[number] for number in slot) for slot in slots])
    tensors = {number: part[: sizes[number]] for slot, part in zip(slots, memory, strict=True) for number in slot}
    return [tensors[number] for number in range(len(sizes))]


def _map(n_values: int) -> Tensor:
    """Return a tensor that begins with a huge page. Raises OSError."""
    pages = mmap.mmap(-1, n_values * BYTES + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    address = torch.frombuffer(pages, dtype=torch.float32, count=1).data_ptr()
    return torch.frombuffer(pages, dtype=torch.float32, count=n_values, offset=-address % HUGE_PAGE)
