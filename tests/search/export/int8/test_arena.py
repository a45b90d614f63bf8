"""Test that maps which exist at the same time do not overlap, and that the arena has the size that the cost states."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.cost import compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.export.int8.c_calls import lifetimes, plan_arena
from search.export.int8.network import Int8Network, map_bytes
from tests.models.random_specs import random_spec
from tests.search.made_up_networks import quantised

pytestmark = pytest.mark.usefixtures("one_thread")

N_SPECS = 80
HEAD_ROWS = ("head.gap", "head.linear", "head.conv")


@cache
def networks() -> list[tuple[ArchSpec, Int8Network]]:
    """Return integer networks of small random specs, calibrated on two images, because values do not matter here."""
    specs = [random_spec(random.Random(seed)) for seed in range(N_SPECS)]
    return [(spec, quantised(spec, n_images=2)) for spec in specs if compute_cost(spec).macs < 1_000_000]


def test_maps_that_exist_at_once_do_not_overlap() -> None:
    for spec, network in networks():
        arena, spans = plan_arena(network), lifetimes(network)
        sizes = [map_bytes(shape) for shape in network.maps]
        for i in range(len(network.steps) + 1):
            used = np.zeros(arena.n_bytes, int)
            for offset, size, span in zip(arena.offsets, sizes, spans, strict=True):
                assert 0 <= offset <= arena.n_bytes - size
                used[offset : offset + size] += i in span
            assert used.max() <= 1, spec


def test_every_map_lives_from_the_step_that_makes_it_to_the_last_that_reads_it() -> None:
    for _, network in networks():
        spans = lifetimes(network)
        for i, step in enumerate([*network.steps, network.last]):
            assert all(i in spans[getattr(step, name)] for name in ("source", "target") if hasattr(step, name))


def test_arena_has_the_size_that_the_cost_states() -> None:
    """The arena has a quarter of the float32 bytes, but without the logits and the means, which it does not hold."""
    assert len(networks()) > 50
    exact = 0
    for spec, network in networks():
        cost = compute_cost(spec)
        n_bytes = plan_arena(network).n_bytes
        assert n_bytes <= cost.peak_activation_bytes // 4
        # Of the last rows of the head, only the map that they read is in the arena.
        rows = [row.live for row in cost.layers if row.name not in HEAD_ROWS]
        pooled_for_hidden = spec.head.kind == "gap_conv" and spec.head.hidden
        if pooled_for_hidden:
            rows.append(next(row.live for row in cost.layers if row.name == "head.gap"))
        last = map_bytes(network.maps[network.last.source])
        assert n_bytes == max([*rows, last, map_bytes(spec.input_shape)])
        exact += n_bytes == cost.peak_activation_bytes // 4
    assert exact > len(networks()) / 2


@pytest.mark.parametrize("in_channels", [6, 4], ids=["same width", "projected"])
def test_a_block_with_a_shortcut_keeps_its_input(in_channels: int) -> None:
    first = Block(in_channels, 1)
    block = Block(6, 3, "residual", "same")
    spec = ArchSpec((1, 8, 8), 3, (Stage((first, block, replace(block, out_channels=6))),), Head("gap_linear"))
    # The input of the second block and its two own maps.
    assert plan_arena(quantised(spec, n_images=2)).n_bytes == 3 * 6 * 64
