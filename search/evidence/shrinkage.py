"""Estimate the accuracy of trials by shrinkage: the value of each trial is shrunk towards that of similar trials.

A trial has one value, which is noisy, so the trials with the highest values were lucky as well as good. A random forest
over all searched values predicts each trial from the others. The estimate lies between the prediction and the value,
and closer to the value if the trials differ more than by noise. It is an empirical Bayes estimate (Efron and Morris,
JASA 68, 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from search.study.trials import TrialRecord

Values = NDArray[np.float64]
# With fewer trials than this, a forest cannot learn, so all values are shrunk towards their mean.
MIN_FOREST = 20
N_TREES = 300


def shrunken(records: Sequence[TrialRecord], sd: float) -> dict[int, float]:
    """Return the shrunken estimate of the accuracy of each finished trial, by number.

    sd is the standard deviation of the accuracy across seeds.
    """
    if not records:
        return {}
    values = np.array([record.value or 0.0 for record in records])
    median = float(np.median(values))
    # A trial below this limit has failed. It keeps its value, and is raised to the limit for the predictions: a few
    # failures would make all predictions so rough that their residuals would be taken for merit.
    failure_limit = median - 2 * max(float(values.max()) - median, 3 * sd)
    predictions = _predictions(records, np.maximum(values, failure_limit))
    residuals = values - predictions
    # A residual is noise plus the merit of the trial itself; only the merit is kept. Its variance is estimated from the
    # upper half, as poor trials stretch the lower half, which would be taken for merit of the best trials.
    centred = residuals[values >= failure_limit] - np.median(residuals[values >= failure_limit])
    merit_variance = max(float(np.mean(centred[centred >= 0] ** 2)) - sd**2, 0.0)
    estimates = np.where(
        values < failure_limit, values, predictions + merit_variance / (merit_variance + sd**2) * residuals
    )
    return {record.number: float(value) for record, value in zip(records, estimates, strict=True)}


def _predictions(records: Sequence[TrialRecord], values: Values) -> Values:
    """Return the out-of-bag prediction of each trial, from the trees that were grown without it."""
    if len(records) < MIN_FOREST:
        return np.full(len(records), fmean(values))
    # Imported here, as both take half a second.
    import pandas as pd
    from sklearn.ensemble import RandomForestRegressor

    table = pd.DataFrame([{**record.params, "parameters": record.n_params, "MACs": record.macs} for record in records])
    forest = RandomForestRegressor(N_TREES, min_samples_leaf=3, oob_score=True, random_state=0)
    forest.fit(pd.get_dummies(table).to_numpy(float), values)
    return np.asarray(forest.oob_prediction_)
