"""Memory of programs."""

import mmap

import pytest
import torch

from search.engine.native.memory import HUGE_PAGE, allocate, allocate_in_turn


def fill(tensors: list[torch.Tensor]) -> None:
    for number, tensor in enumerate(tensors):
        tensor.fill_(number)


@pytest.mark.parametrize("scale", [1, 1 << 19])
def test_tensors_have_their_sizes_and_memory_of_their_own(scale: int) -> None:
    sizes = [scale, 0, 3 * scale]
    tensors = allocate(sizes)
    fill(tensors)
    assert [len(tensor) for tensor in tensors] == sizes
    assert all(bool((tensor == number).all()) for number, tensor in enumerate(tensors))


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no huge pages here")
def test_large_memory_begins_with_a_huge_page() -> None:
    assert allocate([HUGE_PAGE])[0].data_ptr() % HUGE_PAGE == 0


def test_memory_outlives_the_other_tensors() -> None:
    last = allocate([HUGE_PAGE, HUGE_PAGE])[1]
    last.fill_(1)
    assert float(last.mean()) == 1


def test_tensors_share_memory_only_where_they_are_needed_at_different_times() -> None:
    first, second, third = allocate_in_turn([4, 4, 6], [0, 2, 3], [2, 3, 4])
    fill([first, second])
    assert first.tolist() == [0] * 4
    assert second.tolist() == [1] * 4
    assert third.data_ptr() == first.data_ptr()
