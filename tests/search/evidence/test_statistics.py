"""Means with their intervals, paired comparisons, and what luck alone makes: against values worked out elsewhere."""

import math
import random

import pytest
from scipy import stats

from search.evidence.statistics import Estimate, estimate, expected_maximum, expected_sd, mcnemar

# The quantiles of Student's t that every table has, for a two-sided 95 %, by degrees of freedom.
T_TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 29: 2.045}


@pytest.mark.parametrize("degrees", T_TABLE)
def test_the_interval_is_student_s(degrees: int) -> None:
    values = [0.99 + 0.0001 * i for i in range(degrees + 1)]
    found = estimate(values)
    assert (found.n, found.minimum, found.maximum) == (degrees + 1, values[0], values[-1])
    assert found.mean == pytest.approx(0.99 + 0.00005 * degrees)
    half = T_TABLE[degrees] * found.sd / math.sqrt(degrees + 1)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=1e-3 * half)
    low, high = stats.t.interval(0.95, degrees, loc=found.mean, scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_an_estimate_worked_out_by_hand() -> None:
    # Deviations -0.002, 0, 0.002: the variance is 8e-6 / 2.
    found = estimate([0.990, 0.994, 0.992])
    assert (found.mean, found.sd) == pytest.approx((0.992, 0.002))
    assert (found.low, found.high) == pytest.approx((0.992 - 0.004968, 0.992 + 0.004968), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.99], Estimate(1, 0.99, None, None, None, 0.99, 0.99)),
        ([0.5, 0.5, 0.5], Estimate(3, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5)),
    ],
    ids=["one value", "equal values"],
)
def test_without_a_spread(values: list[float], expected: Estimate) -> None:
    assert estimate(values) == expected


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = random.Random(0)
    found = [estimate([rng.gauss(0.99, 0.001) for _ in range(5)]) for _ in range(2000)]
    covered = sum(one.low <= 0.99 <= one.high for one in found) / len(found)
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("differences", "above"),
    [
        ([0.001, 0.0011, 0.0009], True),
        ([-0.001, -0.0011, -0.0009], False),
        ([0.001, -0.001, 0.0005], False),
        ([0.01], False),
        ([0.0, 0.0], False),
        ([0.001, 0.001], True),
    ],
    ids=["above", "below", "across", "one alone", "nothing", "without spread"],
)
def test_above_zero_is_an_interval_that_lies_above_zero(differences: list[float], above: bool) -> None:
    assert estimate(differences).is_above_zero == above


def test_an_estimate_goes_to_json_types_and_back() -> None:
    for one in (estimate([0.9]), estimate([0.9, 1.0])):
        assert Estimate.from_dict(one.to_dict()) == one


# How many images only the first and only the second network misreads; p by summing binomial coefficients: of 10 coins
# 3 or fewer, or 7 or more, heads have 2 * (1 + 10 + 45 + 120) of 1,024 ways.
@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (3, 7, 352 / 1024),
        (10, 0, 2 / 1024),
        (6, 2, 2 * (1 + 8 + 28) / 256),
        (12, 30, 2 * sum(math.comb(42, k) for k in range(13)) / 2**42),
    ],
)
@pytest.mark.parametrize("n_both", [0, 40])
def test_mcnemar_counts_and_p(only_first: int, only_second: int, p: float, n_both: int) -> None:
    both = list(range(10_000 - n_both, 10_000))
    first = [*range(only_first), *both]
    second = [*range(5000, 5000 + only_second), *both]
    found, mirrored = mcnemar(first, second), mcnemar(second, first)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert (mirrored.only_first, mirrored.only_second) == (only_second, only_first)
    assert found.p == mirrored.p == pytest.approx(p)


def test_identical_networks_cannot_be_told_apart() -> None:
    assert mcnemar([3, 1, 4], [4, 3, 1]).p == 1


# Harter, Expected values of normal order statistics, Biometrika 48, 1961.
@pytest.mark.parametrize(("n", "expected"), [(1, 0), (5, 1.163), (10, 1.539), (50, 2.249), (100, 2.508), (200, 2.746)])
def test_expected_maximum(n: int, expected: float) -> None:
    assert expected_maximum(n) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("accuracy", "n_images", "expected"),
    [(0.995, 10_000, 0.0005), (0.98, 10_000, 0.001), (0.995, 2_500, 0.001), (0.9, 359, math.sqrt(0.1 / 718))],
)
def test_expected_sd(accuracy: float, n_images: int, expected: float) -> None:
    assert expected_sd(accuracy, n_images) == pytest.approx(expected)


@pytest.mark.parametrize("n_images", [1, 359, 10_000])
def test_no_accuracy_is_free_of_noise(n_images: int) -> None:
    assert expected_sd(1.0, n_images) > 0
    assert expected_sd(1.0, n_images) <= expected_sd(1 - 1 / n_images, n_images)
