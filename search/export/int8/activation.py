"""Fit the grids around an activation function, and its table of levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from search.export.int8.fixed_point import NO_FREEDOM, STEPS, Freedom, Grid, fitted_grid
from search.export.int8.network import INT8_MAX, INT8_MIN, FloatArray, Int8Array


@dataclass
class Activated:
    """Integer form of an activation: grid of the input, table if it needs one, exact output and grid of the output."""

    before: Grid
    table: Int8Array | None
    exact: Tensor
    after: Grid


def fit_activation(exact: Tensor, activation: nn.Module | None, freedom: Freedom) -> Activated:
    """Return the integer form of an activation of `exact`, (N, C, H, W); freedom: that of the output."""
    if activation is None:
        grid = fitted_grid(rows_of(exact), freedom)
        return Activated(grid, None, exact, grid)
    activated = activation(exact.clone())  # some activations work in place
    if isinstance(activation, nn.ReLU):
        # If 0 is the lowest level, the clamp of the convolution is the activation.
        grid = fitted_grid(rows_of(activated), freedom._replace(centres=False))
        return Activated(grid, None, activated, grid)

    if isinstance(activation, nn.Hardsigmoid):
        # The clamp of the convolution is the activation, whose line rises from 0 to 1 between -3 and 3.
        n_channels = exact.shape[1]
        before, after = (
            Grid(np.full(n_channels, span / STEPS), INT8_MIN, np.full(n_channels, low))
            for span, low in ((6.0, -3.0), (1.0, 0.0))
        )
        return Activated(before, None, activated, after)

    def function(values: FloatArray) -> FloatArray:
        outputs: FloatArray = activation(torch.from_numpy(values.copy())).numpy()
        return outputs

    # All channels have one table. The error is measured after the activation, so that levels are not spent on inputs
    # with nearly equal outputs.
    before = fitted_grid(rows_of(exact), NO_FREEDOM, function)
    after = fitted_grid(rows_of(activated), NO_FREEDOM)
    every_level = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int8)[None]
    table = after.first().quantised(function(before.first().real(every_level)))[0]
    return Activated(before, table, activated, after)


def rows_of(exact: Tensor) -> FloatArray:
    """Return values (N, C, H, W) as rows (C, N * H * W)."""
    rows: FloatArray = exact.transpose(0, 1).flatten(1).double().numpy()
    return rows


def means_of(exact: Tensor) -> FloatArray:
    """Return the mean of each channel, (C,), of values (N, C) or (N, C, H, W)."""
    means: FloatArray = exact.transpose(0, 1).flatten(1).double().mean(1).numpy()
    return means
