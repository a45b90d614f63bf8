"""Whole networks on the kernels against the same networks on PyTorch, in float64."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from search.engine.native.description import describe
from tests.search.engine.native.on_kernels import on_kernels


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def have_same_gradients(model: nn.Module, reference: nn.Module) -> bool:
    """Return whether the gradients of the parameters are nearly the same, all together."""
    found, expected = (
        torch.cat([one.grad.flatten().double() for one in network.parameters() if one.grad is not None])
        for network in (model, reference)
    )
    # An activation or a pool whose input is within rounding of a kink may take the other side: few values, small.
    return bool((found - expected).norm() < 1e-2 * expected.norm())


def check(model: nn.Module, x: Tensor, *, has_large_kinks: bool = False) -> None:
    """Check outputs, gradients and statistics of a training step, then outputs in evaluation mode.

    has_large_kinks: whether a value within rounding of a kink may change the gradients much; they may then be those of
    PyTorch in float32
    """
    exact, rounded = deepcopy(model).double(), deepcopy(model)
    network = on_kernels(model)
    found, expected = network(x), exact(x.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    # A linear loss: its gradient does not depend on the rounding of the outputs.
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0))
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    is_right = have_same_gradients(model, exact)
    if has_large_kinks and not is_right:
        (rounded(x) * weights).sum().backward()
        is_right = have_same_gradients(model, rounded)
    assert is_right
    for (name, own), reference in zip(model.named_buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(own, reference.to(own.dtype), rtol=1e-4, atol=1e-5, msg=name)
    model.eval()
    exact.eval()
    with torch.inference_mode():
        torch.testing.assert_close(network(x).double(), exact(x.double()), rtol=1e-4, atol=1e-4)


def kinds(model: nn.Module, shape: tuple[int, int, int]) -> list[int]:
    """Return the kinds of the operations of a network."""
    return [operation.kind for operation in describe(model, shape).operations]
