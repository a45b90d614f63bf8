"""Compare arms by the accuracies of their leaders: means with intervals, paired differences, and the decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import scipy

from benchmarks.equal_time.arms import ARMS, CONTROLS
from benchmarks.equal_time.results import StudyResult
from benchmarks.equal_time.tasks import TASKS
from search.evidence.statistics import Estimate, estimate


@dataclass(frozen=True)
class Difference:
    """Difference between an arm and a control on a task, when all of the time is spent.

    difference  mean over the study seeds that both have, with its 95 % interval by Student's t; accuracies in [0, 1]
    p           two-sided p of the paired t test; None for fewer than two seeds
    holm        p after Holm's correction for all differences from the control
    """

    task: str
    arm: str
    control: str
    difference: Estimate
    p: float | None
    holm: float | None = None

    @property
    def is_better(self) -> bool:
        """Return whether the 95 % interval lies above zero."""
        return self.difference.is_above_zero

    @property
    def is_worse(self) -> bool:
        """Return whether the 95 % interval lies below zero."""
        return self.difference.high is not None and self.difference.high < 0


def of_arm(results: Sequence[StudyResult], task: str, arm: str) -> dict[int, StudyResult]:
    """Return the results of an arm on a task by their study seeds."""
    return {result.seed: result for result in results if (result.task.name, result.arm) == (task, arm)}


def curve(results: Sequence[StudyResult], task: str, arm: str) -> list[Estimate]:
    """Return the accuracy of the leader after each share of the time, over study seeds; empty without results."""
    return [
        estimate(column) for column in zip(*(r.accuracies for r in of_arm(results, task, arm).values()), strict=True)
    ]


def differences(results: Sequence[StudyResult], control: str) -> list[Difference]:
    """Return the differences of all other arms from a control on all tasks, with Holm's correction for all of them."""
    found = [
        difference
        for task in TASKS
        for arm in ARMS
        if arm != control and (difference := _difference(results, task, arm, control))
    ]
    corrected = holm([difference.p for difference in found])
    return [Difference(d.task, d.arm, d.control, d.difference, d.p, p) for d, p in zip(found, corrected, strict=True)]


def _difference(results: Sequence[StudyResult], task: str, arm: str, control: str) -> Difference | None:
    first, second = of_arm(results, task, arm), of_arm(results, task, control)
    values = [first[seed].accuracies[-1] - second[seed].accuracies[-1] for seed in sorted(first.keys() & second.keys())]
    return Difference(task, arm, control, estimate(values), paired_p(values)) if values else None


def paired_p(values: Sequence[float]) -> float | None:
    """Return the two-sided p of Student's t test that the mean of paired differences is 0, None for one value."""
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return 1.0 if values[0] == 0 else 0.0
    return float(scipy.stats.ttest_1samp(values, 0).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979); None stays."""
    known = sorted((p, row) for row, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, row) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[row] = highest
    return corrected


def decision(results: Sequence[StudyResult], arm: str) -> str:
    """Return in a sentence whether an arm wins: better than each control on two tasks or more, and worse on none."""
    verdicts, wins = [], True
    for control in CONTROLS:
        if control == arm:
            continue
        rows = [difference for difference in differences(results, control) if difference.arm == arm]
        if len(rows) < len(TASKS) or any(row.p is None for row in rows):
            return f"{arm}: not decided, results are missing"
        n_better, n_worse = sum(row.is_better for row in rows), sum(row.is_worse for row in rows)
        wins &= n_better >= len(TASKS) - 1 and not n_worse
        verdicts.append(f"better than {control} on {n_better} and worse on {n_worse} of {len(TASKS)} tasks")
    return f"{arm}: {'wins' if wins else 'does not win'}; {', '.join(verdicts)}"
