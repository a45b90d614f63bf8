"""Summarise a study from the records of its trials, with winner, counts, hand-designed networks and caveats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from search.config import SearchConfig
from search.engine.confusion import Confusion
from search.engine.metrics import other_metric, other_value
from search.evidence.confirm import Confirmation, ConfirmPlan, NoiseFloor, confirmation, noise_floor
from search.evidence.importance import importances, rank_correlations
from search.evidence.read import repeats_of
from search.evidence.repeats import RepeatResult
from search.evidence.run_options import run_options
from search.report.caveats import caveats
from search.report.networks.baselines import INTERRUPTED, RUNNING, BaselineResult, baseline_results
from search.report.networks.lineage import descent_of
from search.report.networks.origin import origin_of
from search.study.attributes import EXHAUSTED, NOTICE
from search.study.card import read_card
from search.study.load import WINNER
from search.study.location import StudyLocation
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TRAINED, TrialRecord, ranked

N_TOP = 10
# File in the folder of a study with the changes that it makes to the space.
SPACE_FILE = "space.toml"
# File in the folder of a study that records its runs.
RUNS_FILE = "config.json"


@dataclass(frozen=True)
class Counts:
    """Numbers of trials by outcome.

    refused  number of trials that were refused as over a limit
    outside  number of trials that were refused because they were queued with values outside the space
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
    outside: int = 0

    @property
    def feasible(self) -> int:
        """Return the number of candidates that were trained and have an outcome."""
        return self.finished + self.stopped + self.diverged

    @property
    def proposed(self) -> int:
        """Return the number of candidates that have an outcome; an interrupted one counts when it is proposed again."""
        return self.feasible + self.refused + self.outside + self.repeated


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
    kinds          numbers of the networks that this study trained, by kind of origin
    baselines      results of the hand-designed networks and of the user networks
    importances    importance of each dimension
    correlations   rank correlation of the accuracy after an epoch with that after the last one, by epoch
    caveats        reasons to doubt the winner, as sentences
    mistakes       mistakes of the exported winner; None without an export, or if an older version made it
    space_file     path of the file with the changes of the space
    run_options    options of the study's runs that are in no setting, with their values
    descent        how the winner depends on stored networks, in words; "" if the sampler did not propose it
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
    kinds: Mapping[str, int]
    baselines: tuple[BaselineResult, ...]
    importances: Mapping[str, float]
    correlations: Mapping[int, float]
    caveats: tuple[str, ...]
    mistakes: Confusion | None
    space_file: str = SPACE_FILE
    run_options: tuple[tuple[str, str], ...] = ()
    descent: str = ""

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
    space_file: str = SPACE_FILE,
    run_options: tuple[tuple[str, str], ...] = (),
) -> StudySummary:
    """Return the summary of the trials of study `name`.

    winner_card  content of card.json of the exported winner; the card of another trial is ignored
    repeats      finished trainings of the confirmation and of the noise floor
    plan         plan of the last confirmation
    space_file   path of the file with the changes of the space
    run_options  options of the study's runs that are in no setting, with their values
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
        seconds=sum(training_seconds(record) or 0.0 for record in own_records),
        kinds=Counter(origin_of(record).kind for record in own_records if record.outcome in TRAINED),
        baselines=baseline_results(config, records),
        importances=importances or {},
        correlations=rank_correlations(own_records),
        caveats=caveats(
            config,
            ranked_records,
            improvements[-1].number,
            winner,
            noise,
            is_confirmed=confirmation_result is not None,
        )
        if winner
        else (),
        space_file=space_file,
        run_options=run_options,
        descent=descent_of(winner, records, sampler_learns=config.sampler != "random") if winner else "",
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
    counts = Counter("outside" if record.is_outside_space else record.outcome for record in records)
    return Counts(
        finished=counts[FINISHED],
        stopped=counts[STOPPED],
        diverged=counts[DIVERGED],
        refused=counts[REFUSED],
        repeated=counts[REPEATED],
        interrupted=counts[INTERRUPTED],
        running=counts[RUNNING],
        outside=counts["outside"],
    )


def _improvements(records: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    improvements: list[TrialRecord] = []
    for record in sorted(records, key=lambda record: record.number):
        if not improvements or _value(record) > _value(improvements[-1]):
            improvements.append(record)
    return tuple(improvements)


def _value(record: TrialRecord) -> float:
    return record.value or 0.0


def training_seconds(record: TrialRecord) -> float | None:
    """Return the time that this study spent on training a trial, also a diverged or interrupted one.

    It is None for a trial that was not trained, and for an adopted one.
    """
    if record.origin is not None or record.seconds is not None:
        return None if record.origin is not None else record.seconds
    return sum(float(epoch["seconds"]) for epoch in record.curve) if record.curve else None


def summary_of(
    study: optuna.Study, config: SearchConfig, location: StudyLocation, records: Sequence[TrialRecord]
) -> StudySummary:
    """Return the summary of a study from its trials and from its files on disk."""
    repeats, plan = repeats_of(location)
    adopted = dict.fromkeys(record.origin.rpartition("/")[0] for record in records if record.origin)
    summary = summarise(
        str(location.name),
        config,
        records,
        notice=study.user_attrs.get(NOTICE, ""),
        winner_card=read_card(location.folder / WINNER),
        repeats=repeats,
        plan=plan,
        importances=importances(study),
        space_file=str(location.folder / SPACE_FILE),
        run_options=run_options(location.folder / RUNS_FILE, plan, list(adopted)),
    )
    exhausted = study.user_attrs.get(EXHAUSTED)
    return replace(summary, caveats=(*summary.caveats, str(exhausted))) if exhausted else summary
