"""Importance of the searched dimensions, and how early a result shows, from the trials of a study."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from search.evidence.statistics import rank_correlation
from search.study.trials import TrialRecord, ranked

# With fewer finished trials there is nothing to say.
MIN_FINISHED = 20


def importances(study: optuna.Study) -> dict[str, float]:
    """Return how far the better trials' values differ from all trials', by dimension, the largest first; sums to 1.

    PED-ANOVA (Watanabe et al., arXiv 2304.10255), as optuna-dashboard shows it. A sampler that searched a dimension in
    one place only has nothing to show there. Empty for a short study.
    """
    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished) < MIN_FINISHED or len({trial.value for trial in finished}) == 1:
        return {}
    points = [trial for trial in finished if trial.params]
    if len(points) < len(finished):
        # Beside a network from a file, which is no point, Optuna finds no dimension that all trials share.
        study = optuna.create_study(direction="maximize")
        study.add_trials(points)
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}


def rank_correlations(records: Sequence[TrialRecord]) -> dict[int, float]:
    """Spearman's rank correlation between the accuracy after an epoch and that after the last, by epoch.

    Over the finished trials, so what was stopped early, and would have raised it, is missing. Empty for a short study.
    """
    curves = [[float(epoch["accuracy"]) for epoch in record.curve] for record in ranked(records)]
    n_epochs = max(map(len, curves), default=0)
    curves = [curve for curve in curves if len(curve) == n_epochs]
    if len(curves) < MIN_FINISHED:
        return {}
    last = [curve[-1] for curve in curves]
    found = {epoch: rank_correlation([curve[epoch - 1] for curve in curves], last) for epoch in range(1, n_epochs)}
    return {epoch: value for epoch, value in found.items() if value is not None}
