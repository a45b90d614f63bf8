"""The optimiser SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for many small tensors.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", arXiv 2409.11321. A parameter is taken as a matrix:
its first side by all others, a vector as one row. Decayed means of G Gᵀ and Gᵀ G over its gradients G span a basis for
either side, in which Adam runs; the bases are found anew every few steps.

The first step, whose basis is a guess, already moves the parameters. Adam's decayed mean of gradients is kept in
the basis and carried over into each new one, which comes to the same as turning it at every step.

Steps of a tiny network are as dear as the calls they make, so parameters go through them together: number by number as
one flat tensor, matrix by matrix as stacks of equal shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from search.engine.eager_optim import EagerOptimizer

LARGEST_SIDE = 256  # a longer side of a matrix keeps its own basis, as its eigenvectors would take too long

# Of one parameter: "step", the number of its steps; "mean" and "square", Adam's moments (rows, columns) in the basis;
# of each side that has a basis ("left", "right") its covariance and its eigenvectors, (size, size).
State = dict[str, Any]


class Soap(EagerOptimizer):
    """SOAP with decoupled weight decay, as AdamW's.

    betas                  decay of Adam's mean and mean square, per step
    preconditioner_decay   decay of G Gᵀ and Gᵀ G, per step
    frequency              the bases are found anew in steps 1, frequency, 2 * frequency, ...
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        preconditioner_decay: float = 0.98,
        frequency: int = 20,
    ) -> None:
        if not all(0 <= decay < 1 for decay in (*betas, preconditioner_decay)):
            raise ValueError(f"decays must be in [0, 1), got {betas} and {preconditioner_decay}")
        if min(lr, eps, weight_decay) < 0 or frequency < 1:
            raise ValueError(
                f"too small: one of lr {lr}, eps {eps}, weight_decay {weight_decay}, frequency {frequency}"
            )
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,  # the name by which OneCycleLR knows beta1
            "eps": eps,
            "weight_decay": weight_decay,
            "preconditioner_decay": preconditioner_decay,
            "frequency": frequency,
        }
        super().__init__(params, defaults)
        self._cohorts: dict[int, list[_Cohort]] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copies, pickles and load_state_dict end here: what holds the state together is made anew from it."""
        super().__setstate__(state)
        self._cohorts = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient. `closure` is not supported."""
        if closure is not None:
            raise ValueError("Soap takes no closure")
        for index, group in enumerate(self.param_groups):
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for cohort in self._cohorts_of(index, parameters):
                cohort.step(group)

    def _cohorts_of(self, index: int, parameters: list[Tensor]) -> list[_Cohort]:
        """The cohorts of the parameters of the group of that index: the last step's, unless other parameters moved."""
        cohorts = self._cohorts.get(index, [])
        if {id(one) for cohort in cohorts for one in cohort.parameters} != {id(one) for one in parameters}:
            cohorts = self._cohorts[index] = list(self._new_cohorts(parameters))
        return cohorts

    def _new_cohorts(self, parameters: list[Tensor]) -> Iterator[_Cohort]:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = _first_state(parameter)
        kinds: dict[Any, list[Tensor]] = {}
        for parameter in parameters:
            kinds.setdefault((self.state[parameter]["step"], parameter.dtype, parameter.device), []).append(parameter)
        for members in kinds.values():
            members.sort(key=_matrix_shape)
            yield _Cohort(members, [self.state[parameter] for parameter in members])


class _Cohort:
    """Parameters of one type that have taken equally many steps, equal shapes next to one another.

    Two flat tensors hold one number of each parameter after another: `plain` gradients and updates as the parameters
    lie, `turned` the same in the basis.
    """

    def __init__(self, parameters: list[Tensor], states: list[State]) -> None:
        self.parameters, self._states = parameters, states
        self._n_steps: int = states[0]["step"]
        self._mean, self._square = _joined(states, "mean"), _joined(states, "square")
        self._plain, self._turned = torch.empty_like(self._mean), torch.empty_like(self._mean)
        parts = torch.split(self._plain, [parameter.numel() for parameter in parameters])
        self._plain_parts = [part.view(one.shape) for part, one in zip(parts, parameters, strict=True)]
        self._stacks = []
        start = 0
        for shape, members in groupby(states, key=lambda state: state["mean"].shape):
            equal = list(members)
            stop = start + len(equal) * shape.numel()
            flat = (self._plain, self._turned, self._mean)
            self._stacks.append(_Stack(equal, *(one[start:stop].view(len(equal), *shape) for one in flat)))
            start = stop

    def step(self, group: dict[str, Any]) -> None:
        """One step, with the settings of `group`."""
        self._n_steps += 1
        for state in self._states:
            state["step"] = self._n_steps
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_copy_(self._plain_parts, gradients)
        is_new_basis = self._n_steps == 1 or self._n_steps % group["frequency"] == 0
        for stack in self._stacks:
            stack.take_in(group["preconditioner_decay"])
            if is_new_basis:
                stack.find_basis()
            stack.turn()
        self._adam(group["betas"], group["eps"])
        for stack in self._stacks:
            stack.turn_back()
        if group["weight_decay"]:
            torch._foreach_mul_(self.parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(self.parameters, self._plain_parts, alpha=-group["lr"])

    def _adam(self, betas: tuple[float, float], eps: float) -> None:
        """Turn rotated gradients into rotated updates, in place; `plain` is overwritten."""
        beta1, beta2 = betas
        self._mean.lerp_(self._turned, 1 - beta1)
        self._square.mul_(beta2).addcmul_(self._turned, self._turned, value=1 - beta2)
        torch.div(self._square, 1 - beta2**self._n_steps, out=self._plain).sqrt_().add_(eps)
        # Divided as a tensor: a schedule may set beta1 to 1, which Python could not divide by.
        torch.div(self._mean, 1 - beta1**self._n_steps, out=self._turned).div_(self._plain)


class _Stack:
    """Matrices of equal shape: views (n, rows, columns) of their cohort's flat tensors, and a basis for either side."""

    def __init__(self, states: list[State], plain: Tensor, turned: Tensor, mean: Tensor) -> None:
        self._plain, self._turned, self._mean = plain, turned, mean
        # Each with the two factors whose product its covariance is the mean of.
        factors = {"left": (plain, plain.mT), "right": (plain.mT, plain)}
        self._sides = {name: _Side(states, name, *factors[name]) for name in factors if name in states[0]}
        left, right = self._sides.get("left"), self._sides.get("right")
        # The factors around a matrix that turn it to the basis, and back; None stands for the identity.
        self._to_basis = (left.transposed if left else None, right.basis if right else None)
        self._from_basis = (left.basis if left else None, right.transposed if right else None)

    def take_in(self, decay: float) -> None:
        """Let the gradients in `plain` count towards the next basis."""
        for side in self._sides.values():
            side.take_in(decay)

    def find_basis(self) -> None:
        """Turn to the eigenvectors of what was taken in, and the mean with them; the mean square stays as it is."""
        mean = torch.empty_like(self._mean)
        _product(self._from_basis, self._mean, mean)
        for side in self._sides.values():
            side.find_basis()
        _product(self._to_basis, mean, self._mean)

    def turn(self) -> None:
        """Rotate `plain` into `turned`."""
        _product(self._to_basis, self._plain, self._turned)

    def turn_back(self) -> None:
        """Rotate `turned` back into `plain`."""
        _product(self._from_basis, self._turned, self._plain)


class _Side:
    """One side of a stack of n matrices: what was taken in, and the basis (eigenvectors as columns) found from it.

    All are (n, size, size); `transposed` is a view of `basis`.
    """

    def __init__(self, states: list[State], name: str, first: Tensor, second: Tensor) -> None:
        size = len(states[0][name])
        self._first, self._second = first, second
        self._covariance = _joined(states, name).view(-1, size, size)
        self.basis = _joined(states, f"{name}_basis").view(-1, size, size)
        self.transposed = self.basis.mT

    def take_in(self, decay: float) -> None:
        """Move the covariance towards the product of the two factors."""
        self._covariance.baddbmm_(self._first, self._second, beta=decay, alpha=1 - decay)

    def find_basis(self) -> None:
        """The old basis stays where the training has diverged: eigh would raise."""
        is_finite = self._covariance.isfinite().flatten(1).all(1).view(-1, 1, 1)
        found = torch.linalg.eigh(self._covariance.masked_fill(~is_finite, 0.0)).eigenvectors
        self.basis.copy_(torch.where(is_finite, found, self.basis))


def _product(factors: tuple[Tensor | None, Tensor | None], matrices: Tensor, out: Tensor) -> None:
    """out = left @ matrices @ right, for stacks of matrices; a factor that is None is the identity."""
    left, right = factors
    if left is not None and right is not None:
        torch.bmm(torch.bmm(left, matrices), right, out=out)
    elif left is not None:
        torch.bmm(left, matrices, out=out)
    elif right is not None:
        torch.bmm(matrices, right, out=out)
    else:
        out.copy_(matrices)


def _matrix_shape(parameter: Tensor) -> tuple[int, int]:
    rows = len(parameter) if parameter.ndim > 1 else 1
    return rows, parameter.numel() // rows


def _first_state(parameter: Tensor) -> State:
    shape = _matrix_shape(parameter)
    state: State = {"step": 0, "mean": parameter.new_zeros(shape), "square": parameter.new_zeros(shape)}
    for name, size in zip(("left", "right"), shape, strict=True):
        if 1 < size <= LARGEST_SIDE:
            state[name] = parameter.new_zeros(size, size)
            state[f"{name}_basis"] = torch.eye(size, dtype=parameter.dtype, device=parameter.device)
    return state


def _joined(states: list[State], name: str) -> Tensor:
    """The tensors of that name as one flat tensor, of which every state holds its part from now on."""
    flat = torch.cat([state[name].flatten() for state in states])
    parts = torch.split(flat, [state[name].numel() for state in states])
    for state, part in zip(states, parts, strict=True):
        state[name] = part.view_as(state[name])
    return flat
