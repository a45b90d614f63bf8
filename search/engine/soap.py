"""SOAP optimizer, which runs Adam in the eigenbasis of Shampoo's preconditioner, for many small tensors.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", arXiv 2409.11321. A parameter is treated as a matrix
of its first side by the product of the others, and a vector as one row. The eigenvectors of decayed means of G Gᵀ and
Gᵀ G over its gradients G are the basis of either side, in which Adam runs. The bases are computed again every few
steps.

The first step already moves the parameters, although its basis is a guess. Adam's decayed mean of gradients is kept in
the basis and converted to each new one, which is equivalent to rotating it at every step.

The cost of a step of a tiny network is the cost of its calls, so parameters are processed together: elementwise
operations on one flat tensor, matrix operations on stacks of equal shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from search.engine.eager_optim import EagerOptimizer

LARGEST_SIDE = 256  # a longer side of a matrix is not rotated, as its eigenvectors would take too long

# State of one parameter: "step", the number of its steps; "mean" and "square", Adam's moments (rows, columns) in the
# basis; for each side that has a basis ("left", "right"), its covariance and its eigenvectors, (size, size).
State = dict[str, Any]


class Soap(EagerOptimizer):
    """SOAP optimizer with decoupled weight decay, as in AdamW.

    betas                  decay of Adam's mean and mean square, per step
    preconditioner_decay   decay of G Gᵀ and Gᵀ G, per step
    frequency              the bases are computed in steps 1, frequency, 2 * frequency, ...
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
        """Restore a copied, pickled or loaded state; the next step builds the cohorts from it."""
        super().__setstate__(state)
        self._cohorts = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step of every parameter that has a gradient. `closure` is not supported."""
        if closure is not None:
            raise ValueError("Soap takes no closure")
        for index, group in enumerate(self.param_groups):
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for cohort in self._cohorts_of(index, parameters):
                cohort.step(group)

    def _cohorts_of(self, index: int, parameters: list[Tensor]) -> list[_Cohort]:
        """Return the cohorts of a group's parameters, which are those of the last step unless the parameters differ."""
        cohorts = self._cohorts.get(index, [])
        if {id(p) for cohort in cohorts for p in cohort.parameters} != {id(p) for p in parameters}:
            cohorts = self._cohorts[index] = list(self._new_cohorts(parameters))
        return cohorts

    def _new_cohorts(self, parameters: list[Tensor]) -> Iterator[_Cohort]:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = _first_state(parameter)
        members_by_type: dict[Any, list[Tensor]] = {}
        for parameter in parameters:
            key = (self.state[parameter]["step"], parameter.dtype, parameter.device)
            members_by_type.setdefault(key, []).append(parameter)
        for members in members_by_type.values():
            members.sort(key=matrix_shape)
            yield _Cohort(members, [self.state[parameter] for parameter in members])


class _Cohort:
    """Parameters of one type that have taken equally many steps, sorted by shape.

    Two flat tensors hold one value for every number in the parameters, one parameter after another: `plain` gradients
    and updates in the layout of the parameters, and `rotated` ones in the basis.
    """

    def __init__(self, parameters: list[Tensor], states: list[State]) -> None:
        self.parameters, self._states = parameters, states
        self._n_steps: int = states[0]["step"]
        self._mean, self._square = _join_tensors(states, "mean"), _join_tensors(states, "square")
        self._plain, self._rotated = torch.empty_like(self._mean), torch.empty_like(self._mean)
        parts = torch.split(self._plain, [parameter.numel() for parameter in parameters])
        self._plain_parts = [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]
        self._stacks = []
        start = 0
        for shape, members in groupby(states, key=lambda state: state["mean"].shape):
            stack_states = list(members)
            n = len(stack_states)
            stop = start + n * shape.numel()
            flat_tensors = (self._plain, self._rotated, self._mean)
            self._stacks.append(_Stack(stack_states, *(flat[start:stop].view(n, *shape) for flat in flat_tensors)))
            start = stop

    def step(self, group: dict[str, Any]) -> None:
        """Take one step with the settings of `group`."""
        self._n_steps += 1
        for state in self._states:
            state["step"] = self._n_steps
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_copy_(self._plain_parts, gradients)
        is_new_basis = self._n_steps == 1 or self._n_steps % group["frequency"] == 0
        for stack in self._stacks:
            stack.add_gradients(group["preconditioner_decay"])
            if is_new_basis:
                stack.update_basis()
            stack.rotate()
        self._adam(group["betas"], group["eps"])
        for stack in self._stacks:
            stack.rotate_back()
        if group["weight_decay"]:
            torch._foreach_mul_(self.parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(self.parameters, self._plain_parts, alpha=-group["lr"])

    def _adam(self, betas: tuple[float, float], eps: float) -> None:
        """Replace the rotated gradients by rotated updates; `plain` is overwritten."""
        beta1, beta2 = betas
        self._mean.lerp_(self._rotated, 1 - beta1)
        self._square.mul_(beta2).addcmul_(self._rotated, self._rotated, value=1 - beta2)
        torch.div(self._square, 1 - beta2**self._n_steps, out=self._plain).sqrt_().add_(eps)
        # A tensor operation, because a schedule may set beta1 to 1, and Python cannot divide by 0.
        torch.div(self._mean, 1 - beta1**self._n_steps, out=self._rotated).div_(self._plain)


class _Stack:
    """Matrices of equal shape, (n, rows, columns) views of a cohort's flat tensors, with a basis for either side."""

    def __init__(self, states: list[State], plain: Tensor, rotated: Tensor, mean: Tensor) -> None:
        self._plain, self._rotated, self._mean = plain, rotated, mean
        # The covariance of a side is the decayed mean of the product of its two factors.
        factors = {"left": (plain, plain.mT), "right": (plain.mT, plain)}
        self._sides = {name: _Side(states, name, *factors[name]) for name in factors if name in states[0]}
        left, right = self._sides.get("left"), self._sides.get("right")
        # Left and right factors that rotate a matrix to the basis, and back; None is the identity.
        self._to_basis = (left.transposed if left else None, right.basis if right else None)
        self._from_basis = (left.basis if left else None, right.transposed if right else None)

    def add_gradients(self, decay: float) -> None:
        """Add the gradients in `plain` to the covariances."""
        for side in self._sides.values():
            side.add_gradients(decay)

    def update_basis(self) -> None:
        """Compute the bases from the covariances and rotate the mean to them; the mean square does not change."""
        mean = torch.empty_like(self._mean)
        _product(self._from_basis, self._mean, mean)
        for side in self._sides.values():
            side.update_basis()
        _product(self._to_basis, mean, self._mean)

    def rotate(self) -> None:
        """Rotate `plain` into `rotated`."""
        _product(self._to_basis, self._plain, self._rotated)

    def rotate_back(self) -> None:
        """Rotate `rotated` back into `plain`."""
        _product(self._from_basis, self._rotated, self._plain)


class _Side:
    """Side of a stack of n matrices, with its covariance and the basis (eigenvectors as columns) computed from it.

    All tensors are (n, size, size); `transposed` is a view of `basis`.
    """

    def __init__(self, states: list[State], name: str, first: Tensor, second: Tensor) -> None:
        size = len(states[0][name])
        self._first, self._second = first, second
        self._covariance = _join_tensors(states, name).view(-1, size, size)
        self.basis = _join_tensors(states, f"{name}_basis").view(-1, size, size)
        self.transposed = self.basis.mT

    def add_gradients(self, decay: float) -> None:
        """Move the covariance towards the product of the two factors."""
        self._covariance.baddbmm_(self._first, self._second, beta=decay, alpha=1 - decay)

    def update_basis(self) -> None:
        """Replace the basis by the eigenvectors of the covariance.

        A matrix whose covariance is not finite keeps its basis, because eigh would raise.
        """
        self.basis.copy_(eigenvectors(self._covariance, self.basis))


def eigenvectors(covariances: Tensor, bases: Tensor) -> Tensor:
    """Return the eigenvectors of stacked matrices, (n, size, size), or the basis where a matrix is not finite."""
    is_finite = covariances.isfinite().flatten(1).all(1).view(-1, 1, 1)
    vectors: Tensor = torch.linalg.eigh(covariances.masked_fill(~is_finite, 0.0)).eigenvectors
    return torch.where(is_finite, vectors, bases)


def _product(factors: tuple[Tensor | None, Tensor | None], matrices: Tensor, out: Tensor) -> None:
    """Write left @ matrices @ right to `out`, for stacks of matrices; a factor that is None is the identity."""
    left, right = factors
    if left is not None and right is not None:
        torch.bmm(torch.bmm(left, matrices), right, out=out)
    elif left is not None:
        torch.bmm(left, matrices, out=out)
    elif right is not None:
        torch.bmm(matrices, right, out=out)
    else:
        out.copy_(matrices)


def matrix_shape(parameter: Tensor) -> tuple[int, int]:
    """Return the rows and columns of the matrix that a parameter is treated as."""
    rows = len(parameter) if parameter.ndim > 1 else 1
    return rows, parameter.numel() // rows


def _first_state(parameter: Tensor) -> State:
    shape = matrix_shape(parameter)
    state: State = {"step": 0, "mean": parameter.new_zeros(shape), "square": parameter.new_zeros(shape)}
    for name, size in zip(("left", "right"), shape, strict=True):
        if 1 < size <= LARGEST_SIDE:
            state[name] = parameter.new_zeros(size, size)
            state[f"{name}_basis"] = torch.eye(size, dtype=parameter.dtype, device=parameter.device)
    return state


def _join_tensors(states: list[State], name: str) -> Tensor:
    """Return the tensors called `name` as one flat tensor, and replace those in the states by views of it."""
    flat = torch.cat([state[name].flatten() for state in states])
    parts = torch.split(flat, [state[name].numel() for state in states])
    for state, part in zip(states, parts, strict=True):
        state[name] = part.view_as(state[name])
    return flat
