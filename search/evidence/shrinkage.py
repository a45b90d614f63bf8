"""Estimate the merit of trials without their luck: each value is drawn towards that of similar trials.

One value a trial carries noise, so the highest are those that were lucky as well as good. A random forest over all
searched values predicts each trial from the others; the estimate lies between prediction and value, nearer to the value
the more the trials differ beyond noise (an empirical Bayes estimate; Efron and Morris, JASA 68, 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.study.trials import TrialRecord

Values = NDArray[np.float64]
# With fewer trials than this, a forest has nothing to learn from: all are drawn to their mean.
MIN_FOREST = 20
N_TREES = 300


def shrunken(finished: Sequence[TrialRecord], sd: float) -> dict[int, float]:
    """The estimated accuracy of each finished trial, by number; sd: of one value, from seed to seed."""
    if not finished:
        return {}
    measured = np.array([record.value or 0.0 for record in finished])
    median = float(np.median(measured))
    # What lies below this has failed. It keeps its value, and to the others' predictions it is no worse than this: a
    # few failures would make every prediction so rough that what it misses passes for merit.
    floor = median - 2 * max(float(measured.max()) - median, 3 * sd)
    predicted = _predicted(finished, np.maximum(measured, floor))
    missed = measured - predicted
    # What the predictions miss is noise and merit of the trial's own; only the second is to be kept. Its size is taken
    # from the upper half: below it poor trials stretch the spread, and would pass for merit of those in front.
    above = missed[measured >= floor] - np.median(missed[measured >= floor])
    own = max(float(np.mean(above[above >= 0] ** 2)) - sd**2, 0.0)
    estimates = np.where(measured < floor, measured, predicted + own / (own + sd**2) * missed)
    return {record.number: float(value) for record, value in zip(finished, estimates, strict=True)}


def _predicted(records: Sequence[TrialRecord], measured: Values) -> Values:
    """For each trial, what the trees that were grown without it say."""
    if len(records) < MIN_FOREST:
        return np.full(len(records), fmean(measured))
    from sklearn.ensemble import RandomForestRegressor  # half a second, which no search is to begin with

    table = pd.DataFrame([{**record.params, "parameters": record.n_params, "MACs": record.macs} for record in records])
    forest = RandomForestRegressor(N_TREES, min_samples_leaf=3, oob_score=True, random_state=0)
    forest.fit(pd.get_dummies(table).to_numpy(float), measured)
    return np.asarray(forest.oob_prediction_)
