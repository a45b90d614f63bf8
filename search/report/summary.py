"""Summarise a study from its trial records: winner, counts, hand-designed networks, and caveats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from models.baselines import BASELINES, Baseline
from models.cost import Cost, compute_cost
from search.config import SearchConfig
from search.data.load import form_of
from search.engine.confusion import Confusion
from search.engine.metrics import beside, value_beside
from search.evidence.confirm import Confirmation, ConfirmPlan, NoiseFloor, confirmation, noise_floor
from search.evidence.importance import importances, rank_correlations
from search.evidence.repeats import RepeatResult
from search.evidence.runner import repeats_of
from search.limits import standings
from search.report.caveats import caveats
from search.study.attributes import NOTICE
from search.study.card import read_card
from search.study.load import WINNER
from search.study.location import StudyLocation
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TrialRecord, ranked
from space import baseline_params, space_of

N_TOP = 10
# Optuna's states of trials without an outcome.
INTERRUPTED, RUNNING = "fail", "running"
_WHY_NO_VALUE = {
    STOPPED: "stopped early",
    DIVERGED: "diverged",
    REFUSED: "over a limit",
    REPEATED: "repeats a stopped trial",
    INTERRUPTED: "interrupted",
    RUNNING: "running",
}


@dataclass(frozen=True)
class Counts:
    """Numbers of trials by outcome; `feasible` and `proposed` leave out those without one.

    adopted: trials of other studies, in none of the other counts.
    """

    finished: int
    stopped: int
    diverged: int
    refused: int
    repeated: int
    interrupted: int
    running: int
    adopted: int = 0

    @property
    def feasible(self) -> int:
        """Number of candidates that were trained."""
        return self.finished + self.stopped + self.diverged

    @property
    def proposed(self) -> int:
        """Number of candidates that were decided on; an interrupted one counts when it is proposed again."""
        return self.feasible + self.refused + self.repeated


@dataclass(frozen=True)
class BaselineResult:
    """A hand-designed network beside the study.

    stated_accuracy  the best its authors report, `stated_epochs` the length of that training, `approximate` if rough;
                     None of a network from a file
    value            what it got in this study, or None and `remark` says why
    """

    id: str
    n_params: int
    fits: bool
    stated_accuracy: float | None
    stated_epochs: int | None
    approximate: bool
    value: float | None
    remark: str


@dataclass(frozen=True)
class StudySummary:
    """Everything the reports show.

    notice         to be read before anything else, as that the data is not MNIST
    winner         the confirmed one, else the first of `top`; None as long as no trial has finished
    test_accuracy  of the winner's exported file on the test set, by the metric of the search; None: no such file
    confirmation   what fresh seeds showed; None if nothing was confirmed. noise: the same for the noise floor
    improvements   the trials that were better than all before them, in order
    seconds        of training, summed over all trials
    importances    by dimension
    correlations   of the accuracy after an epoch with that after the last, by epoch
    caveats        full sentences
    mistakes       of the winner's exported file; None if there is none, or one of an older version
    """

    name: str
    config: SearchConfig
    notice: str
    winner: TrialRecord | None
    test_accuracy: float | None
    confirmation: Confirmation | None
    noise: NoiseFloor | None
    top: tuple[TrialRecord, ...]
    improvements: tuple[TrialRecord, ...]
    counts: Counts
    seconds: float
    baselines: tuple[BaselineResult, ...]
    importances: Mapping[str, float]
    correlations: Mapping[int, float]
    caveats: tuple[str, ...]
    mistakes: Confusion | None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The search's metric and, where classes are imbalanced or it is not the accuracy, the other one."""
        found = (self.config.metric, beside(self.config.metric))
        return found if any(self.value_beside(record) is not None for record in self.top) else found[:1]

    def value_beside(self, record: TrialRecord) -> float | None:
        """Return a trial's value in the other metric, of the same epochs as its value."""
        return value_beside(record.curve, self.config.score, self.config.metric)


def summarise(
    name: str,
    config: SearchConfig,
    records: Sequence[TrialRecord],
    *,
    notice: str = "",
    winner_card: Mapping[str, Any] | None = None,
    repeats: Sequence[RepeatResult] = (),
    plan: ConfirmPlan | None = None,
    importances: Mapping[str, float] | None = None,
) -> StudySummary:
    """Summarise the trials of study `name`.

    winner_card: card.json of the exported winner; that of another trial is ignored. repeats: what was trained again;
    plan: of the last confirmation.
    """
    best = ranked(records)
    own = [record for record in records if record.origin is None]
    improvements = _improvements(best)
    confirmed = confirmation(plan, records, repeats, config) if plan else None
    noise = noise_floor(repeats, len(best))
    winner = confirmed_winner(best, confirmed)
    card = winner_card if winner and winner_card and winner_card["trial"] == winner.number else None
    return StudySummary(
        name=name,
        config=config,
        notice=notice,
        winner=winner,
        confirmation=confirmed,
        noise=noise,
        top=tuple(best[:N_TOP]),
        improvements=improvements,
        counts=replace(_count(own), adopted=len(records) - len(own)),
        seconds=sum(map(_training_seconds, own)),
        baselines=_baseline_results(config, records),
        importances=importances or {},
        correlations=rank_correlations(own),
        caveats=caveats(config, best, improvements[-1].number, winner, noise) if winner else (),
        **card_facts(card or {}),
    )


def card_facts(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of StudySummary that come from the card.json of the exported winner; empty without a card."""
    mistakes = card.get("mistakes")  # cards of older versions have none
    accuracy = card.get("accuracy", {})
    is_balanced = accuracy.get("metric") == "balanced_accuracy"
    return {
        "test_accuracy": accuracy.get("balanced_on_test" if is_balanced else "file_on_test"),
        "mistakes": Confusion.from_dict(mistakes) if mistakes else None,
    }


def confirmed_winner(finished: Sequence[TrialRecord], confirmed: Confirmation | None) -> TrialRecord | None:
    """Return the confirmed trial, else the best of `finished`, which are ranked."""
    if confirmed:
        return next(record for record in finished if record.number == confirmed.trial)
    return finished[0] if finished else None


def _count(records: Iterable[TrialRecord]) -> Counts:
    n = Counter(record.outcome for record in records)
    return Counts(n[FINISHED], n[STOPPED], n[DIVERGED], n[REFUSED], n[REPEATED], n[INTERRUPTED], n[RUNNING])


def _improvements(finished: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    best: list[TrialRecord] = []
    for record in sorted(finished, key=lambda record: record.number):
        if not best or _value(record) > _value(best[-1]):
            best.append(record)
    return tuple(best)


def _value(record: TrialRecord) -> float:
    return record.value or 0.0


def _training_seconds(record: TrialRecord) -> float:
    if record.seconds is not None:
        return record.seconds
    return sum(float(epoch["seconds"]) for epoch in record.curve)  # diverged or interrupted


def _baseline_results(config: SearchConfig, records: Iterable[TrialRecord]) -> tuple[BaselineResult, ...]:
    known = form_of(config.data)
    shape = (known.input_shape, known.n_classes)
    in_space = baseline_params(known.input_shape, known.n_classes, space_of(config))
    # Of one that was interrupted and run again the later trial counts.
    tried = {record.baseline: record for record in sorted(records, key=lambda record: record.number)}
    return tuple(
        _baseline_result(baseline, config, tried.get(name), in_space=name in in_space)
        for name, baseline in BASELINES.items()
        # Of other images they tell nothing.
        if (baseline.spec.input_shape, baseline.spec.n_classes) == shape
    ) + tuple(
        _given_result(record, name, record.n_params)
        for name, record in tried.items()
        if name is not None and name not in BASELINES and record.n_params is not None
    )


def _given_result(record: TrialRecord, name: str, n_params: int) -> BaselineResult:
    """Return the result of a user network; its trial tells whether it fits."""
    fits = record.outcome != REFUSED
    remark = "" if record.value is not None else _WHY_NO_VALUE.get(record.outcome, "not run yet")
    return BaselineResult(name, n_params, fits, None, None, False, record.value, remark)


def _baseline_result(
    baseline: Baseline, config: SearchConfig, record: TrialRecord | None, *, in_space: bool
) -> BaselineResult:
    cost = compute_cost(baseline.spec)
    excess = _excess(cost, config)
    not_run = "not run yet" if in_space else "not in the space"
    remark = excess or (_WHY_NO_VALUE.get(record.outcome, not_run) if record else not_run)
    accuracy, epochs, approximate = _best_stated(baseline)
    value = record.value if record else None
    return BaselineResult(
        id=baseline.id,
        n_params=cost.n_params,
        fits=not excess and (record is None or record.outcome != REFUSED),
        stated_accuracy=accuracy,
        stated_epochs=epochs,
        approximate=approximate,
        value=value,
        remark="" if value is not None else remark,
    )


def _excess(cost: Cost, config: SearchConfig) -> str:
    """Name the limit that the network exceeds, or nothing."""
    return next((standing.limit.over for standing in standings(cost, config) if standing.slack < 0), "")


def _best_stated(baseline: Baseline) -> tuple[float, int, bool]:
    """Return (accuracy, epochs, approximate) of the best training that its authors report, of equals the shortest."""
    results = [(result.best_accuracy or result.last_accuracy or 0.0, result) for result in baseline.stated.values()]
    accuracy, result = max(results, key=lambda item: (item[0], -item[1].epochs))
    return accuracy, result.epochs, result.approximate


def summary_of(
    study: optuna.Study, config: SearchConfig, location: StudyLocation, records: Sequence[TrialRecord]
) -> StudySummary:
    """Summarise a study from its trials and from its files on disk."""
    repeats, plan = repeats_of(location)
    return summarise(
        str(location.name),
        config,
        records,
        notice=study.user_attrs.get(NOTICE, ""),
        winner_card=read_card(location.folder / WINNER),
        repeats=repeats,
        plan=plan,
        importances=importances(study),
    )
