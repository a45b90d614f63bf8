"""What a layer does to values as it reads them, against PyTorch: batch norm, activation, dropout, pooling."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone knows it by)

from search.engine.native import kernels
from search.engine.native.fusion import ACTIVATIONS
from search.engine.native.program import Program
from tests.search.engine.native.on_kernels import on_kernels
from tests.search.near import near

LIBRARY = kernels.load()
pytestmark = [
    pytest.mark.usefixtures("threads_as_before"),
    pytest.mark.skipif(LIBRARY is None, reason=f"no kernels here: {kernels.problem()}"),
]
LANES = LIBRARY.lanes() if LIBRARY else 1


class FixedDropout(nn.Dropout):
    """Dropout that drops what it was told to."""

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


@dataclass(frozen=True)
class Chain:
    """A layer, what is done to its result, and a layer that reads it: depthwise and 1x1, or a plain convolution."""

    images: int
    channels: tuple[int, int, int]
    size: tuple[int, int]
    activation: type[nn.Module] | None
    activation_first: bool
    norms: tuple[bool, bool]
    drop: float
    pool: int
    separable: bool
    kernel: tuple[int, int]
    padding: int
    bias: bool
    threads: int
    stride: int
    mean_pool: bool

    def layers(self) -> nn.Sequential:
        first, middle, last = self.channels
        torch.manual_seed(0)
        activation = [self.activation()] if self.activation else []
        # A large epsilon: two numbers that are nearly the same are not to be told apart by their rounding.
        norm, last_norm = (
            [nn.BatchNorm2d(c, eps=0.1)] if on else [] for c, on in zip((middle, last), self.norms, strict=True)
        )
        for module in norm + last_norm:
            nn.init.uniform_(module.weight, -2, 2)
            nn.init.normal_(module.bias)
        padding, stride = self.padding, self.stride
        reader = [nn.Conv2d(middle, last, self.kernel, stride, padding, bias=self.bias)]
        if self.separable:
            depthwise = nn.Conv2d(middle, middle, self.kernel, stride, padding, groups=middle, bias=False)
            reader = [depthwise, nn.Conv2d(middle, last, 1, bias=self.bias)]
        return nn.Sequential(
            nn.Conv2d(first, middle, 3, padding=1),
            *(activation + norm if self.activation_first else norm + activation),
            *([nn.Dropout(self.drop)] if self.drop else []),
            *([nn.AvgPool2d(self.pool) if self.mean_pool else nn.MaxPool2d(self.pool)] if self.pool > 1 else []),
            *reader,
            *last_norm,
        )

    def input(self) -> Tensor:
        return torch.randn(self.images, self.channels[0], *self.size, generator=torch.Generator().manual_seed(1))


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    kernel, pool = (
        draw(st.sampled_from(((1, 1), (3, 3), (3, 3), (5, 5), (2, 3), (7, 7)))),
        draw(st.sampled_from((1, 1, 2, 3))),
    )
    padding = draw(st.integers(0, min(kernel) - 1))
    least = [pool * max(1, side - 2 * padding) for side in kernel]
    return Chain(
        images=draw(st.integers(2, 40)),
        channels=(draw(st.integers(1, 3)), draw(st.integers(1, 13)), draw(st.integers(1, 11))),
        size=(draw(st.integers(least[0], max(16, least[0]))), draw(st.integers(least[1], max(16, least[1])))),
        activation=draw(st.sampled_from((None, *ACTIVATIONS))),
        activation_first=draw(st.booleans()),
        norms=(draw(st.booleans()), draw(st.booleans())),
        drop=draw(st.sampled_from((0.0, 0.0, 0.4))),
        pool=pool,
        separable=draw(st.booleans()),
        kernel=kernel,
        padding=padding,
        bias=draw(st.booleans()),
        threads=draw(st.sampled_from((1, 2))),
        stride=draw(st.sampled_from((1, 1, 2, 3))),
        mean_pool=draw(st.booleans()),
    )


def same_dropout(exact: nn.Sequential, case: Chain, seed: int) -> None:
    """Let the reference drop what the kernels drop after `seed`."""
    torch.manual_seed(seed)
    ones = torch.ones(case.images, case.channels[1], *case.size)
    mask = on_kernels(nn.Dropout(case.drop))(ones).double()
    for i, module in enumerate(exact):
        if isinstance(module, nn.Dropout):
            exact[i] = FixedDropout(case.drop)
            exact[i].mask = mask


@settings(max_examples=30, deadline=None, derandomize=True)
@given(chains())
def test_a_layer_that_reads_what_another_left(case: Chain) -> None:
    check_against_pytorch(case)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(chains())
def test_many_layers_that_read_what_another_left(case: Chain) -> None:
    check_against_pytorch(case)


def check_against_pytorch(case: Chain) -> None:
    torch.set_num_threads(case.threads)
    layers, exact = case.layers(), case.layers().double()
    same_dropout(exact, case, seed=3)
    x, exact_x = case.input().requires_grad_(), case.input().double().requires_grad_()
    torch.manual_seed(3)
    found, expected = on_kernels(layers)(x), exact(exact_x)
    near(found, expected, tolerance=1e-4)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    found.backward(gradient)
    expected.backward(gradient.double())
    assert x.grad is not None
    assert exact_x.grad is not None
    near(x.grad, exact_x.grad, tolerance=1e-3)
    for own, reference in zip(layers.parameters(), exact.parameters(), strict=True):
        assert own.grad is not None
        assert reference.grad is not None
        # Biases before batch norm have a gradient of 0, up to the rounding of what is summed.
        near(own.grad, reference.grad, torch.maximum(reference.grad.abs().max(), gradient.abs().sum() / 10), 1e-3)
    for own, reference in zip(layers.buffers(), exact.buffers(), strict=True):
        near(own, reference.double())
    layers.eval()
    exact.eval()
    if not case.drop:
        with torch.inference_mode():
            near(on_kernels(layers)(x), exact(exact_x), tolerance=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("shape", [(20, 3, 6, 6), (5, 1, 7, 8), (3, 2, 3, 5)])
def test_max_pool_and_its_gradient(shape: tuple[int, ...], size: int) -> None:
    # Whole numbers, so that windows have equal largest values: the gradient goes to the first.
    x = torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(0)).float()
    own, reference = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = on_kernels(nn.MaxPool2d(size))(own)
    expected = F.max_pool2d(reference, size)
    assert torch.equal(found, expected)
    gradient = torch.randn(expected.shape)
    found.backward(gradient)
    expected.backward(gradient)
    assert own.grad is not None
    assert reference.grad is not None
    assert torch.equal(own.grad, reference.grad)


@pytest.mark.parametrize("size", [1, 2])
def test_mean_over_what_is_read(size: int) -> None:
    layers = nn.Sequential(nn.SiLU(), nn.MaxPool2d(size), nn.AdaptiveAvgPool2d(1))
    x = torch.randn(19, 3, 5, 7)
    own, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    found, expected = on_kernels(layers)(own), layers(exact)
    near(found, expected)
    gradient = torch.randn(expected.shape)
    found.backward(gradient)
    expected.backward(gradient.double())
    assert own.grad is not None
    assert exact.grad is not None
    near(own.grad, exact.grad)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 1.0])
def test_dropout_drops_that_share_and_makes_up_for_it(p: float) -> None:
    torch.manual_seed(1)
    x = torch.ones(7 * LANES, 11, 13, 13, requires_grad=True)
    z = on_kernels(nn.Dropout(p))(x)
    assert (z == 0).float().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / x.numel()) ** 0.5)
    if p < 1:
        assert torch.allclose(z[z != 0], torch.tensor(1 / (1 - p)))
    # Every channel, every row and every image on its own, too.
    for dims in ((0, 2, 3), (0, 1, 3), (1, 2, 3)):
        assert (z == 0).float().mean(dims).sub(p).abs().max() < 6 * (p * (1 - p) / 1000) ** 0.5 + 1e-6
    z.sum().backward()
    assert torch.equal(x.grad, z.detach())


def test_one_seed_of_dropout_tells_nothing_of_the_next() -> None:
    x = torch.ones(40, 5, 7, 7)
    program = Program(nn.Dropout(0.5), (5, 7, 7), 40, training=True)
    first, again, second = (program.forward(x, torch.tensor([seed])) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert ((first == 0) & (second == 0)).float().mean().item() == pytest.approx(0.25, abs=0.02)
