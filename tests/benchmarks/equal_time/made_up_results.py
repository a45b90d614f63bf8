"""Results as studies would leave them, without any training."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.equal_time.results import ScoredLeader, StudyResult
from benchmarks.equal_time.tasks import SHARES, TASKS
from space import DEFAULTS, assemble

CANDIDATE = assemble(DEFAULTS)


def made_up_result(
    arm: str = "random", seed: int = 0, task: str = "mnist-8000", accuracies: Sequence[float] = (0.9, 0.91, 0.92, 0.93)
) -> StudyResult:
    """A result whose leaders have these accuracies after each share of the time; below zero there was no leader."""
    scored = [accuracy for accuracy in accuracies if accuracy >= 0]
    leaders = tuple(ScoredLeader(CANDIDATE, 7000, 9, value, (value - 0.001, value + 0.001)) for value in scored)
    rows = tuple(scored.index(accuracy) if accuracy >= 0 else -1 for accuracy in accuracies)
    counts = {"spent": 110.2, "all_seconds": 150.0, "n_begun": 31, "n_complete": 30}
    return StudyResult(
        arm, seed, TASKS[task], SHARES, leaders, rows, 0.1, **counts, processor="made up", revision="f" * 40
    )
