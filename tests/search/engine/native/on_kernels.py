"""Modules on the kernels, called like modules, with gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from search.engine.native.program import Program


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, program: Program, seeds: Tensor, *parameters: Tensor) -> Tensor:
        ctx.program, ctx.parameters = program, parameters
        return program.forward(x, seeds)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        dx = ctx.program.backward(gradient)
        return dx, None, None, *(ctx.program.gradients[parameter].clone() for parameter in ctx.parameters)


def on_kernels(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function of images that runs a model as a program, which follows the model's training mode."""

    def run(x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        shape = (channels, height, width)
        if not model.training:
            return Program(model, shape, len(x), training=False).forward(x)
        program = Program(model, shape, len(x), training=True, input_gradient=True)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked is not None:
                module.num_batches_tracked.add_(1)  # a training does so after an epoch
        # Drawn from the generator that PyTorch's dropout uses.
        seeds = torch.randint(1 << 62, (program.description.n_dropouts,))
        out: Tensor = _Run.apply(x, program, seeds, *model.parameters())
        return out

    return run
