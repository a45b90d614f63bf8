"""Training steps that are recorded as a CUDA graph once and replayed for every batch.

A step of a tiny network is hundreds of kernels of a few microseconds; launching them one by one takes longer than
running them. Everything that a step reads must be in tensors with fixed addresses. Values that the host changes from
step to step (batch, learning rate, momentum, weight of the average) are written into such tensors before the replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from search.engine.eager_optim import EagerOptimizer

StepFunction = Callable[[Tensor], tuple[Tensor, Tensor]]

# Libraries choose and load their kernels in the first steps, which cannot be recorded.
WARM_UP_STEPS = 3


class CudaGraphStep:
    """Training step that is recorded once and replayed for all later batches.

    It is called like `step`, with the indices of a batch, (batch_size,), and returns two scalars on the device, which
    the next call overwrites. Batches of another size are rare and run without the graph.
    """

    def __init__(self, step: StepFunction, batch_size: int, generator: torch.Generator) -> None:
        self._step, self._generator = step, generator
        self._index = torch.zeros(batch_size, dtype=torch.int64, device=generator.device)
        self._side_stream = torch.cuda.Stream(generator.device)  # type: ignore[no-untyped-call]
        self._n_warm_up_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, Tensor] | None = None

    def __call__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step on the images of `index`."""
        if len(index) != len(self._index):
            return self._step(index)
        if self._n_warm_up_steps < WARM_UP_STEPS:
            self._n_warm_up_steps += 1
            return self._warm_up(index)
        self._index.copy_(index)
        if self._graph is None or self._outputs is None:
            self._graph, self._outputs = self._record()
        self._graph.replay()
        return self._outputs

    def _warm_up(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step of the training on a separate stream, as recording requires."""
        self._side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side_stream):
            outputs = self._step(index)
        torch.cuda.current_stream().wait_stream(self._side_stream)
        return outputs

    def _record(self) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]]:
        """Return the graph of a step on self._index and the tensors that it writes, without running the step."""
        graph = torch.cuda.CUDAGraph()
        # Makes every replay draw new numbers. PyTorch does this by itself for its default generator only.
        graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph):
            outputs = self._step(self._index)
        return graph, outputs


class CudaGraphSGD(EagerOptimizer):
    """SGD optimizer whose learning rate and momentum a recorded step reads from the device.

    It computes what torch.optim.SGD computes. Schedulers change the values in param_groups as usual, and `refresh`
    copies them to the device, so that `step` can be recorded.
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, lr: float, momentum: float, nesterov: bool, weight_decay: float
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
        }
        super().__init__(parameters, defaults)
        (self._group,) = self.param_groups
        self._parameters: list[Tensor] = self._group["params"]
        self._velocities = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._lr, self._momentum = (torch.zeros((), device=self._parameters[0].device) for _ in range(2))

    def refresh(self) -> None:
        """Copy the current learning rate and momentum to the device."""
        self._lr.fill_(self._group["lr"])
        self._momentum.fill_(self._group["momentum"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step with the values of the last `refresh`. `closure` is not supported."""
        if closure is not None:
            raise ValueError("CudaGraphSGD takes no closure")
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if len(gradients) != len(self._parameters):
            raise RuntimeError("CudaGraphSGD needs a gradient for every parameter")
        if self._group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, self._parameters, alpha=self._group["weight_decay"]))
        torch._foreach_mul_(self._velocities, self._momentum)
        torch._foreach_add_(self._velocities, gradients)
        if self._group["nesterov"]:
            steps = torch._foreach_mul(self._velocities, self._momentum)
            torch._foreach_add_(steps, gradients)
            torch._foreach_mul_(steps, self._lr)
        else:
            steps = torch._foreach_mul(self._velocities, self._lr)
        torch._foreach_sub_(self._parameters, steps)
