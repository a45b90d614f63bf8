"""Report the studies of benchmarks.sample_efficiency: best so far, merit, feasible share, rank correlation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from statistics import mean, stdev, variance
from typing import Any

from matplotlib.axes import Axes
from scipy.stats import t

from models.recipe import RecipeConfig
from models.spec import ArchSpec
from search.evidence.statistics import rank_correlation
from search.report.plot import BLUE, GREY, ORANGE, accuracy_scale, error, svg
from search.study.trials import FINISHED, REFUSED, TRAINED, TrialRecord, ranked

CHECKPOINTS = (10, 20, 40, 60)
# The leaders after these shares of the trials of a study are trained again, with N_MERIT_SEEDS fresh seeds each.
LEADERS = (1 / 3, 2 / 3, 1.0)
N_MERIT_SEEDS = 3
CONFIDENCE = 0.95

# Accuracies by seed, network and recipe, so that a training that several arms made is counted once.
Curves = Mapping[tuple[int | None, ArchSpec | None, RecipeConfig | None], tuple[float, ...]]


@dataclass(frozen=True)
class StudyResult:
    """Result of one study, up to the requested number of trained trials. Accuracies are in [0, 1].

    best      best value after every trained trial; 0 before the first finished one
    merits    mean accuracy, over fresh seeds, of the leader after every share of LEADERS; nan if there was no leader
    feasible  share of the proposals that were within the budget
    curves    accuracies after every epoch of the finished trials
    """

    arm: str
    seed: int
    best: tuple[float, ...]
    merits: tuple[float, ...]
    feasible: float
    curves: Curves

    @classmethod
    def of(
        cls, arm: str, seed: int, records: Sequence[TrialRecord], merits: Mapping[int, Sequence[float]], n_trials: int
    ) -> StudyResult:
        """Return the result of a study; `merits` has the accuracies of the leaders by trial number."""
        done = trained(records)[:n_trials]
        leaders = [leader(done, share, n_trials) for share in LEADERS]
        end = done[-1].index or 0 if done else -1
        proposed = [record for record in records if record.index is not None and record.index <= end]
        refused = sum(record.outcome == REFUSED for record in proposed)
        return cls(
            arm,
            seed,
            tuple(accumulate((record.value or 0.0 for record in done), max)),
            tuple(
                mean(merits[record.number]) if record and record.number in merits else math.nan for record in leaders
            ),
            1 - refused / max(1, len(proposed)),
            {
                (record.seed, record.arch, record.recipe): tuple(epoch["accuracy"] for epoch in record.curve)
                for record in done
                if record.outcome == FINISHED
            },
        )


def trained(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that were trained, in the order in which they were proposed."""
    return sorted(
        (record for record in records if record.outcome in TRAINED),
        key=lambda record: (record.index or 0, record.number),
    )


def leader(done: Sequence[TrialRecord], share: float, n_trials: int) -> TrialRecord | None:
    """Return the best of the first `share` of `n_trials` trained trials; None if none of them finished."""
    best = ranked(done[: max(1, round(share * n_trials))])
    return best[0] if best else None


def rank_correlations(results: Sequence[StudyResult]) -> tuple[int, list[float | None]]:
    """Return the number of finished trainings, and for each epoch Spearman's rho of its accuracies with the last."""
    curves = list({key: curve for result in results for key, curve in result.curves.items()}.values())
    if len(curves) < 3:
        return len(curves), []
    last = [curve[-1] for curve in curves]
    return len(curves), [rank_correlation(epoch, last) for epoch in zip(*curves, strict=True)]


def differences(results: Sequence[StudyResult]) -> list[tuple[str, str, float, float]]:
    """Return (arm, other arm, difference of the mean final merits, half width) for every pair of arms.

    The half width is that of Welch's 95 % confidence interval, from the spread over study seeds; nan if an arm has less
    than two seeds. There is no correction for several comparisons: one of twenty pairs exceeds it by chance.
    """
    merits = {arm: _merits(arm_results, -1) for arm, arm_results in _by_arm(results).items()}
    pairs = []
    for (first, a), (second, b) in combinations(merits.items(), 2):
        if not a or not b:
            continue
        half = math.nan
        if min(len(a), len(b)) > 1:
            parts = [variance(values) / len(values) for values in (a, b)]
            if sum(parts) > 0:
                degrees = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (a, b), strict=True))
                half = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) * math.sqrt(sum(parts))
        pairs.append((first, second, mean(a) - mean(b), half))
    return pairs


def as_text(results: Sequence[StudyResult], n_trials: int) -> str:
    """Return the tables as text; the last line lists the differences that exceed the spread over study seeds."""
    checkpoints = _checkpoints(n_trials)
    lines = [
        "Best value so far, % of the held-out images; mean (lowest to highest) over study seeds",
        f"{'arm':8}" + "".join(f"{f'{n} trials':>24}" for n in checkpoints) + f"{'feasible':>10}",
    ]
    arms = _by_arm(results)
    for arm, arm_results in arms.items():
        columns = ([result.best[n - 1] for result in arm_results if len(result.best) >= n] for n in checkpoints)
        cells = "".join(f"{_range(column):>24}" for column in columns)
        lines.append(f"{arm:8}{cells}{mean(result.feasible for result in arm_results):>10.0%}")
    lines += [
        "",
        f"Merit: % of the test images, {N_MERIT_SEEDS} fresh seeds of the leader; mean, sd over study seeds (n)",
        f"{'arm':8}" + "".join(f"{f'after {round(share * n_trials)}':>20}" for share in LEADERS),
    ]
    for arm, arm_results in arms.items():
        lines.append(f"{arm:8}" + "".join(f"{_spread(_merits(arm_results, i)):>20}" for i in range(len(LEADERS))))
    n, correlations = rank_correlations(results)
    shown = "  ".join(
        f"{epoch}: {'-' if rho is None else f'{rho:.2f}'}" for epoch, rho in enumerate(correlations, start=1)
    )
    lines += ["", f"Rank correlation with the last epoch ({n} finished trainings), by epoch  {shown or 'too few'}"]
    beyond = [
        f"{a} - {b} {100 * difference:+.2f} ± {100 * half:.2f} points"
        for a, b, difference, half in differences(results)
        if abs(difference) > half
    ]
    what = f"Differences in merit after {n_trials} trials beyond the spread over study seeds (Welch, {CONFIDENCE:.0%})"
    return "\n".join([*lines, f"{what}: {'; '.join(beyond) or 'none'}"])


def as_plot(results: Sequence[StudyResult]) -> str:
    """Return an SVG plot of the best value so far, with mean, lowest and highest over the study seeds of every arm."""

    def draw(axes: Axes) -> None:
        for (arm, arm_results), color in zip(_by_arm(results).items(), (GREY, BLUE, ORANGE), strict=False):
            # Curves start where every study of the arm has a finished trial.
            columns = list(zip(*(result.best for result in arm_results), strict=False))
            shown = [(n, column) for n, column in enumerate(columns, start=1) if min(column) > 0]
            trials = [n for n, _ in shown]
            axes.plot(
                trials,
                [error(mean(column)) for _, column in shown],
                color=color,
                label=f"{arm} (n = {len(arm_results)})",
            )
            low, high = ([error(pick(column)) for _, column in shown] for pick in (min, max))
            axes.fill_between(trials, low, high, color=color, alpha=0.15, linewidth=0)
        accuracy_scale(axes)
        axes.set_xlabel("trained trials")
        axes.set_ylabel("best held-out accuracy so far")
        axes.legend(loc="lower right")

    return svg("Best held-out accuracy so far by sampler", (7, 4), draw)


def as_json(results: Sequence[StudyResult]) -> str:
    """Return the report and the figures of every study as JSON; unknown figures are null."""
    n, correlations = rank_correlations(results)
    report: dict[str, Any] = {
        "studies": [
            {
                "arm": result.arm,
                "seed": result.seed,
                "best_so_far": result.best,
                "merit": [_none_if_nan(value) for value in result.merits],
                "feasible_share": result.feasible,
            }
            for result in results
        ],
        "leaders_after_share": LEADERS,
        "merit_differences": [
            {"arm": a, "other": b, "difference": difference, "half_width": _none_if_nan(half)}
            for a, b, difference, half in differences(results)
        ],
        "rank_correlation": {"n": n, "by_epoch": correlations},
    }
    return json.dumps(report, indent=2, allow_nan=False)


def _by_arm(results: Sequence[StudyResult]) -> dict[str, list[StudyResult]]:
    arms = dict.fromkeys(result.arm for result in results)
    return {arm: [result for result in results if result.arm == arm] for arm in arms}


def _merits(results: Sequence[StudyResult], leader_index: int) -> list[float]:
    merits = [result.merits[leader_index] for result in results]
    return [merit for merit in merits if not math.isnan(merit)]


def _checkpoints(n_trials: int) -> list[int]:
    return sorted({n for n in CHECKPOINTS if n < n_trials} | {n_trials})


def _range(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.2f} ({100 * min(values):.2f} to {100 * max(values):.2f})" if values else "-"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    sd = f"{100 * stdev(values):.2f}" if len(values) > 1 else "-"
    return f"{100 * mean(values):.2f}, {sd} ({len(values)})"


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
