"""Compute statistics of several results: means with intervals, paired comparisons, and the effect of luck.

Values are accuracies in [0, 1], or differences of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

import scipy  # loads scipy.stats on first use, which takes most of a second

from models.record import Record

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate(Record):
    """Summary of `n` values with their mean and its confidence interval.

    sd         sample standard deviation (n - 1); None for a single value
    low, high  95 % confidence interval of the mean by Student's t distribution; None for a single value
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    minimum: float
    maximum: float

    @property
    def is_above_zero(self) -> bool:
        """Return whether the whole confidence interval of the mean lies above zero."""
        return self.low is not None and self.low > 0


def estimate(values: Sequence[float]) -> Estimate:
    """Return the summary of at least one value."""
    n, mean = len(values), fmean(values)
    if n == 1:
        return Estimate(1, mean, None, None, None, mean, mean)
    sd = stdev(values)
    half = t_quantile(n) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half, min(values), max(values))


def t_quantile(n: int) -> float:
    """Return the multiple of a standard deviation of `n` values that Student's t exceeds once in twenty times."""
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))


@dataclass(frozen=True)
class McNemar(Record):
    """Result of McNemar's exact test on the images that two networks misread (McNemar, Psychometrika 12, 1947).

    only_first, only_second  number of images that only the first, or only the second, network misreads
    p                        two-sided probability of counts at least as unequal if the networks were equally good
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[int], second: Sequence[int]) -> McNemar:
    """Compare two networks by the indices of the images that they misread."""
    only_first, only_second = len(set(first) - set(second)), len(set(second) - set(first))
    n = only_first + only_second
    p = float(scipy.stats.binomtest(only_first, n).pvalue) if n else 1.0
    return McNemar(only_first, only_second, p)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, from -1 to 1, or None if all values of one sequence are equal."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(scipy.stats.spearmanr(first, second).statistic)


def expected_maximum(n: int) -> float:
    """Return the expected maximum of n standard normal draws, by Blom's approximation (1958): 2.50 for n = 100."""
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


def expected_sd(accuracy: float, n_images: int) -> float:
    """Return the expected standard deviation of the accuracy across seeds on `n_images`: sqrt(error / 2n).

    Jordan, arXiv 2304.01910, shows it for networks whose ensembles are calibrated. 0.0005 at 99.5 % of 10,000 images.
    """
    # At an accuracy of 1, half an image is taken as the error, so that the deviation is not 0.
    return math.sqrt(max(1 - accuracy, 0.5 / n_images) / (2 * n_images))
