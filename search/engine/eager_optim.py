"""Optimizers of PyTorch that do not import its compiler.

Before its first step an optimizer of PyTorch imports the compiler, to exclude the step from compilation. Nothing is
compiled here, and that import takes longer than all imports of this project, in every process that trains (figures in
benchmarks/README.md). The classes below therefore call PyTorch's methods without the wrappers around them.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer

Closure = Callable[[], float]


class EagerOptimizer(Optimizer):
    """Base class that avoids the import of the compiler; it precedes PyTorch's class among the bases."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters."""
        unwrap(Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters."""
        unwrap(Optimizer.zero_grad)(self, set_to_none)


class SGD(EagerOptimizer, torch.optim.SGD):
    """torch.optim.SGD that does not import the compiler."""

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss: float | None = unwrap(torch.optim.SGD.step)(self, closure)
        return loss


class Adam(EagerOptimizer, torch.optim.Adam):
    """torch.optim.Adam that does not import the compiler."""

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss: float | None = unwrap(torch.optim.Adam.step)(self, closure)
        return loss


class AdamW(Adam, torch.optim.AdamW):
    """torch.optim.AdamW that does not import the compiler and takes the steps of Adam."""
