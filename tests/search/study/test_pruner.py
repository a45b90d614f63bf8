"""Which trials successive halving lets pass."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.study.pruner import KINDS, HalvingPruner


@pytest.mark.parametrize(
    ("epochs", "rungs"), [(15, [1, 4]), (9, [1, 2]), (100, [6, 25]), (4, [1]), (2, [1]), (1, [])], ids=str
)
def test_the_rungs_are_a_sixteenth_and_a_quarter_of_the_epochs(epochs: int, rungs: list[int]) -> None:
    assert HalvingPruner(epochs).rungs == rungs


def passes(earlier: list[float], value: float, epoch: int = 1) -> bool:
    """Whether a trial passes the rung at `epoch` after trials that had other values there."""
    study = optuna.create_study(direction="maximize", pruner=HalvingPruner(15))
    for number, other in enumerate(earlier):
        # Whether it was stopped or finished makes no difference, nor does what it had after other epochs.
        state = TrialState.PRUNED if number % 2 else TrialState.COMPLETE
        values = {epoch: other, 9: 1.0} if number % 2 == 0 else {epoch: other}
        study.add_trial(create_trial(state=state, value=other, intermediate_values=values))
    trial = study.ask()
    trial.report(value, epoch)
    return not trial.should_prune()


@pytest.mark.parametrize(
    ("earlier", "value", "expected"),
    [
        pytest.param([], 0.1, True, id="the first"),
        pytest.param([0.1, 0.2], 0.3, True, id="the best of three"),
        pytest.param([0.1, 0.4], 0.3, False, id="the second of three"),
        pytest.param([0.1] * 5 + [0.4], 0.3, False, id="the second of seven"),
        pytest.param([0.1] * 6 + [0.4], 0.3, True, id="the second of eight"),
        pytest.param([0.1] * 5 + [0.4] * 2, 0.3, False, id="the third of eight"),
        pytest.param([0.1] * 2 + [0.3], 0.3, False, id="equal to an earlier one"),
    ],
)
@pytest.mark.parametrize("epoch", [1, 4])
def test_the_best_quarter_passes(earlier: list[float], value: float, expected: bool, epoch: int) -> None:
    assert passes(earlier, value, epoch) is expected


def test_trials_pass_between_the_rungs() -> None:
    assert passes([0.9] * 10, 0.1, epoch=3)


def test_the_reason_names_the_rung() -> None:
    assert KINDS["halving"].reason(15, 4) == "is not in the best quarter at rung 2 of 2"
