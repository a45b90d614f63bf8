"""Measure the importance of the searched dimensions, and how early in training the final ranking shows."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from search.evidence.statistics import rank_correlation
from search.study.trials import TrialRecord, ranked

# Fewer finished trials than this do not allow a statement.
MIN_FINISHED = 20


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the importance of each searched dimension, the largest first; the importances sum to 1.

    The importance is how far the better trials' distribution differs from that of all trials, by PED-ANOVA (Watanabe et
    al., arXiv 2304.10255), as in optuna-dashboard. A dimension in which the sampler tried only one region gets a low
    importance. The result is empty if fewer than MIN_FINISHED trials finished or if all have the same value.
    """
    finished_trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished_trials) < MIN_FINISHED or len({trial.value for trial in finished_trials}) == 1:
        return {}
    points = [trial for trial in finished_trials if trial.params]
    if len(points) < len(finished_trials):
        # A network from a file has no parameters, so Optuna would find no dimension that all trials share.
        study = optuna.create_study(direction="maximize")
        study.add_trials(points)
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}


def rank_correlations(records: Sequence[TrialRecord]) -> dict[int, float]:
    """Return Spearman's rank correlation between the accuracy after an epoch and after the last one, by epoch.

    Only finished trials count. Trials that were stopped early are missing and would have raised the correlation. The
    result is empty if fewer than MIN_FINISHED trials finished.
    """
    curves = [[float(epoch["accuracy"]) for epoch in record.curve] for record in ranked(records)]
    n_epochs = max(map(len, curves), default=0)
    curves = [curve for curve in curves if len(curve) == n_epochs]
    if len(curves) < MIN_FINISHED:
        return {}
    last = [curve[-1] for curve in curves]
    correlations = {
        epoch: rank_correlation([curve[epoch - 1] for curve in curves], last) for epoch in range(1, n_epochs)
    }
    return {epoch: value for epoch, value in correlations.items() if value is not None}
