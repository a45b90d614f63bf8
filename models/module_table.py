"""Write the table of a network's modules in the form of torchsummary."""

from __future__ import annotations

import math
from collections.abc import Sequence


def module_table(modules: Sequence[tuple[str, tuple[int, ...], int]], input_shape: Sequence[int], n_params: int) -> str:
    """Return the table of a network's modules in the form of torchsummary, with the totals below.

    modules: class, output shape for one image and number of parameters of each module, in forward order. n_params:
    total number of parameters in which those that modules share count once
    """
    rows = [(f"{kind}-{i}", str([-1, *shape]), f"{n:,}") for i, (kind, shape, n) in enumerate(modules, start=1)]
    lines = [
        f"{kind:>20}  {shape:>25} {n:>15}" for kind, shape, n in [("Layer (type)", "Output Shape", "Param #"), *rows]
    ]
    n_stored = sum(n for _, _, n in modules)
    shared = f"Total params, shared ones counted once: {n_params:,}"
    # Maps count twice, because a training keeps their gradients.
    n_values = math.prod(input_shape), 2 * sum(math.prod(shape) for _, shape, _ in modules), n_stored
    sizes = [4 * n / 1024**2 for n in (*n_values, sum(n_values))]
    names = ("Input size", "Forward/backward pass size", "Params size", "Estimated Total Size")
    return "\n".join(
        [
            "-" * 64,
            lines[0],
            "=" * 64,
            *lines[1:],
            "=" * 64,
            f"Total params: {n_stored:,}",
            *([shared] if n_params != n_stored else []),
            f"Trainable params: {n_stored:,}",
            "Non-trainable params: 0",
            "-" * 64,
            *(f"{name} (MB): {size:.2f}" for name, size in zip(names, sizes, strict=True)),
            "-" * 64,
        ]
    )
