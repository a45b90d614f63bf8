"""Squeeze-and-excitation on the kernels, and blocks of every kind on several threads."""

import pytest
import torch
from torch import Tensor, nn

from models.build import build_model
from models.layers import SqueezeExcite
from models.spec import BLOCK_KINDS, ArchSpec, Block, Head, Stage
from search.engine.native import kernels
from search.engine.native.program import Program
from search.engine.native.structures import CONVOLVE, GATE, READ
from tests.search.engine.native.network_check import kinds
from tests.search.engine.native.on_kernels import on_kernels

pytestmark = [
    pytest.mark.usefixtures("threads_as_before"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]


def test_squeeze_and_excitation_reads_what_is_pending() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), SqueezeExcite(8, 2))
    assert kinds(model, (3, 7, 7)) == [CONVOLVE, READ, CONVOLVE, CONVOLVE, GATE]


def test_squeeze_and_excitation_drops_the_same_values_in_both_readings() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.4)]
    squeeze = SqueezeExcite(8, 2)
    results = []
    # A further activation, which changes no value here, is applied to values that are stored after dropout.
    for model in (nn.Sequential(*layers, squeeze), nn.Sequential(*layers, nn.ReLU(), squeeze)):
        x = torch.rand(19, 3, 9, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
        torch.manual_seed(2)
        found = on_kernels(model)(x)
        model.zero_grad()
        found.square().sum().backward()
        results.append([found, x.grad, *(parameter.grad for parameter in model.parameters())])
    assert 0.3 < (results[0][0] == 0).float().mean().item() < 0.9
    for read_twice, stored in zip(*results, strict=True):
        torch.testing.assert_close(read_twice, stored)


def test_gradients_without_that_of_the_images() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(SqueezeExcite(3, 2), nn.Conv2d(3, 4, 3)), torch.rand(19, 3, 9, 9)
    found: list[list[Tensor]] = []
    for input_gradient in (True, False):
        program = Program(model, (3, 9, 9), 19, training=True, input_gradient=input_gradient)
        program.backward(program.forward(x))
        found.append([*program.gradients.values()])
    assert all(gradient.any() for gradient in found[0])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("n_images", [50, 130])
def test_the_number_of_threads_does_not_change_a_bit(n_images: int) -> None:
    blocks = [
        Block(8, kind=kind, padding="same", squeeze=4, activation="silu", groups=2 if kind == "shuffle" else 1)
        for kind in BLOCK_KINDS
    ]
    spec = ArchSpec((3, 16, 16), 10, (Stage((blocks[0], *blocks), pool=2), Stage(tuple(blocks))), Head("gap_linear"))
    torch.manual_seed(0)
    model, x = build_model(spec), torch.rand(n_images, 3, 16, 16)
    results = []
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        program = Program(model, spec.input_shape, n_images, training=True)
        logits = program.forward(x)
        program.backward(logits)
        results.append([logits, *program.gradients.values()])
    for result in results[1:]:
        assert all(map(torch.equal, results[0], result))
