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
# The leader after these shares of a study's trials is trained again, with so many fresh seeds.
LEADERS = (1 / 3, 2 / 3, 1.0)
N_MERIT_SEEDS = 3
CONFIDENCE = 0.95

# Seed, network and recipe: one training, in however many arms it was made.
Curves = Mapping[tuple[int | None, ArchSpec | None, RecipeConfig | None], tuple[float, ...]]


@dataclass(frozen=True)
class StudyResult:
    """One study, cut off at the asked number of trained trials. Accuracies are in [0, 1].

    best      the best value so far, after every trained trial; 0 before the first finished one
    merits    mean accuracy on fresh seeds of the leader after every share of LEADERS; nan where there was none
    feasible  share of the proposals that were within the budget
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
        """Read a result off all trials of a study, and the accuracies of the leaders' new trainings by trial number."""
        done = trained(records)[:n_trials]
        leaders = [leader(done, share, n_trials) for share in LEADERS]
        end = done[-1].index or 0 if done else -1
        proposed = [record for record in records if record.index is not None and record.index <= end]
        refused = sum(record.outcome == REFUSED for record in proposed)
        return cls(
            arm,
            seed,
            tuple(accumulate((record.value or 0.0 for record in done), max)),
            tuple(mean(merits[one.number]) if one and one.number in merits else math.nan for one in leaders),
            1 - refused / max(1, len(proposed)),
            {
                (record.seed, record.arch, record.recipe): tuple(epoch["accuracy"] for epoch in record.curve)
                for record in done
                if record.outcome == FINISHED
            },
        )


def trained(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that cost a training, in the order in which they were proposed."""
    return sorted(
        (record for record in records if record.outcome in TRAINED),
        key=lambda record: (record.index or 0, record.number),
    )


def leader(done: Sequence[TrialRecord], share: float, n_trials: int) -> TrialRecord | None:
    """The best of the first `share` of `n_trials` trained trials; None if none of them finished."""
    best = ranked(done[: max(1, round(share * n_trials))])
    return best[0] if best else None


def rank_correlations(results: Sequence[StudyResult]) -> tuple[int, list[float | None]]:
    """Return how many trainings finished, and Spearman's rho of the accuracies after epoch 1, 2, ... with the last."""
    curves = list({key: curve for result in results for key, curve in result.curves.items()}.values())
    if len(curves) < 3:
        return len(curves), []
    last = [curve[-1] for curve in curves]
    return len(curves), [rank_correlation(epoch, last) for epoch in zip(*curves, strict=True)]


def differences(results: Sequence[StudyResult]) -> list[tuple[str, str, float, float]]:
    """(arm, other arm, difference, half width) of every two arms' mean merit at the end.

    The half width is that of Welch's 95 % confidence interval, from the spread over study seeds: nan with fewer than
    two seeds an arm. Every pair is taken on its own, so of twenty pairs one would exceed it by chance.
    """
    merits = {arm: _merits(own, -1) for arm, own in _by_arm(results).items()}
    found = []
    for (first, a), (second, b) in combinations(merits.items(), 2):
        if not a or not b:
            continue
        half = math.nan
        if min(len(a), len(b)) > 1:
            parts = [variance(values) / len(values) for values in (a, b)]
            if sum(parts) > 0:
                degrees = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (a, b), strict=True))
                half = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) * math.sqrt(sum(parts))
        found.append((first, second, mean(a) - mean(b), half))
    return found


def as_text(results: Sequence[StudyResult], n_trials: int) -> str:
    """The tables; the last line names the differences beyond the spread over study seeds, and claims nothing else."""
    checkpoints = _checkpoints(n_trials)
    lines = [
        "Best value so far, % of the held-out images; mean (lowest to highest) over study seeds",
        f"{'arm':8}" + "".join(f"{f'{n} trials':>24}" for n in checkpoints) + f"{'feasible':>10}",
    ]
    arms = _by_arm(results)
    for arm, own in arms.items():
        cells = "".join(f"{_range([one.best[n - 1] for one in own if len(one.best) >= n]):>24}" for n in checkpoints)
        lines.append(f"{arm:8}{cells}{mean(one.feasible for one in own):>10.0%}")
    lines += [
        "",
        f"Merit: % of the test images, {N_MERIT_SEEDS} fresh seeds of the leader; mean, sd over study seeds (n)",
        f"{'arm':8}" + "".join(f"{f'after {round(share * n_trials)}':>20}" for share in LEADERS),
    ]
    for arm, own in arms.items():
        lines.append(f"{arm:8}" + "".join(f"{_spread(_merits(own, i)):>20}" for i in range(len(LEADERS))))
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
    """Best value so far over trained trials as SVG text: of every arm mean, lowest and highest of its study seeds."""

    def draw(axes: Axes) -> None:
        for (arm, own), color in zip(_by_arm(results).items(), (GREY, BLUE, ORANGE), strict=False):
            # From the first trial at which every study has a finished one.
            columns = list(zip(*(one.best for one in own), strict=False))
            shown = [(n, column) for n, column in enumerate(columns, start=1) if min(column) > 0]
            trials = [n for n, _ in shown]
            axes.plot(
                trials, [error(mean(column)) for _, column in shown], color=color, label=f"{arm} (n = {len(own)})"
            )
            low, high = ([error(pick(column)) for _, column in shown] for pick in (min, max))
            axes.fill_between(trials, low, high, color=color, alpha=0.15, linewidth=0)
        accuracy_scale(axes)
        axes.set_xlabel("trained trials")
        axes.set_ylabel("best held-out accuracy so far")
        axes.legend(loc="lower right")

    return svg("Best held-out accuracy so far by sampler", (7, 4), draw)


def as_json(results: Sequence[StudyResult]) -> str:
    """Return the report and every study's figures, for programs. Unknown figures are null."""
    n, correlations = rank_correlations(results)
    found: dict[str, Any] = {
        "studies": [
            {
                "arm": one.arm,
                "seed": one.seed,
                "best_so_far": one.best,
                "merit": [_known(value) for value in one.merits],
                "feasible_share": one.feasible,
            }
            for one in results
        ],
        "leaders_after_share": LEADERS,
        "merit_differences": [
            {"arm": a, "other": b, "difference": difference, "half_width": _known(half)}
            for a, b, difference, half in differences(results)
        ],
        "rank_correlation": {"n": n, "by_epoch": correlations},
    }
    return json.dumps(found, indent=2, allow_nan=False)


def _by_arm(results: Sequence[StudyResult]) -> dict[str, list[StudyResult]]:
    return {arm: [one for one in results if one.arm == arm] for arm in dict.fromkeys(one.arm for one in results)}


def _merits(own: Sequence[StudyResult], which: int) -> list[float]:
    return [one.merits[which] for one in own if not math.isnan(one.merits[which])]


def _checkpoints(n_trials: int) -> list[int]:
    return sorted({n for n in CHECKPOINTS if n < n_trials} | {n_trials})


def _range(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.2f} ({100 * min(values):.2f} to {100 * max(values):.2f})" if values else "-"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    sd = f"{100 * stdev(values):.2f}" if len(values) > 1 else "-"
    return f"{100 * mean(values):.2f}, {sd} ({len(values)})"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
