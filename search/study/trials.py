"""Records of trials: written while a trial runs, read by report, export and dashboard.

The facts lie in the trial's user attributes under the names of `TrialRecord`'s fields, so the dashboard shows them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.recipe import RecipeConfig
from models.record import RecordError, shown
from models.spec import ArchSpec
from search.errors import InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FINISHED = "finished"  # trained to the last epoch
STOPPED = "stopped"  # trained, and given up as hopeless by the pruner
DIVERGED = "diverged"  # trained, and the loss became NaN or infinite
REFUSED = "refused"  # over a limit; never trained, and but for a limit of latency never built
REPEATED = "repeated"  # met before; has that trial's value without training
TRAINED = (FINISHED, STOPPED, DIVERGED)
# Optuna's states of trials that have come to that end. The outcome is noted first, so a worker that dies in between
# leaves a trial that is noted as finished and is not.
_STATES = {
    FINISHED: ("COMPLETE",),
    STOPPED: ("PRUNED",),
    DIVERGED: ("FAIL",),
    REFUSED: ("PRUNED",),
    REPEATED: ("COMPLETE", "PRUNED"),
}


class TrialFailedError(Exception):
    """Ends the trial as failed and lets the study go on."""


def outcome_of(trial: FrozenTrial) -> str | None:
    """The end that a trial came to, one of the constants above; None of one that waits, runs or was interrupted."""
    noted: str | None = trial.user_attrs.get("outcome")
    return noted if noted and trial.state.name in _STATES.get(noted, ()) else None


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study. What its outcome does not have is None (or empty).

    outcome    one of the constants above, or Optuna's state in lower case: running, waiting, fail (it was interrupted)
    value      the score in [0, 1]; only finished and repeated trials have one
    latency_ms  as search.engine.latency measures it; trials of older versions, and those refused before, have none
    curve      one dict an epoch, the fields of search.engine.metrics.EpochMetrics
    start      name of the space's own starting point, where the trial is one
    origin     "study/number" of the trial that this one was adopted from
    mistakes   what it gets wrong, the fields of search.engine.confusion.Confusion; trials of older versions have none
    baseline   id of the hand-designed network, where the trial is one
    repeats    number of the trial whose value this one took over
    index      place in the study's sequence of proposals: as `number`, but a trial run again keeps its first index
    """

    number: int
    outcome: str
    value: float | None
    params: dict[str, Any]
    reason: str = ""
    index: int | None = None
    seed: int | None = None
    n_params: int | None = None
    macs: int | None = None
    receptive_field: int | None = None
    peak_activation_bytes: int | None = None
    latency_ms: float | None = None
    arch: ArchSpec | None = None
    recipe: RecipeConfig | None = None
    curve: tuple[dict[str, Any], ...] = ()
    seconds: float | None = None
    precision: str | None = None
    engine: str | None = None
    baseline: str | None = None
    start: str | None = None
    origin: str | None = None
    mistakes: dict[str, Any] | None = None
    repeats: int | None = None

    @classmethod
    def from_trial(cls, trial: FrozenTrial) -> TrialRecord:
        """Read a trial back. Raises RecordError if it was written by an incompatible version."""
        attrs = dict(trial.user_attrs)
        own = {name: attrs[name] for name in cls.__dataclass_fields__ if name in attrs}
        try:
            _check_types(own)
            own["arch"] = ArchSpec.from_dict(own["arch"]) if "arch" in own else None
            own["recipe"] = RecipeConfig.from_dict(own["recipe"]) if "recipe" in own else None
        except RecordError as error:
            raise RecordError(
                f"trial {trial.number} was written by another version of this program, which is to be used with it: "
                f"{error}"
            ) from error
        own["curve"] = tuple(own.get("curve", ()))
        own.pop("outcome", None)
        outcome = outcome_of(trial) or trial.state.name.lower()
        # Optuna gives a pruned trial the value it reported last.
        value = trial.value if outcome in (FINISHED, REPEATED) else None
        return cls(number=trial.number, outcome=outcome, value=value, params=dict(trial.params), **own)


_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("outcome", "reason", "precision", "engine", "baseline", "start", "origin"), str),
    **dict.fromkeys(("index", "seed", "n_params", "macs", "receptive_field", "peak_activation_bytes", "repeats"), int),
    **dict.fromkeys(("latency_ms", "seconds"), (int, float)),
    "curve": list,
    "mistakes": dict,
}


def _check_types(facts: dict[str, Any]) -> None:
    """Raise RecordError for facts that this program would not have written."""
    for name, wanted in _TYPES.items():
        if name in facts and not isinstance(facts[name], wanted):
            raise RecordError(f"its {name} is {shown(facts[name])}")
    for epoch in facts.get("curve", ()):
        known = [epoch.get(name) for name in ("epoch", "accuracy")] if isinstance(epoch, dict) else [None]
        if not all(isinstance(value, int | float) for value in known):
            raise RecordError(f"its curve has {shown(epoch)}")


def read_trials(trials: Iterable[FrozenTrial]) -> list[TrialRecord]:
    """Return all trials of a study as records, in order of their number."""
    return sorted((TrialRecord.from_trial(trial) for trial in trials), key=lambda record: record.number)


def finished_trial(records: Iterable[TrialRecord], number: int | None) -> TrialRecord:
    """The finished trial of that number; None: the best one. Raises InputError."""
    best = ranked(records)
    if not best:
        raise InputError("this study has no finished trial yet; search on with more --trials")
    if number is None:
        return best[0]
    for record in best:
        if record.number == number:
            return record
    finished = ", ".join(str(record.number) for record in best)
    raise InputError(f"trial {shown(number)} is not a finished one; those are {finished:.300}")


def ranked(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The finished trials, best first; of equals the one with fewer parameters, then the earlier one."""
    finished = [record for record in records if record.outcome == FINISHED and record.value is not None]
    return sorted(finished, key=lambda record: (-(record.value or 0.0), record.n_params or 0, record.number))
