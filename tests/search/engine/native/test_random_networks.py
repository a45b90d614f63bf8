"""Random networks on the kernels, and kernels for every network of the space."""

import random

import pytest
import torch
from torch import nn

import space
from models.build import build_model
from models.cost import compute_cost
from models.spec import BLOCK_KINDS, ArchSpec
from search.engine.native import kernels
from search.engine.native.description import describe
from tests.models.random_specs import random_spec
from tests.search.engine.native.network_check import check, without_dropout

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]


@pytest.mark.parametrize("seed", [*range(40), *(pytest.param(s, marks=pytest.mark.slow) for s in range(40, 300))])
def test_random_networks(seed: int) -> None:
    check_spec(random_spec(random.Random(seed)))


def check_spec(spec: ArchSpec) -> None:
    torch.manual_seed(0)
    model = without_dropout(build_model(spec))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.1  # the statistics of few values that are nearly equal would multiply their rounding
    check(model, torch.rand(19, *spec.input_shape), has_large_kinks=True)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 96, 96)], ids=str)
def test_every_network_of_the_space_has_kernels(shape: tuple[int, int, int]) -> None:
    rng, found = random.Random(0), set()
    for _ in range(300):
        spec = space.assemble(space.unshared_space(shape).sample(rng), shape, 10).arch
        describe(build_model(spec), shape)
        found |= {(block.kind, block.squeeze > 0) for stage in spec.stages for block in stage.blocks}
    assert found == {(kind, squeeze) for kind in BLOCK_KINDS for squeeze in (False, True)}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 96, 96)], ids=str)
def test_networks_for_larger_images(shape: tuple[int, int, int]) -> None:
    rng, n_checked = random.Random(0), 0
    while n_checked < 12:
        spec = space.assemble(space.unshared_space(shape).sample(rng), shape, 10).arch
        if compute_cost(spec).macs > 3e7:  # a larger one takes many seconds in float64
            continue
        check_spec(spec)
        n_checked += 1
