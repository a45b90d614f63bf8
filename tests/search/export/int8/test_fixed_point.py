"""Test grids and factors on numbers of all magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.export.int8.fixed_point import (
    FULL_FREEDOM,
    NO_FREEDOM,
    Freedom,
    fitted_grid,
    narrow_factors,
    product_factors,
    wide_factors,
)
from search.export.int8.network import INT32_MAX

SCALES_ONLY = Freedom(scales=True, centres=False, signs=True)
reals = st.floats(1e-6, 300).flatmap(lambda value: st.sampled_from([value, -value]))


def values_of(seed: int, low: float = -1.0, high: float = 3.0) -> np.ndarray:
    """Return random values (5, 400) whose channels have different ranges."""
    generator = np.random.default_rng(seed)
    return generator.uniform(low, high, (5, 400)) * np.array([1, 0.1, 0.01, 2, 0.5])[:, None]


@pytest.mark.parametrize("freedom", [NO_FREEDOM, SCALES_ONLY], ids=["one scale", "a scale a channel"])
@given(seed=st.integers(0, 99), low=st.floats(-5, 1), width=st.floats(0, 5))
@settings(max_examples=30, deadline=None)
def test_zero_is_a_level_of_every_channel(freedom: Freedom, seed: int, low: float, width: float) -> None:
    grid = fitted_grid(values_of(seed, low, low + width), freedom)
    assert -128 <= grid.zero <= 127
    assert (grid.centre == 0).all()
    np.testing.assert_array_equal(grid.quantised(np.zeros((5, 1))), np.full((5, 1), grid.zero))


@pytest.mark.parametrize("freedom", [NO_FREEDOM, SCALES_ONLY, FULL_FREEDOM])
def test_values_are_restored_to_half_a_step(freedom: Freedom) -> None:
    values = values_of(0)
    grid = fitted_grid(values, freedom)
    error = np.abs(grid.real(grid.quantised(values)) - values)
    # The ends of the range may be cut by at most 15 %, which affects few values.
    assert np.mean(error <= grid.scale[:, None] * 0.501) > 0.95


def test_more_freedom_is_finer() -> None:
    values = values_of(0)
    grids = [fitted_grid(values, freedom) for freedom in (NO_FREEDOM, SCALES_ONLY, FULL_FREEDOM)]
    errors = [((grid.real(grid.quantised(values)) - values) ** 2).mean(1) for grid in grids]
    # The channel with the smallest range improves most.
    assert errors[1][2] < errors[0][2] / 100
    off_centre = np.stack([values[0] + 20, values[1]])
    errors = []
    for freedom in (SCALES_ONLY, FULL_FREEDOM):
        grid = fitted_grid(off_centre, freedom)
        errors.append(((grid.real(grid.quantised(off_centre)) - off_centre) ** 2).mean(1))
    assert errors[1][0] < errors[0][0] / 10


def test_channels_on_either_side_of_zero_get_equal_scales() -> None:
    values = np.stack([np.linspace(-4, 0, 300), np.linspace(0, 4, 300)])
    grid = fitted_grid(values, SCALES_ONLY)
    assert abs(grid.zero) < 20
    assert grid.scale.max() < 4 / 100


def test_a_range_is_cut_if_that_lowers_the_error() -> None:
    # Values that the function clips need no levels.
    values = np.linspace(-10, 10, 4001)[None]
    assert fitted_grid(values, NO_FREEDOM, lambda v: v.clip(min=-1)).scale[0] < fitted_grid(values, NO_FREEDOM).scale[0]


@pytest.mark.parametrize("freedom", [NO_FREEDOM, SCALES_ONLY, FULL_FREEDOM])
@pytest.mark.parametrize("constant", [0.0, 2.5, -1e-9])
def test_a_map_that_never_changes(freedom: Freedom, constant: float) -> None:
    values = np.full((3, 50), constant)
    grid = fitted_grid(values, freedom)
    assert (grid.scale > 0).all()
    np.testing.assert_allclose(grid.real(grid.quantised(values)), values, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("freedom", [SCALES_ONLY, FULL_FREEDOM])
def test_a_channel_that_never_changes_beside_one_that_does(freedom: Freedom) -> None:
    grid = fitted_grid(np.stack([np.zeros(100), np.linspace(0, 4, 100)]), freedom)
    assert grid.scale[0] == grid.scale[1] / 1024


@given(real=st.lists(reals, min_size=1, max_size=5), total=st.integers(-(2**31) + 1, INT32_MAX))
@settings(deadline=None)
def test_wide_factors(real: list[float], total: int) -> None:
    multiplier, shift = wide_factors(np.array(real))
    largest = max(map(abs, real))
    for m, factor in zip(multiplier.tolist(), real, strict=True):
        assert abs(m / 2**shift - factor) <= largest * 2**-29
        assert abs(total * m + (1 << (shift - 1))) < 2**63


@given(
    real=st.lists(reals, min_size=1, max_size=5),
    zero=st.integers(-128, 127),
    offset=st.floats(-500, 500),
    q=st.integers(-128, 127),
)
@settings(deadline=None)
def test_narrow_factors(real: list[float], zero: int, offset: float, q: int) -> None:
    n = len(real)
    multiplier, added, shift = narrow_factors(np.array(real), np.full(n, float(zero)), np.full(n, offset))
    for m, b, factor in zip(multiplier.tolist(), added.tolist(), real, strict=True):
        assert abs(q * m) + abs(b) <= INT32_MAX
        exact = factor * (q - zero) + offset
        assert abs(((q * m + b) >> shift) - exact) <= 0.5 + 2**-12 * max(map(abs, real))


@given(power=st.floats(-20, 11), zero=st.integers(-128, 127), q=st.integers(-255, 255), factor=st.integers(0, 255))
@settings(deadline=None, max_examples=300)
def test_product_factors(power: float, zero: int, q: int, factor: int) -> None:
    real = 2.0**power
    multiplier, offset, shift = product_factors(real, zero)
    for product in (q * factor, 255 * 255, -255 * 255):
        assert abs(product * multiplier) + abs(offset) <= INT32_MAX
    exact = real * q * factor + zero
    level = (q * factor * multiplier + offset) >> shift
    if abs(exact) < 200:  # others are saturated
        assert abs(level - exact) <= 0.51
    assert abs(exact) < 129 or (level > 127) == (exact > 0)


def test_factors_out_of_all_bounds_saturate() -> None:
    multiplier, shift = wide_factors(np.array([1e300, 1.0, 0.0]))
    assert multiplier[0] / 2**shift > 2**20
    multiplier, offset, shift = narrow_factors(np.array([-1e300, 1e-300]), np.zeros(2), np.array([0.0, 1e300]))
    assert (multiplier[0] + offset[0]) >> shift < -128
    assert offset[1] >> shift > 127
    assert wide_factors(np.zeros(2))[0].tolist() == [0, 0]
