"""SOAP: its arithmetic, what it is good for, and that it takes parameters of any shape."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.recipe import RecipeConfig
from search.engine.optimizers import make_optimizer
from search.engine.soap import LARGEST_SIDE, Soap

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES = [(), (1,), (7,), (7,), (1, 1), (4, 3), (3, 4), (4, 1, 3, 3), (4, 1, 3, 3), (5, 4, 1, 1)]


def made_up(shapes: list[tuple[int, ...]], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def run(optimizer: torch.optim.Optimizer, parameters: list[Tensor], steps: range) -> list[Tensor]:
    """Steps with made-up gradients, those of step t always the same; copies of the parameters afterwards."""
    for step in steps:
        for parameter, gradient in zip(parameters, made_up([tuple(p.shape) for p in parameters], step), strict=True):
            parameter.grad = gradient.detach()
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


# --- its arithmetic -------------------------------------------------------------------------------------------------


class PlainSoap:
    """Of one parameter, in numpy; as in the paper, Adam's mean is kept unturned and every step turns it anew."""

    def __init__(self, start: Tensor, betas: tuple[float, float], decay: float, frequency: int) -> None:
        self.shape, self.betas, self.decay, self.frequency = start.shape, betas, decay, frequency
        self.value = np.atleast_2d(start.detach().numpy().copy()).reshape(len(start) if start.ndim > 1 else 1, -1)
        rows, columns = self.value.shape
        self.covariances = [np.zeros((rows, rows)), np.zeros((columns, columns))]
        self.bases = [np.eye(rows), np.eye(columns)]
        self.mean, self.square, self.n_steps = np.zeros((rows, columns)), np.zeros((rows, columns)), 0

    def step(self, gradient: Tensor, lr: float, weight_decay: float) -> Tensor:
        g = gradient.numpy().reshape(self.value.shape)
        self.n_steps += 1
        for i, product in enumerate((g @ g.T, g.T @ g)):
            self.covariances[i] = self.decay * self.covariances[i] + (1 - self.decay) * product
            if self.n_steps == 1 or self.n_steps % self.frequency == 0:
                self.bases[i] = np.linalg.eigh(self.covariances[i])[1]
        left, right = self.bases
        beta1, beta2 = self.betas
        self.mean = beta1 * self.mean + (1 - beta1) * g
        self.square = beta2 * self.square + (1 - beta2) * (left.T @ g @ right) ** 2
        mean = left.T @ self.mean @ right / (1 - beta1**self.n_steps)
        update = mean / (np.sqrt(self.square / (1 - beta2**self.n_steps)) + 1e-8)
        self.value = self.value * (1 - lr * weight_decay) - lr * (left @ update @ right.T)
        return torch.from_numpy(self.value).reshape(self.shape)


def test_one_step_of_every_shape_by_hand() -> None:
    parameters = made_up(SHAPES)
    references = [PlainSoap(parameter, (0.9, 0.99), 0.98, 20) for parameter in parameters]
    run(Soap(parameters, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1), parameters, range(1))
    for parameter, reference in zip(parameters, references, strict=True):
        assert parameter.grad is not None
        # Where the gradient has no share in a direction, rounding is divided by eps.
        torch.testing.assert_close(parameter.detach(), reference.step(parameter.grad, 0.01, 0.1), rtol=0, atol=1e-7)


# Matrices without ties from the first step on: of a wide one, or a vector, the first gradient leaves the basis open.
@pytest.mark.parametrize("shapes", [[()], [(1, 1)], [(4, 4)], [(4, 2, 2, 1), (3, 3), (), (4, 4)]], ids=str)
def test_many_steps_and_bases_by_hand(shapes: list[tuple[int, ...]]) -> None:
    parameters = made_up(shapes)
    settings = {"betas": (0.9, 0.95), "frequency": 3}
    references = [PlainSoap(parameter, (0.9, 0.95), 0.8, 3) for parameter in parameters]
    optimizer = Soap(parameters, lr=0.1, weight_decay=0.1, preconditioner_decay=0.8, **settings)  # type: ignore[arg-type]
    for step in range(10):
        optimizer.param_groups[0]["lr"] = lr = 0.1 - 0.005 * step
        run(optimizer, parameters, range(step, step + 1))
        for parameter, reference in zip(parameters, references, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.detach(), reference.step(parameter.grad, lr, 0.1), rtol=0, atol=1e-6)


def test_a_long_side_keeps_its_own_basis() -> None:
    long = LARGEST_SIDE + 1
    parameters = made_up([(long,), (long, long)])
    adam_parameters = deepcopy(parameters)
    found = run(Soap(parameters, lr=0.01), parameters, range(5))
    adam = torch.optim.Adam(adam_parameters, lr=0.01, betas=(0.95, 0.99))
    torch.testing.assert_close(found, run(adam, adam_parameters, range(5)))
    (parameter,) = made_up([(2, long)])
    optimizer = Soap([parameter], lr=0.01)
    run(optimizer, [parameter], range(1))
    assert optimizer.state[parameter].keys() == {"step", "mean", "square", "left", "left_basis"}


def test_weight_decay_alone_shrinks_by_learning_rate_times_decay() -> None:
    parameters = made_up(SHAPES)
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    Soap(parameters, lr=0.1, weight_decay=0.5).step()
    assert all(torch.equal(after, start * 0.95) for after, start in zip(parameters, before, strict=True))


# --- what it is good for --------------------------------------------------------------------------------------------


def orthogonal(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(made_up([(size, size)], seed)[0].detach()).Q


def lowest(make: Callable[[Tensor], torch.optim.Optimizer]) -> float:
    """The loss after 300 steps on a turned quadratic, whose curvatures are 1 to 1,000 along either side."""
    weight = torch.zeros(8, 8, dtype=torch.float64, requires_grad=True)
    scales = torch.logspace(0, 1.5, 8, dtype=torch.float64)
    left, right = orthogonal(8, 1), orthogonal(8, 2)
    (target,) = made_up([(8, 8)], 3)
    optimizer = make(weight)
    for step in range(301):
        optimizer.param_groups[0]["lr"] *= 0.98
        turned = scales[:, None] * (left @ (weight - target.detach()) @ right) * scales
        loss = turned.square().sum() / 2
        if step < 300:
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return loss.item()


def test_gets_lower_than_adam_where_curvatures_differ_and_axes_are_turned() -> None:
    lrs = (0.1, 0.3, 1.0, 3.0)  # the best of either lies inside
    adam = min(lowest(lambda weight, lr=lr: torch.optim.Adam([weight], lr=lr)) for lr in lrs)
    soap = min(lowest(lambda weight, lr=lr: Soap([weight], lr=lr)) for lr in lrs)
    assert soap < 0.01 * adam


def test_a_turned_problem_takes_a_turned_path() -> None:
    left, right = orthogonal(5, 1), orthogonal(5, 2)
    straight, turned = (torch.zeros(5, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizers = [Soap([weight], lr=0.05, frequency=4) for weight in (straight, turned)]
    for gradient in made_up([(5, 5)] * 20):
        straight.grad, turned.grad = gradient.detach(), left @ gradient.detach() @ right
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(turned, left @ straight @ right, rtol=0, atol=1e-6)
    assert straight.abs().max() > 0.05


# --- parameters and state -------------------------------------------------------------------------------------------


def test_parameters_side_by_side_do_not_touch_one_another() -> None:
    together = made_up(SHAPES)
    together_after = run(Soap(together, lr=0.01, frequency=4), together, range(1))
    for i, parameter in enumerate(made_up(SHAPES)):
        gradient = together[i].grad
        parameter.grad = gradient
        Soap([parameter], lr=0.01, frequency=4).step()
        torch.testing.assert_close(parameter.detach(), together_after[i], rtol=0, atol=1e-7)


def test_a_parameter_without_gradient_stays_and_counts_no_step() -> None:
    first, second = made_up([(4, 4), (4, 4)])
    start = second.detach().clone()
    optimizer = Soap([first, second], lr=0.01)
    run(optimizer, [first], range(3))
    assert torch.equal(second, start)
    assert second not in optimizer.state
    # Its first step, beside the fourth of the other, is like that of one on its own.
    (alone,) = run(Soap([lone := start.clone().requires_grad_()], lr=0.01), [lone], range(1))
    first.grad, second.grad = torch.ones_like(first), lone.grad
    optimizer.step()
    assert torch.equal(second, alone)
    assert (optimizer.state[first]["step"], optimizer.state[second]["step"]) == (4, 1)


def test_memory_format_makes_no_difference() -> None:
    (plain,) = made_up([(4, 3, 2, 2)])
    last = plain.detach().clone(memory_format=torch.channels_last).requires_grad_()
    expected = run(Soap([plain], lr=0.01), [plain], range(3))
    optimizer = Soap([last], lr=0.01)
    for step in range(3):
        last.grad = made_up([(4, 3, 2, 2)], step)[0].detach().contiguous(memory_format=torch.channels_last)
        optimizer.step()
    assert torch.equal(last, expected[0])


def reloaded(optimizer: Soap, parameters: list[Tensor]) -> tuple[Soap, list[Tensor]]:
    copies = made_up(SHAPES)
    other = Soap(copies, lr=1.0)
    run(other, copies, range(2))  # a state that must not come through
    for copy, parameter in zip(copies, parameters, strict=True):
        copy.data.copy_(parameter)
    other.load_state_dict(deepcopy(optimizer.state_dict()))  # as any of torch's, it shares tensors until saved
    return other, copies


def copied(optimizer: Soap, parameters: list[Tensor]) -> tuple[Soap, list[Tensor]]:
    return deepcopy((optimizer, parameters))


@pytest.mark.parametrize("way", [reloaded, copied])
@pytest.mark.parametrize("n_before", [0, 5, 6])
def test_goes_on_where_it_was_left(way: Callable[..., tuple[Soap, list[Tensor]]], n_before: int) -> None:
    parameters = made_up(SHAPES)
    optimizer = Soap(parameters, lr=0.01, weight_decay=0.1, frequency=3)
    run(optimizer, parameters, range(n_before))
    other, others = way(optimizer, parameters)
    went_on = run(optimizer, parameters, range(n_before, n_before + 5))
    after = run(other, others, range(n_before, n_before + 5))
    assert all(torch.equal(*pair) for pair in zip(went_on, after, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e200])
@pytest.mark.parametrize("at", [0, 3])
def test_a_gradient_beyond_numbers_raises_nothing(bad: float, at: int) -> None:
    parameters = made_up(SHAPES)
    optimizer = Soap(parameters, lr=0.01, frequency=2)
    run(optimizer, parameters, range(at))
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, bad)
    optimizer.step()
    run(optimizer, parameters, range(4))
    bases = [state[name] for state in optimizer.state.values() for name in state if name.endswith("basis")]
    assert bases
    assert all(basis.isfinite().all() for basis in bases)


def test_one_bad_gradient_leaves_its_neighbours_alone() -> None:
    parameters, clean = made_up([(4, 4), (4, 4)]), made_up([(4, 4), (4, 4)])
    optimizer = Soap(parameters, lr=0.01, frequency=2)
    for step in range(4):
        gradients = [gradient.detach() for gradient in made_up([(4, 4), (4, 4)], step)]
        parameters[0].grad, parameters[1].grad = torch.full_like(gradients[0], torch.nan), gradients[1]
        optimizer.step()
    assert torch.equal(parameters[1], run(Soap(clean, lr=0.01, frequency=2), clean, range(4))[1])


# --- settings -------------------------------------------------------------------------------------------------------


def test_a_recipe_sets_it() -> None:
    recipe = RecipeConfig(optimizer="soap", lr=0.02, momentum=0.8, weight_decay=0.3)
    optimizer = make_optimizer(torch.nn.Linear(2, 2), recipe)
    assert isinstance(optimizer, Soap)
    (group,) = optimizer.param_groups
    expected = {"lr": 0.02, "betas": (0.8, 0.99), "weight_decay": 0.3, "preconditioner_decay": 0.98, "frequency": 20}
    assert {name: group[name] for name in expected} == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": -1.0},
        {"betas": (1.0, 0.99)},
        {"betas": (0.9, -0.1)},
        {"eps": -1e-8},
        {"weight_decay": -0.1},
        {"preconditioner_decay": 1.0},
        {"frequency": 0},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be in|too small"):
        Soap(made_up([(2, 2)]), **{"lr": 0.1, **settings})


def test_a_beta1_of_one_from_a_schedule_raises_nothing() -> None:
    parameters = made_up(SHAPES)
    optimizer = Soap(parameters, lr=0.1)
    optimizer.param_groups[0]["betas"] = (1.0, 0.99)
    assert all(parameter.isnan().all() for parameter in run(optimizer, parameters, range(1)))


def test_takes_no_closure() -> None:
    with pytest.raises(ValueError, match="takes no closure"):
        Soap(made_up([(2, 2)]), lr=0.1).step(lambda: 0.0)
