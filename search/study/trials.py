"""Read the records of trials, for the search, the report, the export and the dashboard.

A record consists of user attributes of the trial, named as the fields of `TrialRecord`, so the dashboard shows it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.recipe import RecipeConfig
from models.record import RecordError, short_repr
from models.spec import ArchSpec
from search.errors import InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FINISHED = "finished"  # trained to the last epoch
STOPPED = "stopped"  # trained, and stopped by the pruner
DIVERGED = "diverged"  # trained, and the loss became NaN or infinite
# Over a limit, or queued with values outside the space; never trained, and built only to measure its latency.
REFUSED = "refused"
REPEATED = "repeated"  # candidate of an earlier trial; takes over the value of that trial without training
# Beginning of the reason of a refused trial that was queued with values outside the space.
OUTSIDE_SPACE = "queued with values outside the space"
TRAINED = (FINISHED, STOPPED, DIVERGED)
# Optuna's states of trials with each outcome. The outcome is recorded before the state changes, so a worker that dies
# between the two leaves a trial whose recorded outcome does not hold.
_STATES = {
    FINISHED: ("COMPLETE",),
    STOPPED: ("PRUNED",),
    DIVERGED: ("FAIL",),
    REFUSED: ("PRUNED",),
    REPEATED: ("COMPLETE", "PRUNED"),
}


class TrialFailedError(Exception):
    """Error that fails a trial and lets the study continue."""


def outcome_of(trial: FrozenTrial) -> str | None:
    """Return the outcome of a trial, one of the constants above, or None if it waits, runs or was interrupted."""
    outcome: str | None = trial.user_attrs.get("outcome")
    return outcome if outcome and trial.state.name in _STATES.get(outcome, ()) else None


@dataclass(frozen=True)
class TrialRecord:
    """Record of one trial of a study. A field that does not apply to the outcome of the trial is None or empty.

    outcome     one of the constants above, or Optuna's state in lower case: running, waiting, fail (interrupted)
    value       score in [0, 1]; only finished and repeated trials have one
    latency_ms  as search.engine.latency measures it; None in trials of older versions or refused before it is measured
    curve       a dict for each epoch, with the fields of search.engine.metrics.EpochMetrics
    start       name of the space's own starting point, if the trial is one
    origin      "study/number" of the trial that this one was adopted from
    mistakes    fields of search.engine.confusion.Confusion on the scored images; None in trials of older versions
    baseline    id of the hand-designed network, if the trial is one
    repeats     number of the trial whose value this one took over
    is_queued   whether the trial was queued, and did not get its values from the sampler
    parent      number of the trial that this one is a mutation of
    is_drawn    whether the values were drawn at random at the start of the search, before the sampler learns
    index       position in the study's sequence of proposals; a trial that is run again keeps its first index
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
    is_queued: bool = False
    parent: int | None = None
    is_drawn: bool = False

    @property
    def is_outside_space(self) -> bool:
        """Return whether the trial was refused because it was queued with values outside the space."""
        return self.outcome == REFUSED and self.reason.startswith(OUTSIDE_SPACE)

    @classmethod
    def from_trial(cls, trial: FrozenTrial) -> TrialRecord:
        """Return the record of a trial. Raises RecordError if it was written by an incompatible version."""
        from search.storage.optuna_internals import fixed_params  # imports Optuna

        attrs = dict(trial.user_attrs)
        facts = {name: attrs[name] for name in cls.__dataclass_fields__ if name in attrs}
        try:
            _check_types(facts)
            facts["arch"] = ArchSpec.from_dict(facts["arch"]) if "arch" in facts else None
            facts["recipe"] = RecipeConfig.from_dict(facts["recipe"]) if "recipe" in facts else None
        except RecordError as error:
            raise RecordError(
                f"trial {trial.number} was written by another version of this program, which is to be used with it: "
                f"{error}"
            ) from error
        facts["curve"] = tuple(facts.get("curve", ()))
        facts.pop("outcome", None)
        # A trial that is run again is queued with the values that it got before.
        facts["is_queued"] = fixed_params(trial) is not None and "retry_of" not in attrs
        outcome = outcome_of(trial) or trial.state.name.lower()
        # Optuna gives a pruned trial the value it reported last.
        value = trial.value if outcome in (FINISHED, REPEATED) else None
        return cls(number=trial.number, outcome=outcome, value=value, params=dict(trial.params), **facts)


_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("outcome", "reason", "precision", "engine", "baseline", "start", "origin"), str),
    **dict.fromkeys(
        ("index", "seed", "n_params", "macs", "receptive_field", "peak_activation_bytes", "repeats", "parent"), int
    ),
    **dict.fromkeys(("latency_ms", "seconds"), (int, float)),
    "is_drawn": bool,
    "curve": list,
    "mistakes": dict,
}


def _check_types(facts: dict[str, Any]) -> None:
    """Raise RecordError for facts that this program does not write."""
    for name, expected in _TYPES.items():
        if name in facts and not isinstance(facts[name], expected):
            raise RecordError(f"its {name} is {short_repr(facts[name])}")
    for epoch in facts.get("curve", ()):
        values = [epoch.get(name) for name in ("epoch", "accuracy")] if isinstance(epoch, dict) else [None]
        if not all(isinstance(value, int | float) for value in values):
            raise RecordError(f"its curve has {short_repr(epoch)}")


def read_trials(trials: Iterable[FrozenTrial]) -> list[TrialRecord]:
    """Return the records of trials, in the order of their numbers."""
    return sorted((TrialRecord.from_trial(trial) for trial in trials), key=lambda record: record.number)


def finished_trial(records: Iterable[TrialRecord], number: int | None) -> TrialRecord:
    """Return the finished trial of that number, or the best one for None. Raises InputError if there is none."""
    best = ranked(records)
    if not best:
        raise InputError("this study has no finished trial yet; search on with more --trials")
    if number is None:
        return best[0]
    for record in best:
        if record.number == number:
            return record
    finished = ", ".join(str(record.number) for record in best)
    raise InputError(f"trial {short_repr(number)} is not a finished one; those are {finished:.300}")


def ranked(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the finished trials, best first; equal values are ordered by parameters, then by number."""
    finished = [record for record in records if record.outcome == FINISHED and record.value is not None]
    return sorted(finished, key=lambda record: (-(record.value or 0.0), record.n_params or 0, record.number))
