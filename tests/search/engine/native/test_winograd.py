"""Dense 3x3 convolutions of stride 1, which Winograd's algorithm computes, against PyTorch in double precision."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from search.engine.native import kernels
from tests.search.engine.native.network_check import check
from tests.search.engine.native.on_kernels import on_kernels
from tests.search.near import near

pytestmark = [
    pytest.mark.usefixtures("threads_as_before"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]


def outputs_and_gradients(run: nn.Module, model: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    """Return the output of a model that `run` runs, and the gradients of the input and of the parameters."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    y = run(x)
    (y * weights).sum().backward()
    return [y.detach(), *(one.grad for one in (x, *model.parameters()) if one.grad is not None)]


def on_both(model: nn.Module, x: Tensor, run: nn.Module | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """Return what the kernels (or `run`) compute and what PyTorch computes in double precision."""
    exact = deepcopy(model).double()
    weights = torch.randn(exact(x.double()).shape, generator=torch.Generator().manual_seed(1))
    found = outputs_and_gradients(run or on_kernels(model), model, x, weights)
    return found, outputs_and_gradients(exact, exact, x.double(), weights.double())


@pytest.mark.parametrize("size", [(4, 4), (4, 9), (6, 5), (7, 7), (8, 13), (11, 6), (26, 26)], ids=str)
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("in_channels", "out_channels", "groups"), [(12, 20, 1), (16, 6, 1), (16, 24, 2)])
def test_convolution_and_gradients(
    size: tuple[int, int], padding: int, in_channels: int, out_channels: int, groups: int
) -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(in_channels, out_channels, 3, padding=padding, groups=groups)
    for found, expected in zip(*on_both(model, torch.randn(19, in_channels, *size)), strict=True):
        near(found, expected, tolerance=5e-6)


def test_in_a_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.SiLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(12, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()),
        *(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU()),
    )
    check(model, torch.randn(35, 3, 27, 21))


def test_rounding_is_less_than_three_times_that_of_a_direct_sum() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(16, 16, 3, padding=1)
    x = torch.randn(32, 16, 16, 16)
    rounding, of_pytorch = (
        [(found - expected).norm() / expected.norm() for found, expected in zip(*on_both(model, x, run), strict=True)]
        for run in (None, model)
    )
    # Sums over many pixels have less rounding on the kernels, which sum in parts.
    assert all(ours < 3 * theirs for ours, theirs in zip(rounding, of_pytorch, strict=True)), (rounding, of_pytorch)


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 16, 3))
    x = torch.randn(90, 8, 9, 10)
    results = []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        results.append(on_both(model, x)[0])
    for one, several in zip(*results, strict=True):
        assert torch.equal(one, several)
