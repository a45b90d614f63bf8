"""Values drawn towards what similar trials let expect: how far, and that it finds the better ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev

import pytest

from search.evidence.shrinkage import MIN_FOREST, shrunken
from search.study.trials import TrialRecord
from space import Params, sample
from tests.search.made_up_trials import made_up

SD = 0.0005
Merit = Callable[[random.Random, Params], float]


def equal(_rng: random.Random, _point: Params) -> float:
    return 0.99


def far_apart(rng: random.Random, _point: Params) -> float:
    """Differences that no searched value explains, many times as large as the noise."""
    return rng.uniform(0.98, 0.995)


def explained(_rng: random.Random, point: Params) -> float:
    """Differences as large as the noise, by two of the searched values."""
    return 0.995 - 0.0005 * (point["rotation"] / 7.5 + point["shift"] / 0.06)


def study(n: int, merit: Merit, seed: int = 0, n_failures: int = 0) -> tuple[list[TrialRecord], list[float]]:
    """`n` trials at random points, their value merit and noise, and after them failures; the true merits."""
    rng = random.Random(seed)
    points = [sample(rng) for _ in range(n + n_failures)]
    merits = [merit(rng, point) if i < n else rng.uniform(0.1, 0.2) for i, point in enumerate(points)]
    records = [
        made_up(i, truth + rng.gauss(0, SD), params=point)
        for i, (truth, point) in enumerate(zip(merits, points, strict=True))
    ]
    return records, merits


def values(records: Sequence[TrialRecord]) -> list[float]:
    return [record.value or 0.0 for record in records]


def spread_kept(n: int, merit: Merit, n_failures: int) -> float:
    """Spread of the estimates of what did not fail, as a share of that of the values; the mean of four studies."""
    shares = []
    for seed in range(4):
        records, _ = study(n, merit, seed, n_failures)
        estimates = shrunken(records, SD)
        shares.append(pstdev(estimates[record.number] for record in records[:n]) / pstdev(values(records[:n])))
    return fmean(shares)


# Below and above the number that a forest needs.
SIZES = (12, 40)


def test_of_nothing_there_is_nothing_to_estimate() -> None:
    assert shrunken([], SD) == {}


def test_a_single_trial_is_what_it_is() -> None:
    assert shrunken([made_up(7, 0.99)], SD) == {7: 0.99}


@pytest.mark.parametrize("merit", [equal, far_apart, explained])
@pytest.mark.parametrize("n", SIZES)
def test_estimates_lie_between_value_and_prediction(n: int, merit: Merit) -> None:
    records, _ = study(n, merit)
    estimates = shrunken(records, SD)
    assert list(estimates) == [record.number for record in records]
    # Where all is noise, the predictions are what is left.
    predictions = shrunken(records, 1.0)
    for record in records:
        low, high = sorted((record.value or 0.0, predictions[record.number]))
        assert low - 1e-12 <= estimates[record.number] <= high + 1e-12


@pytest.mark.parametrize("n", [MIN_FOREST - 1, MIN_FOREST])
def test_with_few_trials_the_mean_is_predicted(n: int) -> None:
    records, _ = study(n, far_apart)
    predictions = shrunken(records, 1.0)
    assert (set(predictions.values()) == {fmean(values(records))}) == (n < MIN_FOREST)


@pytest.mark.parametrize("n", SIZES)
def test_without_noise_values_are_kept(n: int) -> None:
    records, _ = study(n, far_apart)
    assert list(shrunken(records, 0.0).values()) == pytest.approx(values(records))


# A forest finds a pattern in anything, and failures make it rougher.
@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_failures", "noise"), [(12, 0, 0.2), (12, 3, 0.2), (40, 0, 0.4), (40, 3, 0.65)])
def test_noise_is_taken_out_and_merit_is_kept(n: int, n_failures: int, noise: float) -> None:
    assert spread_kept(n, equal, n_failures) < noise
    assert spread_kept(n, far_apart, n_failures) > 0.9


@pytest.mark.parametrize("n", SIZES)
def test_failures_keep_their_values_and_do_not_move_the_others(n: int) -> None:
    records, _ = study(n, equal, n_failures=3)
    estimates = shrunken(records, SD)
    assert [estimates[record.number] for record in records[n:]] == values(records[n:])
    assert fmean(estimates[record.number] for record in records[:n]) == pytest.approx(0.99, abs=2 * SD)


def test_the_same_trials_have_the_same_estimates() -> None:
    records, _ = study(2 * MIN_FOREST, explained)
    assert shrunken(records, SD) == shrunken(records, SD)


def test_the_best_by_estimate_are_better_than_the_best_by_value() -> None:
    gains = []
    for seed in range(6):
        # As many trials as a search has by default.
        records, merits = study(100, explained, seed)
        estimates = shrunken(records, SD)
        by_value = sorted(records, key=lambda record: -(record.value or 0.0))[:5]
        by_estimate = sorted(records, key=lambda record: -estimates[record.number])[:5]
        gains.append(fmean(merits[r.number] for r in by_estimate) - fmean(merits[r.number] for r in by_value))
        # And they promise less than the lucky ones do.
        assert fmean(estimates[record.number] for record in by_estimate) < fmean(values(by_value))
    assert fmean(gains) > 0.1 * SD
