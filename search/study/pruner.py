"""Stop trials that are far behind the finished ones."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from search.config import PRUNERS


class HopelessPruner(BasePruner):
    """Stops a trial whose lowest error so far is above 1.25 times the median error of the finished trials at its epoch.

    Values are accuracies in [0, 1]. The lowest error so far, not the present one: a bad epoch stops nothing. Optuna's
    MedianPruner has no such tolerance; beside the strong hand-designed networks it stopped all that was new, while
    networks 0.05 points apart after a third of the epochs often change places by the last one (studies/README.md).
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


# By name, how one is made from the number of epochs.
KINDS: dict[str, Callable[[int], BasePruner]] = {
    "median": lambda epochs: HopelessPruner(max(1, epochs // 3)),
    "none": lambda _epochs: NopPruner(),
}
if KINDS.keys() != PRUNERS.keys():
    raise TypeError("every pruner needs a row in KINDS and its name and help in search.config.PRUNERS")


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Return the pruner of that name. The median pruner waits for a third of the epochs."""
    return KINDS[name](epochs)
