"""PyTorch's optimisers without its compiler.

Before its first step an optimiser of PyTorch's imports the compiler, to tell it that it is not to be compiled. Nothing
here ever is, and that import takes longer than all of this project, in every process that trains (figures in
benchmarks/README.md). So what is called here are the methods as they were written, without what is wrapped around them.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer

Closure = Callable[[], float]


class Uncompiled(Optimizer):
    """What an optimiser inherits from, before PyTorch's own."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As PyTorch's."""
        unwrap(Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As PyTorch's."""
        unwrap(Optimizer.zero_grad)(self, set_to_none)


class SGD(Uncompiled, torch.optim.SGD):
    """torch.optim.SGD."""

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """As PyTorch's."""
        found: float | None = unwrap(torch.optim.SGD.step)(self, closure)
        return found


class Adam(Uncompiled, torch.optim.Adam):
    """torch.optim.Adam."""

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """As PyTorch's."""
        found: float | None = unwrap(torch.optim.Adam.step)(self, closure)
        return found


class AdamW(Adam, torch.optim.AdamW):
    """torch.optim.AdamW, whose step is Adam's."""
