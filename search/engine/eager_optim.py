"""PyTorch's optimisers without its compiler.

Before its first step an optimiser of PyTorch imports the compiler, to tell it that the step is not to be compiled.
Nothing is compiled here, and that import takes longer than all of this project, in every process that trains (figures
in benchmarks/README.md). The classes below therefore call PyTorch's methods without the wrappers around them.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer

Closure = Callable[[], float]


class EagerOptimizer(Optimizer):
    """Base class that keeps the compiler out of an optimiser; stands before PyTorch's class among the bases."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters."""
        unwrap(Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        unwrap(Optimizer.zero_grad)(self, set_to_none)


class SGD(EagerOptimizer, torch.optim.SGD):
    """torch.optim.SGD without the compiler."""

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss: float | None = unwrap(torch.optim.SGD.step)(self, closure)
        return loss


class Adam(EagerOptimizer, torch.optim.Adam):
    """torch.optim.Adam without the compiler."""

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss: float | None = unwrap(torch.optim.Adam.step)(self, closure)
        return loss


class AdamW(Adam, torch.optim.AdamW):
    """torch.optim.AdamW without the compiler; its step is Adam's."""
