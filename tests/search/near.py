"""How near the kernels must come to PyTorch in float64."""

import torch
from torch import Tensor


def near(found: Tensor, expected: Tensor, scale: Tensor | None = None, tolerance: float = 2e-5) -> None:
    """Equal up to the rounding of float32 sums of values as large as `scale` (by default the expected ones)."""
    largest = (expected if scale is None else scale).abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance * (largest + 1e-3))
