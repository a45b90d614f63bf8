"""Confirm the winner: the best trials on fresh seeds, beside a hand-designed network, and the noise floor.

Two rounds, so that the figures reported are of trainings that chose nothing. First the K trials with the highest
shrunken estimates are trained from SEEDS fresh seeds each, scored on the images that the search was scored on; the one
with the highest mean is the winner. Then it and the best hand-designed network are trained from SEEDS further seeds on
all training images and scored on the test set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from models.record import Record
from search.config import ConfirmConfig, SearchConfig
from search.engine.metrics import value_beside
from search.evidence.repeats import CHOOSE, NOISE, REPORT, Repeat, RepeatResult, of_trial
from search.evidence.shrinkage import shrunken
from search.evidence.statistics import Estimate, McNemar, estimate, expected_maximum, mcnemar
from search.study.seeds import derived_seed
from search.study.trials import TrialRecord


@dataclass(frozen=True)
class ConfirmPlan(Record):
    """Plan of a confirmation: trials by number, their shrunken estimates, the best hand-designed one beside them.

    n_seeds  of the first round; n_further: of the second, 0 for as many
    """

    candidates: tuple[int, ...]
    estimates: tuple[float, ...]
    baseline: int | None
    n_seeds: int
    n_further: int = 0

    @property
    def n_reported(self) -> int:
        """Seeds of the second round."""
        return self.n_further or self.n_seeds


@dataclass(frozen=True)
class Contender:
    """One of the trials among which the winner was chosen.

    value      the accuracy it was found with; estimate: the same, shrunken
    choice     on the fresh seeds of the first round; None where it was the only candidate
    """

    trial: int
    value: float
    estimate: float
    choice: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """The winner beside a hand-designed network, on the same seeds and test images.

    difference  of accuracies, winner less baseline, paired over the seeds
    images      of the two networks with the median accuracies
    """

    baseline: str
    n_params: int
    accuracy: Estimate
    difference: Estimate
    images: McNemar


@dataclass(frozen=True)
class Confirmation:
    """The winner's accuracy on the test set after the last epoch, over seeds that neither found nor chose it.

    Accuracy is what the search maximised, which may be balanced accuracy.

    network  the training whose accuracy is the (lower) median: the network to hand on
    beside   mean of the other metric over the same trainings, where it was taken
    """

    trial: int
    contenders: tuple[Contender, ...]
    accuracy: Estimate
    network: RepeatResult
    comparison: Comparison | None
    beside: float | None = None

    @property
    def search_value(self) -> float:
        """The accuracy that the trial had in the search."""
        return next(contender.value for contender in self.contenders if contender.trial == self.trial)

    @property
    def selection_gap(self) -> float:
        """Difference between the value in the search and the mean over fresh seeds."""
        return self.search_value - self.accuracy.mean

    def facts(self) -> dict[str, Any]:
        """Return the confirmation in JSON types, without the misread images."""
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
    """Differences between trainings of one configuration that come from their seeds alone.

    luck  by which the best of `n_trials` equally good configurations, trained once each, would stand above their mean
    """

    trial: int
    accuracy: Estimate
    n_trials: int

    @property
    def luck(self) -> float:
        """In accuracy; 0 with fewer than two trials."""
        return (self.accuracy.sd or 0.0) * (expected_maximum(self.n_trials) if self.n_trials > 1 else 0.0)

    def threshold(self, n: int = 1) -> float:
        """The difference of two means over `n` seeds that equal configurations exceed once in twenty times."""
        return 1.96 * (self.accuracy.sd or 0.0) * math.sqrt(2 / n)


def make_plan(finished: Sequence[TrialRecord], confirm: ConfirmConfig, sd: float) -> ConfirmPlan:
    """Choose the trials to train again; sd: of one value, from seed to seed. `finished` is ranked and not empty."""
    estimates = shrunken(finished, sd)
    # Of equal estimates the better value goes first.
    numbers = sorted(estimates, key=lambda number: -estimates[number])
    # By its own value, as networks designed by hand are unlike those that its estimate would be drawn towards.
    best_baseline = next((record.number for record in finished if record.baseline), None)
    top = tuple(numbers[: confirm.top])
    return ConfirmPlan(top, tuple(estimates[number] for number in top), best_baseline, confirm.seeds, confirm.further)


def choosing(plan: ConfirmPlan, records: Sequence[TrialRecord], config: SearchConfig) -> list[Repeat]:
    """The trainings of the first round; none where there is no choice."""
    if len(plan.candidates) == 1:
        return []
    return _repeats(CHOOSE, plan.candidates, records, config, plan.n_seeds, config.data.select_on)


def reporting(plan: ConfirmPlan, chosen: int, records: Sequence[TrialRecord], config: SearchConfig) -> list[Repeat]:
    """The trainings of the second round."""
    compared = {chosen: None} | ({} if plan.baseline is None else {plan.baseline: None})
    return _repeats(REPORT, compared, records, config, plan.n_reported, "test")


def measuring(trial: int, n: int, records: Sequence[TrialRecord], config: SearchConfig) -> list[Repeat]:
    """The `n` trainings of one trial that show the noise."""
    return _repeats(NOISE, [trial], records, config, n, config.data.select_on)


def _repeats(
    purpose: str,
    trials: Iterable[int],
    records: Sequence[TrialRecord],
    config: SearchConfig,
    n_seeds: int,
    select_on: str,
) -> list[Repeat]:
    """Return every trial with the first seed, then with the second: cut short, all are equally tried."""
    by_number = {record.number: record for record in records}
    wanted = [by_number[number] for number in trials]
    return [
        Repeat(purpose, record.number, derived_seed(config.seed, purpose, i), select_on, record.arch, record.recipe)
        for i in range(n_seeds)
        for record in wanted
        if record.arch is not None and record.recipe is not None
    ]


def choose(
    plan: ConfirmPlan, records: Sequence[TrialRecord], results: Sequence[RepeatResult], config: SearchConfig
) -> int | None:
    """The candidate with the highest mean in the first round, of equals the smaller; None before one is through."""
    if len(plan.candidates) == 1:
        return plan.candidates[0]
    n_params = {record.number: record.n_params or 0 for record in records}
    means = {
        number: fmean(result.value for result in found)
        for number in plan.candidates
        # One that diverged on a seed is no winner.
        if len(found := _first_round(plan, number, results, config)) == plan.n_seeds
    }
    return min(means, key=lambda number: (-means[number], n_params[number]), default=None)


def _first_round(
    plan: ConfirmPlan, number: int, results: Sequence[RepeatResult], config: SearchConfig
) -> list[RepeatResult]:
    return _with_seeds(results, CHOOSE, number, config, plan.n_seeds, config.data.select_on)


def _with_seeds(
    results: Sequence[RepeatResult], purpose: str, trial: int, config: SearchConfig, n_seeds: int, select_on: str
) -> list[RepeatResult]:
    """In order of the seeds; of an earlier plan with more seeds, the first ones."""
    seeds = [derived_seed(config.seed, purpose, i) for i in range(n_seeds)]
    found = {result.repeat.seed: result for result in of_trial(results, purpose, trial, select_on)}
    return [found[seed] for seed in seeds if seed in found]


def confirmation(
    plan: ConfirmPlan, records: Sequence[TrialRecord], results: Sequence[RepeatResult], config: SearchConfig
) -> Confirmation | None:
    """Return the result of the two rounds; None as long as they are not complete."""
    chosen = choose(plan, records, results, config)
    found = [] if chosen is None else _with_seeds(results, REPORT, chosen, config, plan.n_reported, "test")
    if chosen is None or len(found) < plan.n_reported:
        return None
    values = {record.number: record.value or 0.0 for record in records}
    contenders = []
    for number, shrunk in zip(plan.candidates, plan.estimates, strict=True):
        first = [result.value for result in _first_round(plan, number, results, config)]
        contenders.append(Contender(number, values[number], shrunk, estimate(first) if first else None))
    accuracy = estimate([result.value for result in found])
    comparison = _comparison(plan, chosen, found, records, results, config)
    others = [value_beside(result.curve, "last", config.metric) for result in found]
    taken = [value for value in others if value is not None]
    mean_beside = fmean(taken) if len(taken) == len(found) else None
    return Confirmation(chosen, tuple(contenders), accuracy, _median(found), comparison, mean_beside)


def _comparison(
    plan: ConfirmPlan,
    chosen: int,
    found: Sequence[RepeatResult],
    records: Sequence[TrialRecord],
    results: Sequence[RepeatResult],
    config: SearchConfig,
) -> Comparison | None:
    if plan.baseline is None or plan.baseline == chosen:
        return None
    others = _with_seeds(results, REPORT, plan.baseline, config, plan.n_reported, "test")
    if len(others) < len(found):
        return None
    record = next(record for record in records if record.number == plan.baseline)
    differences = [winner.value - other.value for winner, other in zip(found, others, strict=True)]
    images = mcnemar(_median(found).misread, _median(others).misread)
    accuracy = estimate([other.value for other in others])
    return Comparison(str(record.baseline), record.n_params or 0, accuracy, estimate(differences), images)


def _median(results: Sequence[RepeatResult]) -> RepeatResult:
    return sorted(results, key=lambda result: (result.value, result.number))[(len(results) - 1) // 2]


def noise_floor(results: Sequence[RepeatResult], n_trials: int) -> NoiseFloor | None:
    """The noise as measured; of several measured trials the one with the most runs. None without two runs."""
    runs: dict[int, list[float]] = {}
    for result in results:
        if result.repeat.purpose == NOISE and result.repeat.trial is not None:
            runs.setdefault(result.repeat.trial, []).append(result.value)
    if not runs:
        return None
    trial = max(runs, key=lambda number: len(runs[number]))
    return NoiseFloor(trial, estimate(runs[trial]), n_trials) if len(runs[trial]) > 1 else None
