"""Steps of the optimizers on the kernels against those of PyTorch and of search.engine.soap, on the same gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.recipe import OPTIMIZERS, RecipeConfig
from search.engine.native import kernels
from search.engine.native.optimizer import FREQUENCY, NativeOptimizer
from search.engine.optimizers import make_optimizer
from search.engine.soap import LARGEST_SIDE

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]
# For SOAP, the gradients must have no eigenvalue of 0 more than once, because eigenvectors of those are arbitrary.
SHAPES = [(6, 6), (1,), (2,), (35, 5, 7), (4, 1, 2, 2), (1, 2), (LARGEST_SIDE + 1, 3), (40, 40)]
RECIPES = [
    *(RecipeConfig(optimizer=name, lr=0.05) for name in OPTIMIZERS),
    *(RecipeConfig(optimizer=name, lr=0.05, weight_decay=0.3) for name in OPTIMIZERS),
    RecipeConfig(lr=0.05, nesterov=True, weight_decay=0.3),
    RecipeConfig(lr=0.05, momentum=0.0),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.optimizer} {recipe.weight_decay}")
def test_steps_on_the_same_gradients(recipe: RecipeConfig) -> None:
    generator = torch.Generator().manual_seed(0)
    model, exact = (
        nn.ParameterList(
            [torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(SHAPES)]
        )
        for _ in range(2)
    )
    gradients = {parameter: torch.zeros_like(parameter) for parameter in model}
    own, reference = NativeOptimizer(gradients, recipe, []), make_optimizer(exact, recipe)
    for number in range(1, 2 * FREQUENCY + 4):
        lr, momentum = 0.05 / number, max(0.0, recipe.momentum - 0.01 * number)
        for parameter, copy in zip(model, exact, strict=True):
            gradients[parameter].copy_(torch.randn(parameter.shape, generator=generator))
            copy.grad = gradients[parameter].clone()
        (group,) = reference.param_groups
        group["lr"] = lr
        group |= {"momentum": momentum} if "momentum" in group else {"betas": (momentum, group["betas"][1])}
        reference.step()
        own.step(lr, momentum, number)
        for parameter, copy in zip(model, exact, strict=True):
            if recipe.optimizer == "soap" and number == 1:
                # The first basis makes the gradient diagonal, and Adam scales the rounding beside the diagonal up.
                parameter.data.copy_(copy)
            tolerance = 1e-3 if recipe.optimizer == "soap" else 1e-5
            torch.testing.assert_close(parameter, copy, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("weight", [1.0, 0.3, 0.0])
def test_the_average_moves_by_its_weight(weight: float) -> None:
    parameter, statistic = nn.Parameter(torch.rand(5)), torch.rand(21)
    averages = [torch.rand(5), torch.rand(21)]
    before = [average.clone() for average in averages]
    pairs = list(zip((parameter, statistic), averages, strict=True))
    recipe = replace(RecipeConfig(), lr=0.1)
    NativeOptimizer({parameter: torch.rand(5)}, recipe, pairs).step(0.1, 0.9, 1, weight)
    for value, average, earlier in zip((parameter.detach(), statistic), averages, before, strict=True):
        torch.testing.assert_close(average, earlier.lerp(value, weight))
