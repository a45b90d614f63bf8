"""Figures of a network tell all of it: read off the axes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.baselines import BASELINES
from models.cost import compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.engine.confusion import Confusion
from search.report.network_figures import draw_architecture, draw_confusion, draw_parameters, parts
from search.sampling.starting_points import starting_points
from space import assemble
from tests.search.made_up_networks import thrifty_spec

NETWORKS = {name: one.spec for name, one in BASELINES.items()}
NETWORKS |= {f"start {i}": assemble(params).arch for i, (_, params) in enumerate(starting_points())}
WIDER = Block(9, kind="residual", padding="same")
NETWORKS |= {
    "thrifty": thrifty_spec(),
    "shared residual": ArchSpec(
        (3, 8, 8), 4, (Stage((WIDER, Block(3), replace(WIDER, shared=True, batch_norm=False))),), Head("gap")
    ),
}


def axes() -> Axes:
    return Figure().add_subplot()


def words(on: Axes) -> list[str]:
    return [text.get_text() for text in on.texts]


@pytest.mark.parametrize("arch", NETWORKS.values(), ids=NETWORKS)
def test_the_parts_are_the_network(arch: ArchSpec) -> None:
    found, cost = parts(arch), compute_cost(arch)
    assert sum(part.n_params for part in found) == cost.n_params
    assert found[-1].rf == cost.receptive_field
    assert len({part.name for part in found}) == len(found)
    assert found[-1].channels == arch.n_classes


@pytest.mark.parametrize("arch", NETWORKS.values(), ids=NETWORKS)
def test_every_part_is_drawn_and_named(arch: ArchSpec) -> None:
    on, found = axes(), parts(arch)
    draw_architecture(on, arch)
    assert [box.get_height() for box in on.patches] == [arch.input_shape[1], *(part.side for part in found)]
    assert [word for word in words(on) if word.isdigit()] == ["1", *(str(part.rf) for part in found)]
    for part in found:
        assert any(
            word.replace("\n", " ").startswith(f"{part.kind.replace(',', '')} {part.shape}") for word in words(on)
        )
    bars = axes()
    draw_parameters(bars, arch)
    assert [bar.get_width() for bar in bars.patches] == [part.n_params for part in found if part.n_params]


def test_a_separable_block_is_one_part() -> None:
    arch = assemble(next(params for name, params in starting_points() if "separable" in name)).arch
    kinds = [part.kind for part in parts(arch)]
    assert "separable 3x3" in kinds
    assert not [kind for kind in kinds if kind.startswith("depthwise")]


def test_what_is_shared_is_named_so() -> None:
    kinds = [part.kind for part in parts(NETWORKS["thrifty"])]
    assert kinds == [
        "conv 3x3",
        "separable 3x3",
        "separable 3x3",
        "separable 3x3, shared",
        "pool 2x2",
        "separable 3x3, shared",
        "average",
        "first channels",
    ]
    found = parts(NETWORKS["shared residual"])
    assert [(part.kind, part.n_params > 0) for part in found[:3]] == [
        ("residual", True),
        ("conv 3x3", True),
        ("residual, shared", False),
    ]


def test_mistakes_by_class() -> None:
    on = axes()
    draw_confusion(on, Confusion(((9, 1, 0), (0, 10, 0), (3, 0, 7)), ()), ("a", "b", "c"))
    counts = {(text.get_position()): text.get_text() for text in on.texts}
    assert counts[1, 0] == "1"  # shows a, taken for b
    assert counts[0, 2] == "3"
    assert [word for word in words(on) if word.endswith("%")] == ["90.0 %", "100.0 %", "70.0 %"]
    assert len(on.patches) == 3 + 2  # the diagonal, and what went wrong
