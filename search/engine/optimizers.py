"""Create the optimizer, the learning-rate schedule and the moving average of the weights of a recipe."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from models.recipe import RecipeConfig
from search.engine.cuda_graph import CudaGraphSGD
from search.engine.eager_optim import SGD, Adam, AdamW, Closure, EagerOptimizer
from search.engine.soap import Soap

# A cycle ends with a step that learns nothing, at a thousandth of the peak: all of a training of one step, half of one
# of two. So a cycle of fewer steps than this is planned one step longer, which is not taken.
FEW_STEPS = 10

Scheduler = torch.optim.lr_scheduler.LRScheduler


def make_optimizer(model: nn.Module, recipe: RecipeConfig, *, cuda_graph: bool = False) -> torch.optim.Optimizer:
    """Return the optimizer of the recipe over all parameters of `model`: SGD, Adam, AdamW or SOAP.

    cuda_graph: return an SGD optimizer whose steps can be recorded.
    """
    parameters = model.parameters()
    if cuda_graph:
        return CudaGraphSGD(
            parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
    if recipe.optimizer == "sgd":
        return SGD(
            parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    if recipe.optimizer == "soap":
        return Soap(parameters, lr=recipe.lr, betas=(recipe.momentum, 0.99), weight_decay=recipe.weight_decay)
    adam = Adam if recipe.optimizer == "adam" else AdamW
    betas = (recipe.momentum, 0.999)
    return adam(parameters, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay, fused=True)


def make_schedules(
    optimizer: torch.optim.Optimizer, recipe: RecipeConfig, steps_per_epoch: int
) -> tuple[Scheduler | None, Scheduler | None]:
    """Return (scheduler to step after every batch, scheduler to step after every epoch), at least one of them None."""
    schedule = recipe.schedule
    if schedule.kind == "onecycle":
        total_steps = (schedule.epochs or recipe.epochs) * steps_per_epoch
        if total_steps < FEW_STEPS:
            total_steps += 1
        pct_start = schedule.pct_start
        if pct_start * total_steps == 1:  # OneCycleLR would divide by the length of the rise, which is 0
            pct_start += 1e-6
        one_cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=recipe.lr,
            total_steps=total_steps,
            pct_start=pct_start,
            anneal_strategy=schedule.anneal,  # type: ignore[arg-type]
            cycle_momentum=schedule.cycle_momentum,
            base_momentum=schedule.base_momentum,
            max_momentum=schedule.max_momentum,
            div_factor=schedule.div_factor,
            final_div_factor=schedule.final_div_factor,
        )
        return one_cycle, None
    if schedule.kind == "step":
        return None, torch.optim.lr_scheduler.StepLR(optimizer, schedule.step_size, schedule.gamma)
    return None, None


class ScheduledSettings(EagerOptimizer):
    """Optimizer that changes no parameter, whose learning rate and momentum a schedule changes."""

    def __init__(self, recipe: RecipeConfig) -> None:
        super().__init__([torch.zeros(1)], {"lr": recipe.lr, "momentum": recipe.momentum})

    @property
    def current(self) -> tuple[float, float]:
        """Return the learning rate and the momentum of the next step."""
        (group,) = self.param_groups
        return float(group["lr"]), float(group["momentum"])

    def step(self, closure: Closure | None = None) -> None:  # type: ignore[override]
        """Do nothing; schedulers expect a step before theirs."""


class MovingAverage:
    """Exponential moving average of a model's weights and batch-norm statistics, stored in a separate model.

    cuda_graph: keep the weight of the new values on the device, so that `update` can be recorded.
    """

    def __init__(self, model: nn.Module, decay: float, *, cuda_graph: bool = False) -> None:
        self.model = deepcopy(model)
        self._decay = decay
        self._n_updates = 0
        self._averaged, self._current = _floats(self.model), _floats(model)
        self._weight = 1.0
        self._device_weight = torch.ones((), device=self._averaged[0].device) if cuda_graph else None

    @property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Return every tensor of the model with its average."""
        return list(zip(self._current, self._averaged, strict=True))

    def advance(self) -> float:
        """Compute the weight of the next update and return it."""
        # The decay rises to its full value. Otherwise the first weights would dominate the average of a short training.
        # The first update copies the weights.
        n = self._n_updates
        self._weight = 1 - min(self._decay, (1 + n) / (10 + n)) if n else 1.0
        self._n_updates += 1
        if self._device_weight is not None:
            self._device_weight.fill_(self._weight)
        return self._weight

    @torch.no_grad()
    def update(self) -> None:
        """Add the model's current weights to the average, with the weight of the last `advance`."""
        if self._device_weight is None:
            torch._foreach_lerp_(self._averaged, self._current, self._weight)
            return
        differences = torch._foreach_sub(self._current, self._averaged)
        torch._foreach_mul_(differences, self._device_weight)
        torch._foreach_add_(self._averaged, differences)


def _floats(model: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers that can be averaged, which excludes a batch norm's count of batches."""
    return [tensor for tensor in [*model.parameters(), *model.buffers()] if tensor.is_floating_point()]
