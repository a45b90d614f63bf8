"""The kernels against PyTorch in float64, over random shapes."""

from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search.engine.native import kernels
from search.engine.native.fusion import ACTIVATIONS
from tests.search.engine.native.on_kernels import on_kernels
from tests.search.near import near

LIBRARY = kernels.load()
pytestmark = [
    pytest.mark.usefixtures("threads_as_before"),
    pytest.mark.skipif(LIBRARY is None, reason=f"no kernels here: {kernels.problem()}"),
]
LANES = LIBRARY.lanes() if LIBRARY else 1


@dataclass(frozen=True)
class Case:
    """One layer and its input."""

    images: int
    in_channels: int
    out_channels: int
    groups: int
    kernel: tuple[int, int]
    padding: int
    size: tuple[int, int]
    activation: type[nn.Module] | None
    activation_first: bool
    norm: bool
    bias: bool
    threads: int = 1
    stride: int = 1

    def layers(self) -> nn.Sequential:
        """Convolution, batch norm and activation with weights that are all different from the initial ones."""
        torch.manual_seed(0)
        conv = nn.Conv2d(
            *(self.in_channels, self.out_channels, self.kernel, self.stride),
            padding=self.padding,
            groups=self.groups,
            bias=self.bias,
        )
        activation = [self.activation()] if self.activation else []
        norm = [nn.BatchNorm2d(self.out_channels, eps=1e-3, momentum=0.3)] if self.norm else []
        for module in norm:
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
        return nn.Sequential(conv, *(activation + norm if self.activation_first else norm + activation))

    def input(self) -> Tensor:
        return torch.randn(self.images, self.in_channels, *self.size, generator=torch.Generator().manual_seed(1))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    in_channels = groups * draw(st.integers(1, 12))
    depthwise = draw(st.booleans()) and groups == 1
    kernel = draw(st.sampled_from(((1, 1), (3, 3), (3, 3), (5, 5), (2, 3), (7, 7))))
    padding = draw(st.integers(0, min(kernel) - 1))
    least = tuple(max(1, side - 2 * padding) for side in kernel)
    return Case(
        images=draw(st.integers(2, 40)),
        in_channels=in_channels,
        out_channels=in_channels if depthwise else groups * draw(st.integers(1, 14)),
        groups=in_channels if depthwise else groups,
        kernel=kernel,
        padding=padding,
        size=(draw(st.integers(least[0], 15)), draw(st.integers(least[1], 20))),
        activation=draw(st.sampled_from((None, *ACTIVATIONS))),
        activation_first=draw(st.booleans()),
        norm=draw(st.booleans()),
        bias=draw(st.booleans()),
        threads=draw(st.sampled_from((1, 2, 3))),
        stride=draw(st.sampled_from((1, 1, 2, 3))),
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cases())
def test_layer_and_its_gradients(case: Case) -> None:
    torch.set_num_threads(case.threads)
    layers, exact = case.layers(), case.layers().double()
    x, exact_x = case.input().requires_grad_(), case.input().double().requires_grad_()
    found, expected = on_kernels(layers)(x), exact(exact_x)
    near(found, expected)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    found.backward(gradient)
    expected.backward(gradient.double())
    assert x.grad is not None
    assert exact_x.grad is not None
    near(x.grad, exact_x.grad)
    for (name, own), reference in zip(layers.named_parameters(), exact.parameters(), strict=True):
        assert own.grad is not None
        assert reference.grad is not None
        # A bias before batch norm has no effect: its gradient is 0, up to the rounding of what is summed.
        of_sum = gradient.abs().sum() if name == "0.bias" else reference.grad
        near(own.grad, reference.grad, of_sum, 1e-4)
    for own, reference in zip(layers.buffers(), exact.buffers(), strict=True):
        near(own, reference.double())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(cases())
def test_layer_in_evaluation_mode(case: Case) -> None:
    layers, exact = case.layers().eval(), case.layers().double().eval()
    before = deepcopy(layers.state_dict())
    with torch.inference_mode():
        near(on_kernels(layers)(case.input()), exact(case.input().double()))
    assert all(torch.equal(before[name], tensor) for name, tensor in layers.state_dict().items())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_over_the_whole_range(activation: type[nn.Module]) -> None:
    values = torch.cat((torch.linspace(-100, 100, 4001), torch.tensor([-1e6, -3.0, -0.0, 0.0, 3.0, 1e6])))
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(conv.weight)
    x = values.view(1, 1, 1, -1).requires_grad_()
    found = on_kernels(nn.Sequential(conv, activation()))(x)
    found.sum().backward()
    exact_x = values.double().requires_grad_()
    expected = activation()(exact_x)
    expected.sum().backward()
    assert x.grad is not None
    assert exact_x.grad is not None
    # GELU of PyTorch rounds to 0 where the normal distribution is below 1e-16.
    atol = 1e-8 if activation is nn.GELU else 1e-30
    torch.testing.assert_close(found.flatten().double(), expected, rtol=1e-6, atol=atol)
    torch.testing.assert_close(x.grad.flatten().double(), exact_x.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(activation: type[nn.Module] | None, norm: bool, value: float) -> None:
    case = Case(3, 1, 2, 1, (3, 3), 0, (6, 6), activation, False, norm, False)
    layers = case.layers()
    with torch.no_grad():
        layers[0].weight[0, 0, 1, 1] = value
    model = nn.Sequential(layers, nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = on_kernels(model)(case.input())
    # A hard sigmoid of infinity is 0 or 1.
    is_finite = activation is nn.Hardsigmoid and not norm and value == float("inf")
    assert (found[:, 0].isfinite() == is_finite).all()
    assert found[:, 1].isfinite().all()


@pytest.mark.parametrize("images", [50, 130])
def test_the_number_of_threads_does_not_change_a_bit(images: int) -> None:
    case = Case(images, 5, 7, 1, (3, 3), 1, (9, 9), nn.SiLU, False, True, False)

    def gradients(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        layers = case.layers()
        on_kernels(layers)(case.input()).square().sum().backward()
        return [parameter.grad for parameter in layers.parameters() if parameter.grad is not None]

    for threads in (1, 2, 4):
        assert all(map(torch.equal, gradients(1), gradients(threads)))


@pytest.mark.parametrize("images", [1, LANES - 1, LANES, LANES + 1, 3 * LANES])
def test_blocks_and_back(images: int) -> None:
    x = torch.rand(images, 3, 4, 5)
    assert torch.equal(on_kernels(nn.Identity())(x), x)


def test_a_gradient_in_another_memory_order_is_understood() -> None:
    case = Case(4, 2, 3, 1, (3, 3), 0, (5, 5), nn.ReLU, False, True, False)
    layers, exact = case.layers(), case.layers().double()
    for model, dtype in ((layers, torch.float32), (exact, torch.float64)):
        network = on_kernels(model) if model is layers else model
        network(case.input().to(dtype)).mean((2, 3)).square().sum().backward()
    for own, reference in zip(layers.parameters(), exact.parameters(), strict=True):
        assert own.grad is not None
        assert reference.grad is not None
        near(own.grad, reference.grad)
