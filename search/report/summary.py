"""Summarise a study from the records of its trials, with winner, counts, hand-designed networks and caveats."""

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
from search.engine.metrics import other_metric, other_value
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
_REMARKS = {
    STOPPED: "stopped early",
    DIVERGED: "diverged",
    REFUSED: "over a limit",
    REPEATED: "repeats a stopped trial",
    INTERRUPTED: "interrupted",
    RUNNING: "running",
}


@dataclass(frozen=True)
class Counts:
    """Numbers of trials by outcome.

    adopted  number of trials that were adopted from other studies; they are in none of the other counts
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
        """Return the number of candidates that were trained and have an outcome."""
        return self.finished + self.stopped + self.diverged

    @property
    def proposed(self) -> int:
        """Return the number of candidates that have an outcome; an interrupted one counts when it is proposed again."""
        return self.feasible + self.refused + self.repeated


@dataclass(frozen=True)
class BaselineResult:
    """Result of a hand-designed network or of a user network in a study.

    fits             whether it keeps to all limits of the study
    stated_accuracy  best accuracy that its authors report; None for a network from a file
    stated_epochs    length of that training in epochs; None for a network from a file
    approximate      whether the stated accuracy is approximate
    value            value in this study; None if it has none
    remark           reason why it has no value
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
    """Summary of a study that contains all that the reports show.

    notice         sentence that is shown first, for example that the data is not MNIST; may be empty
    winner         confirmed winner, else the first of `top`; None if no trial has finished
    test_accuracy  accuracy of the exported winner on the test set, by the metric of the search; None without an export
    confirmation   result of the confirmation; None if nothing was confirmed
    noise          measured noise floor; None if it was not measured
    top            best finished trials, at most N_TOP, ranked
    improvements   trials that were better than all earlier ones, in order
    seconds        training time summed over all trials
    baselines      results of the hand-designed networks and of the user networks
    importances    importance of each dimension
    correlations   rank correlation of the accuracy after an epoch with that after the last one, by epoch
    caveats        reasons to doubt the winner, as sentences
    mistakes       mistakes of the exported winner; None without an export, or if an older version made it
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
        """Return the metric of the search, and the other one if classes are imbalanced or it is not the accuracy."""
        both = (self.config.metric, other_metric(self.config.metric))
        return both if any(self.other_value(record) is not None for record in self.top) else both[:1]

    def other_value(self, record: TrialRecord) -> float | None:
        """Return the value of a trial in the other metric, over the same epochs as its value."""
        return other_value(record.curve, self.config.score, self.config.metric)


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
    """Return the summary of the trials of study `name`.

    winner_card  content of card.json of the exported winner; the card of another trial is ignored
    repeats      finished trainings of the confirmation and of the noise floor
    plan         plan of the last confirmation
    """
    ranked_records = ranked(records)
    own_records = [record for record in records if record.origin is None]
    improvements = _improvements(ranked_records)
    confirmation_result = confirmation(plan, records, repeats, config) if plan else None
    noise = noise_floor(repeats, len(ranked_records))
    winner = confirmed_winner(ranked_records, confirmation_result)
    card = winner_card if winner and winner_card and winner_card["trial"] == winner.number else None
    return StudySummary(
        name=name,
        config=config,
        notice=notice,
        winner=winner,
        confirmation=confirmation_result,
        noise=noise,
        top=tuple(ranked_records[:N_TOP]),
        improvements=improvements,
        counts=replace(_count(own_records), adopted=len(records) - len(own_records)),
        seconds=sum(map(_training_seconds, own_records)),
        baselines=_baseline_results(config, records),
        importances=importances or {},
        correlations=rank_correlations(own_records),
        caveats=caveats(config, ranked_records, improvements[-1].number, winner, noise) if winner else (),
        **card_facts(card or {}),
    )


def card_facts(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of StudySummary that come from card.json of the exported winner, all None for an empty card."""
    mistakes = card.get("mistakes")  # cards of older versions have none
    accuracy = card.get("accuracy", {})
    is_balanced = accuracy.get("metric") == "balanced_accuracy"
    return {
        "test_accuracy": accuracy.get("balanced_on_test" if is_balanced else "file_on_test"),
        "mistakes": Confusion.from_dict(mistakes) if mistakes else None,
    }


def confirmed_winner(records: Sequence[TrialRecord], confirmation_result: Confirmation | None) -> TrialRecord | None:
    """Return the confirmed trial, else the first of the finished and ranked `records`, else None."""
    if confirmation_result:
        return next(record for record in records if record.number == confirmation_result.trial)
    return records[0] if records else None


def _count(records: Iterable[TrialRecord]) -> Counts:
    counts = Counter(record.outcome for record in records)
    outcomes = (FINISHED, STOPPED, DIVERGED, REFUSED, REPEATED, INTERRUPTED, RUNNING)
    return Counts(*(counts[outcome] for outcome in outcomes))


def _improvements(records: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    improvements: list[TrialRecord] = []
    for record in sorted(records, key=lambda record: record.number):
        if not improvements or _value(record) > _value(improvements[-1]):
            improvements.append(record)
    return tuple(improvements)


def _value(record: TrialRecord) -> float:
    return record.value or 0.0


def _training_seconds(record: TrialRecord) -> float:
    if record.seconds is not None:
        return record.seconds
    return sum(float(epoch["seconds"]) for epoch in record.curve)  # diverged or interrupted


def _baseline_results(config: SearchConfig, records: Iterable[TrialRecord]) -> tuple[BaselineResult, ...]:
    form = form_of(config.data)
    shape = (form.input_shape, form.n_classes)
    space_networks = baseline_params(form.input_shape, form.n_classes, space_of(config))
    # If a network was interrupted and run again, the later trial counts.
    trials_by_network = {record.baseline: record for record in sorted(records, key=lambda record: record.number)}
    return tuple(
        _baseline_result(baseline, config, trials_by_network.get(name), in_space=name in space_networks)
        for name, baseline in BASELINES.items()
        # Networks for other images cannot be compared.
        if (baseline.spec.input_shape, baseline.spec.n_classes) == shape
    ) + tuple(
        _user_network_result(record, name, record.n_params)
        for name, record in trials_by_network.items()
        if name is not None and name not in BASELINES and record.n_params is not None
    )


def _user_network_result(record: TrialRecord, name: str, n_params: int) -> BaselineResult:
    """Return the result of a user network, which fits unless its trial was refused."""
    fits = record.outcome != REFUSED
    remark = "" if record.value is not None else _REMARKS.get(record.outcome, "not run yet")
    return BaselineResult(name, n_params, fits, None, None, False, record.value, remark)


def _baseline_result(
    baseline: Baseline, config: SearchConfig, record: TrialRecord | None, *, in_space: bool
) -> BaselineResult:
    cost = compute_cost(baseline.spec)
    excess = _excess(cost, config)
    not_run = "not run yet" if in_space else "not in the space"
    remark = excess or (_REMARKS.get(record.outcome, not_run) if record else not_run)
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
    """Return the first limit that the network exceeds, in words, or an empty string."""
    return next((standing.limit.over for standing in standings(cost, config) if standing.slack < 0), "")


def _best_stated(baseline: Baseline) -> tuple[float, int, bool]:
    """Return (accuracy, epochs, approximate) of the best stated training, the shortest of equally good ones."""
    results = [(result.best_accuracy or result.last_accuracy or 0.0, result) for result in baseline.stated.values()]
    accuracy, result = max(results, key=lambda item: (item[0], -item[1].epochs))
    return accuracy, result.epochs, result.approximate


def summary_of(
    study: optuna.Study, config: SearchConfig, location: StudyLocation, records: Sequence[TrialRecord]
) -> StudySummary:
    """Return the summary of a study from its trials and from its files on disk."""
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
