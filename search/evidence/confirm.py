"""Confirm the winner of a search on fresh seeds, compare it with a hand-designed network, and measure the noise floor.

There are two rounds, so that the reported accuracies come from trainings that were not used to choose the winner:

1. The K trials with the highest shrunken estimates are trained from SEEDS fresh seeds each and scored on the images
   that the search was scored on. The trial with the highest mean is the winner.
2. The winner and the best hand-designed network are trained from SEEDS further seeds each on all training images and
   scored on the test set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from models.record import Record
from search.config import ConfirmConfig, SearchConfig
from search.engine.metrics import other_value
from search.evidence.repeats import CHOOSE, NOISE, REPORT, Repeat, RepeatResult, of_trial
from search.evidence.shrinkage import shrunken
from search.evidence.statistics import Estimate, McNemar, estimate, expected_maximum, mcnemar, t_quantile
from search.study.seeds import derived_seed
from search.study.trials import TrialRecord


@dataclass(frozen=True)
class ConfirmPlan(Record):
    """Plan of a confirmation, which states the trials to train again and the number of seeds.

    candidates  numbers of the trials among which the winner is chosen
    estimates   their shrunken estimates, in the same order
    baseline    number of the trial of the best hand-designed network; None without one
    n_seeds     number of seeds of the first round
    n_further   number of seeds of the second round; 0 for as many as in the first
    """

    candidates: tuple[int, ...]
    estimates: tuple[float, ...]
    baseline: int | None
    n_seeds: int
    n_further: int = 0

    @property
    def n_reported(self) -> int:
        """Return the number of seeds of the second round."""
        return self.n_further or self.n_seeds


@dataclass(frozen=True)
class Contender:
    """Trial that was a candidate for the winner.

    value     accuracy in the search
    estimate  shrunken estimate of the accuracy
    choice    accuracy over the fresh seeds of the first round; None if the trial was the only candidate
    """

    trial: int
    value: float
    estimate: float
    choice: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """Comparison of the winner with a hand-designed network, over the same seeds and test images.

    baseline    id of the hand-designed network; n_params and accuracy are that network's
    difference  accuracy of the winner minus that of the hand-designed network, paired over the seeds
    images      misread images of the winner and of the hand-designed network, each from its median training
    """

    baseline: str
    n_params: int
    accuracy: Estimate
    difference: Estimate
    images: McNemar


@dataclass(frozen=True)
class Confirmation:
    """Accuracy of the winner on the test set after the last epoch, over seeds that were not used to find or choose it.

    "Accuracy" is the metric that the search maximised, which may be the balanced accuracy.

    network  training whose accuracy is the (lower) median; its network is the one to export
    beside   mean of the other metric over the same trainings; None if it was not measured in all of them
    """

    trial: int
    contenders: tuple[Contender, ...]
    accuracy: Estimate
    network: RepeatResult
    comparison: Comparison | None
    beside: float | None = None

    @property
    def search_value(self) -> float:
        """Return the accuracy of the winner in the search."""
        return next(contender.value for contender in self.contenders if contender.trial == self.trial)

    @property
    def selection_gap(self) -> float:
        """Return the accuracy of the winner in the search minus its mean accuracy over fresh seeds."""
        return self.search_value - self.accuracy.mean

    def facts(self) -> dict[str, Any]:
        """Return the confirmation as JSON-serialisable data, without the misread images."""
        comparison = asdict(self.comparison) if self.comparison else None
        other = {} if self.beside is None else {"beside": self.beside}
        return {
            "accuracy": {**asdict(self.accuracy), "epoch_rule": "after the last epoch", "scored_on": "test"},
            "search_value": self.search_value,
            "selection_gap": self.selection_gap,
            "compared_with": comparison,
            "contenders": [asdict(contender) for contender in self.contenders],
            **other,
        }


@dataclass(frozen=True)
class NoiseFloor:
    """Spread of the accuracy between trainings of one configuration that differ only in their seeds.

    trial     number of the trial that was trained again
    accuracy  accuracy over these trainings
    n_trials  number of finished trials of the search
    """

    trial: int
    accuracy: Estimate
    n_trials: int

    @property
    def luck(self) -> float:
        """Return by how much the best of `n_trials` equally good configurations is expected to exceed their mean.

        In accuracy, with each configuration trained once; 0 with fewer than two trials.
        """
        return (self.accuracy.sd or 0.0) * (expected_maximum(self.n_trials) if self.n_trials > 1 else 0.0)

    def threshold(self, n: int = 1) -> float:
        """Return the difference of two means over `n` seeds that equal configurations exceed once in twenty times."""
        return t_quantile(self.accuracy.n) * (self.accuracy.sd or 0.0) * math.sqrt(2 / n)


def make_plan(records: Sequence[TrialRecord], settings: ConfirmConfig, sd: float) -> ConfirmPlan:
    """Return the plan that trains the trials with the highest shrunken estimates again.

    records  finished trials, ranked, at least one
    sd       standard deviation of the accuracy across seeds
    """
    estimates = shrunken(records, sd)
    # The sort is stable, so the trial with the better value comes first among equal estimates.
    numbers = sorted(estimates, key=lambda number: -estimates[number])
    # Chosen by value, as hand-designed networks are unlike the trials towards which the estimate would shrink them.
    best_baseline = next((record.number for record in records if record.baseline), None)
    top = tuple(numbers[: settings.top])
    return ConfirmPlan(top, tuple(estimates[number] for number in top), best_baseline, settings.seeds, settings.further)


def choosing(plan: ConfirmPlan, records: Sequence[TrialRecord], config: SearchConfig) -> list[Repeat]:
    """Return the trainings of the first round, or an empty list if there is only one candidate."""
    if len(plan.candidates) == 1:
        return []
    return _repeats(CHOOSE, plan.candidates, records, config, plan.n_seeds, config.data.select_on)


def reporting(plan: ConfirmPlan, winner: int, records: Sequence[TrialRecord], config: SearchConfig) -> list[Repeat]:
    """Return the trainings of the second round, those of the winner and of the hand-designed network."""
    compared = {winner: None} | ({} if plan.baseline is None else {plan.baseline: None})
    return _repeats(REPORT, compared, records, config, plan.n_reported, "test")


def measuring(trial: int, n: int, records: Sequence[TrialRecord], config: SearchConfig) -> list[Repeat]:
    """Return `n` trainings of one trial, which measure the noise floor."""
    return _repeats(NOISE, [trial], records, config, n, config.data.select_on)


def _repeats(
    purpose: str,
    trials: Iterable[int],
    records: Sequence[TrialRecord],
    config: SearchConfig,
    n_seeds: int,
    select_on: str,
) -> list[Repeat]:
    """Return one training for each trial and seed: all trials with the first seed, then all with the second.

    If the run is interrupted, every trial has thus been trained about equally often.
    """
    by_number = {record.number: record for record in records}
    repeated = [by_number[number] for number in trials]
    return [
        Repeat(purpose, record.number, derived_seed(config.seed, purpose, i), select_on, record.arch, record.recipe)
        for i in range(n_seeds)
        for record in repeated
        if record.arch is not None and record.recipe is not None
    ]


def choose(
    plan: ConfirmPlan, records: Sequence[TrialRecord], results: Sequence[RepeatResult], config: SearchConfig
) -> int | None:
    """Return the candidate with the highest mean accuracy in the first round, or None while no candidate is complete.

    Among equal means, the network with fewer parameters wins. A candidate that diverged on a seed is never complete.
    """
    if len(plan.candidates) == 1:
        return plan.candidates[0]
    n_params = {record.number: record.n_params or 0 for record in records}
    means = {
        number: fmean(result.value for result in runs)
        for number in plan.candidates
        # A candidate that diverged on a seed lacks a result and cannot win.
        if len(runs := _first_round(plan, number, results, config)) == plan.n_seeds
    }
    return min(means, key=lambda number: (-means[number], n_params[number]), default=None)


def _first_round(
    plan: ConfirmPlan, number: int, results: Sequence[RepeatResult], config: SearchConfig
) -> list[RepeatResult]:
    return _ordered_by_seed(results, CHOOSE, number, config, plan.n_seeds, config.data.select_on)


def _ordered_by_seed(
    results: Sequence[RepeatResult], purpose: str, trial: int, config: SearchConfig, n_seeds: int, select_on: str
) -> list[RepeatResult]:
    """Return the results of one trial for the first `n_seeds` seeds, in the order of the seeds.

    An earlier plan may have trained the trial from more seeds.
    """
    seeds = [derived_seed(config.seed, purpose, i) for i in range(n_seeds)]
    by_seed = {result.repeat.seed: result for result in of_trial(results, purpose, trial, select_on)}
    return [by_seed[seed] for seed in seeds if seed in by_seed]


def confirmation(
    plan: ConfirmPlan, records: Sequence[TrialRecord], results: Sequence[RepeatResult], config: SearchConfig
) -> Confirmation | None:
    """Return the result of the two rounds, or None while they are incomplete."""
    winner = choose(plan, records, results, config)
    winner_runs = [] if winner is None else _ordered_by_seed(results, REPORT, winner, config, plan.n_reported, "test")
    if winner is None or len(winner_runs) < plan.n_reported:
        return None
    values = {record.number: record.value or 0.0 for record in records}
    contenders = []
    for number, estimated in zip(plan.candidates, plan.estimates, strict=True):
        first_round = [result.value for result in _first_round(plan, number, results, config)]
        contenders.append(Contender(number, values[number], estimated, estimate(first_round) if first_round else None))
    accuracy = estimate([result.value for result in winner_runs])
    comparison = _comparison(plan, winner, winner_runs, records, results, config)
    beside_values = [other_value(result.curve, "last", config.metric) for result in winner_runs]
    measured = [value for value in beside_values if value is not None]
    mean_beside = fmean(measured) if len(measured) == len(winner_runs) else None
    return Confirmation(winner, tuple(contenders), accuracy, _median(winner_runs), comparison, mean_beside)


def _comparison(
    plan: ConfirmPlan,
    winner: int,
    winner_runs: Sequence[RepeatResult],
    records: Sequence[TrialRecord],
    results: Sequence[RepeatResult],
    config: SearchConfig,
) -> Comparison | None:
    if plan.baseline is None or plan.baseline == winner:
        return None
    baseline_runs = _ordered_by_seed(results, REPORT, plan.baseline, config, plan.n_reported, "test")
    if len(baseline_runs) < len(winner_runs):
        return None
    record = next(record for record in records if record.number == plan.baseline)
    differences = [run.value - other.value for run, other in zip(winner_runs, baseline_runs, strict=True)]
    images = mcnemar(_median(winner_runs).misread, _median(baseline_runs).misread)
    accuracy = estimate([run.value for run in baseline_runs])
    return Comparison(str(record.baseline), record.n_params or 0, accuracy, estimate(differences), images)


def _median(results: Sequence[RepeatResult]) -> RepeatResult:
    return sorted(results, key=lambda result: (result.value, result.number))[(len(results) - 1) // 2]


def noise_floor(results: Sequence[RepeatResult], n_trials: int) -> NoiseFloor | None:
    """Return the measured noise floor, or None if no trial was measured at least twice.

    If several trials were measured, the one with the most trainings is used.
    """
    runs: dict[int, list[float]] = {}
    for result in results:
        if result.repeat.purpose == NOISE and result.repeat.trial is not None:
            runs.setdefault(result.repeat.trial, []).append(result.value)
    if not runs:
        return None
    trial = max(runs, key=lambda number: len(runs[number]))
    return NoiseFloor(trial, estimate(runs[trial]), n_trials) if len(runs[trial]) > 1 else None
