"""Stop trials that are behind others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


class HalvingPruner(BasePruner):
    """Pruner that lets the best quarter of the trials pass each of its rungs.

    The rungs are a sixteenth and a quarter of the epochs. At a rung a trial is compared with all trials that came there
    before, whatever became of them, so no worker waits for another: asynchronous successive halving (Li et al., arXiv
    1810.05934) without later promotions. The first trial passes. A trial that equals an earlier one does not.
    """

    FACTOR = 4

    def __init__(self, epochs: int) -> None:
        self.rungs = sorted({max(1, round(epochs / divisor)) for divisor in (self.FACTOR**2, self.FACTOR)} - {epochs})

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """See BasePruner."""
        epoch = trial.last_step
        if epoch not in self.rungs:
            return False
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        values = [other.intermediate_values[epoch] for other in others if epoch in other.intermediate_values]
        n_ahead = sum(value >= trial.intermediate_values[epoch] for value in values)
        return n_ahead >= max(1, (len(values) + 1) // self.FACTOR)


@dataclass(frozen=True)
class PrunerKind:
    """Row of the table of pruners.

    make    function that makes a pruner from the number of epochs
    reason  function that returns why a trial was stopped, from the numbers of epochs and of the last epoch
    share   expected share of its epochs that a proposal is trained for
    """

    make: Callable[[int], BasePruner]
    reason: Callable[[int, int], str]
    share: float


def _rung_reason(epochs: int, epoch: int) -> str:
    rungs = HalvingPruner(epochs).rungs
    return f"is not in the best quarter at rung {rungs.index(epoch) + 1} of {len(rungs)}"


# Shares: of the median pruner 0.90, 0.73 and 0.90 in studies/reference, tpe and evolve.
KINDS = {
    "halving": PrunerKind(HalvingPruner, _rung_reason, 0.2),
    "median": PrunerKind(
        lambda epochs: HopelessPruner(max(1, epochs // 3)),
        lambda _epochs, _epoch: "is far below the median of the finished trials",
        0.75,
    ),
    "none": PrunerKind(lambda _epochs: NopPruner(), lambda _epochs, _epoch: "", 1.0),
}
if KINDS.keys() != PRUNERS.keys():
    raise TypeError("every pruner needs a row in KINDS and its name and help in search.config.PRUNERS")


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Return the pruner of that name. The median pruner stops no trial before a third of the epochs."""
    return KINDS[name].make(epochs)
