"""Test that maps which exist at the same time do not overlap, and that the arena has the size that the cost states."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.cost import compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.export.int8.arena import map_blocks, padding_blocks, plan_arena
from search.export.int8.fusion import operations_of
from search.export.int8.network import Int8Network, map_bytes
from tests.models.random_specs import random_spec
from tests.search.made_up_networks import depthwise_specs, quantised, reducing_specs, squeeze_specs

pytestmark = pytest.mark.usefixtures("one_thread")

N_SPECS = 80


@cache
def networks() -> list[tuple[ArchSpec, Int8Network]]:
    """Return integer networks of small random specs, calibrated on two images, because values do not matter here."""
    specs = [random_spec(random.Random(seed)) for seed in range(N_SPECS)]
    specs = [spec for spec in specs if compute_cost(spec).macs < 1_000_000]
    further = reducing_specs() | depthwise_specs() | squeeze_specs()
    return [(spec, quantised(spec, n_images=2)) for spec in [*specs, *further.values()]]


def test_blocks_that_exist_at_once_do_not_overlap() -> None:
    for spec, network in networks():
        arena, operations = plan_arena(network), list(operations_of(network))
        maps, paddings = map_blocks(network, operations), padding_blocks(network, operations)
        placed = [(block, arena.maps[number]) for number, block in maps.items()]
        placed += [(block, arena.paddings[number]) for number, block in paddings.items()]
        for i in range(len(operations)):
            used = np.zeros(arena.n_bytes, int)
            for block, offset in placed:
                assert 0 <= offset <= arena.n_bytes - block.n_bytes
                used[offset : offset + block.n_bytes] += i in block.span
            assert used.max() <= 1, spec


def test_a_map_exists_from_the_operation_that_writes_it_to_the_last_that_reads_it() -> None:
    for _, network in networks():
        operations = list(operations_of(network))
        spans = {number: block.span for number, block in map_blocks(network, operations).items()}
        written = set()
        for i, operation in enumerate(operations):
            assert written.issuperset(operation.sources)
            assert all(i in spans[number] for number in operation.sources)
            if operation.target is not None and not operation.is_in_place:
                assert i in spans[operation.target]
            written.add(operation.target)
        # Only a map between a convolution and its max pool never exists.
        assert set(range(len(network.maps))) - spans.keys() == {
            operation.step.target for operation in operations if operation.pool > 1
        }


def test_a_map_that_is_pooled_in_place_is_at_one_end_of_its_source() -> None:
    ends = set()
    for _, network in networks():
        arena, sizes = plan_arena(network), [map_bytes(shape) for shape in network.maps]
        for operation in operations_of(network):
            if operation.is_in_place:
                assert operation.target is not None
                source, target = operation.sources[0], operation.target
                distance = arena.maps[target] - arena.maps[source]
                assert distance in (0, sizes[source] - sizes[target])
                ends.add(distance == 0)
    assert ends == {True, False}


def test_arena_has_the_size_that_the_cost_states() -> None:
    assert len(networks()) > 50
    for spec, network in networks():
        assert plan_arena(network).n_bytes == compute_cost(spec).peak_activation_bytes_int8, spec


@pytest.mark.parametrize("in_channels", [6, 4], ids=["same width", "projected"])
def test_a_block_with_a_shortcut_keeps_its_input(in_channels: int) -> None:
    first = Block(in_channels, 1)
    block = Block(6, 3, "residual", "same")
    spec = ArchSpec((1, 8, 8), 3, (Stage((first, block, replace(block, out_channels=6))),), Head("gap_linear"))
    # The input of the second block and its two own maps.
    assert plan_arena(quantised(spec, n_images=2)).n_bytes == 3 * 6 * 64
