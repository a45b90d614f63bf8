"""Stop trials that are far behind the finished ones."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from search.config import PRUNERS


class HopelessPruner(BasePruner):
    """Pruner that stops a trial whose lowest error is above 1.25 times the median error of the finished trials.

    The error is 1 minus the value, an accuracy in [0, 1], and the median is taken at the trial's epoch. The lowest
    error so far counts, not the present one, so that a single bad epoch does not stop a trial. Optuna's MedianPruner
    has no such tolerance: beside the strong hand-designed networks it stopped all new candidates. Networks whose
    accuracies differ by 0.05 points after a third of the epochs often swap ranks by the last one (studies/README.md).
    """

    TOLERANCE = 1.25
    MIN_FINISHED = 5

    def __init__(self, first_epoch: int) -> None:
        self._first_epoch = first_epoch

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """See BasePruner."""
        epoch = trial.last_step
        if epoch is None or epoch < self._first_epoch:
            return False
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        errors = [1 - other.intermediate_values[epoch] for other in finished if epoch in other.intermediate_values]
        lowest = 1 - max(trial.intermediate_values.values())
        return len(errors) >= self.MIN_FINISHED and lowest > self.TOLERANCE * median(errors)


# Functions that make a pruner from the number of epochs, by name.
KINDS: dict[str, Callable[[int], BasePruner]] = {
    "median": lambda epochs: HopelessPruner(max(1, epochs // 3)),
    "none": lambda _epochs: NopPruner(),
}
if KINDS.keys() != PRUNERS.keys():
    raise TypeError("every pruner needs a row in KINDS and its name and help in search.config.PRUNERS")


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Return the pruner of that name. The median pruner stops no trial before a third of the epochs."""
    return KINDS[name](epochs)
