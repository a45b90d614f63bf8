"""Gradients of depthwise convolutions on maps larger than a strip of rows, against PyTorch in double precision."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from search.engine.native import kernels
from tests.search.engine.native.on_kernels import on_kernels

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]


@pytest.mark.parametrize("kernel_size", [3, 5, 7, (5, 3), (3, 5), 2])
@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.SiLU()])
@pytest.mark.parametrize("padding", [0, 1])
def test_gradients(kernel_size: int | tuple[int, int], pool: int, activation: nn.Module, padding: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        activation,
        nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
        nn.Conv2d(3, 3, kernel_size, padding=padding, groups=3, bias=False),
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
    )
    exact = deepcopy(model).double()
    x = torch.randn(5, 1, 27, 27)
    y, expected = on_kernels(model)(x), exact(x.double())
    weights = torch.randn(expected.shape)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    for (name, parameter), reference in zip(model.named_parameters(), exact.parameters(), strict=True):
        assert parameter.grad is not None
        assert reference.grad is not None
        difference = (parameter.grad - reference.grad).norm()
        # The bias before a batch norm has no gradient but rounding.
        assert difference < 1e-3 * reference.grad.norm() + 1e-3, name
