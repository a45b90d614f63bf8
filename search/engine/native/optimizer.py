"""Optimizers on the kernels, with their memory, and the moving average of the weights.

The kernels take the steps; for SOAP, PyTorch computes the eigenvectors. search/engine/soap.py explains the method.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.recipe import RecipeConfig
from search.engine.native import kernels
from search.engine.native import structures as c
from search.engine.soap import LARGEST_SIDE, eigenvectors, matrix_shape

# Settings that are no part of a recipe, as in make_optimizer: decay of the mean square, and the summand of its root.
BETA2 = {"adam": 0.999, "adamw": 0.999, "soap": 0.99}
EPSILON = 1e-8
# Number of steps from one basis of SOAP to the next, and decay of the covariances.
FREQUENCY, DECAY = 20, 0.98


class NativeOptimizer:
    """Optimizer of a recipe, over parameters whose gradients the kernels write.

    gradients   gradient of every parameter
    averaged    tensors with their averages

    Raises RuntimeError if there are no kernels.
    """

    def __init__(
        self, gradients: Mapping[Tensor, Tensor], recipe: RecipeConfig, averaged: Sequence[tuple[Tensor, Tensor]]
    ) -> None:
        library = kernels.load()
        if library is None:
            raise RuntimeError(f"no kernels: {kernels.problem()}")
        self._library = library
        self._bases = SoapBases(list(gradients)) if recipe.optimizer == "soap" else None
        self._gradients = gradients
        self._states = {parameter: torch.zeros(2, parameter.numel()) for parameter in gradients}
        self._memory = torch.zeros(3 * max(parameter.numel() for parameter in gradients))
        self._averaged = averaged
        self._parameter_structures = (c.Parameter * len(gradients))(*map(self._parameter, gradients))
        self._averaged_structures = (c.Averaged * len(averaged))(
            *(c.Averaged(tensor.data_ptr(), average.data_ptr(), tensor.numel()) for tensor, average in averaged)
        )
        self.structure = c.Optimizer(
            kind=c.OPTIMIZERS[recipe.optimizer],
            nesterov=recipe.nesterov,
            n_parameters=len(gradients),
            n_averaged=len(averaged),
            weight_decay=recipe.weight_decay,
            beta2=BETA2.get(recipe.optimizer, 0.0),
            epsilon=EPSILON,
            covariance_decay=DECAY,
            parameters=ctypes.addressof(self._parameter_structures),
            averaged=ctypes.addressof(self._averaged_structures),
            memory=self._memory.data_ptr(),
        )

    def needs_basis(self, number: int) -> bool:
        """Return whether step `number`, from 1, computes new bases, so that only `step` can take it."""
        return self._bases is not None and (number == 1 or number % FREQUENCY == 0)

    def step(self, lr: float, momentum: float, number: int, average_weight: float = 1.0) -> None:
        """Take step `number`, from 1, and move the averages; momentum is SGD's, or beta1 of the other optimizers."""
        address = ctypes.byref(self.structure)
        if self._bases:
            self._library.optimizer_add_to_covariances(address)
            if self.needs_basis(number):
                self._library.optimizer_rotate_means(address, False)
                self._bases.update()
                self._library.optimizer_rotate_means(address, True)
        self._library.optimizer_step(address, lr, momentum, number, average_weight)

    def _parameter(self, parameter: Tensor) -> c.Parameter:
        tensors = (parameter, self._gradients[parameter], *self._states[parameter])
        structure = c.Parameter(*(tensor.data_ptr() for tensor in tensors), parameter.numel())
        if self._bases:
            self._bases.fill(structure, parameter)
        return structure


class SoapBases:
    """Covariances and bases of all parameters, stacked by their size."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        sides = [
            (p, side, size) for p in parameters for side, size in zip(("left", "right"), matrix_shape(p), strict=True)
        ]
        rotated = [(p, side, size) for p, side, size in sides if 1 < size <= LARGEST_SIDE]
        self._stacks: dict[int, tuple[Tensor, Tensor]] = {}
        self._addresses: dict[tuple[Tensor, str], tuple[int, int]] = {}
        for size in {size for _, _, size in rotated}:
            members = [(p, side) for p, side, size_of_side in rotated if size_of_side == size]
            covariances = torch.zeros(len(members), size, size)
            bases = torch.eye(size).repeat(len(members), 1, 1)
            self._stacks[size] = covariances, bases
            for i, member in enumerate(members):
                self._addresses[member] = covariances[i].data_ptr(), bases[i].data_ptr()

    def fill(self, structure: c.Parameter, parameter: Tensor) -> None:
        """Write the shape of a parameter and the addresses of its covariances and bases to its structure."""
        structure.rows, structure.columns = matrix_shape(parameter)
        structure.left, structure.left_basis = self._addresses.get((parameter, "left"), (None, None))
        structure.right, structure.right_basis = self._addresses.get((parameter, "right"), (None, None))

    def update(self) -> None:
        """Replace the bases by the eigenvectors of the covariances."""
        for covariances, bases in self._stacks.values():
            bases.copy_(eigenvectors(covariances, bases))
