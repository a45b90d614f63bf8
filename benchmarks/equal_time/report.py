"""Report the results as tables, and draw their curves."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmarks.equal_time.arms import ARMS, CONTROLS
from benchmarks.equal_time.comparison import Difference, curve, decision, differences, of_arm
from benchmarks.equal_time.results import StudyResult
from benchmarks.equal_time.tasks import N_SEEDS, SHARES, TASKS
from search.evidence.statistics import Estimate
from search.report.plot import BLUE, GREEN, GREY, ORANGE, PURPLE, YELLOW, accuracy_scale, error, svg
from search.text import counted, text_table

# Colours and markers by arm; both, so that the curves can be told apart without colours.
_COLORS = (GREY, YELLOW, GREEN, BLUE, ORANGE, PURPLE, "black")
_MARKERS = ("o", "s", "^", "v", "D", "P", "X")


def as_text(results: Sequence[StudyResult]) -> str:
    """Return the tables: accuracies over time, differences from the controls, and what they decide."""
    parts = [_accuracy_table(results, task) for task in TASKS if _has(results, task)]
    parts += [_difference_table(rows, control) for control in CONTROLS if (rows := differences(results, control))]
    parts.append("\n".join(decision(results, arm) for arm in ARMS))
    n_planned = len(TASKS) * len(ARMS) * N_SEEDS
    processors = ", ".join(sorted({result.processor for result in results}))
    revisions = ", ".join(sorted({str(result.revision)[:12] for result in results}))
    core_hours = sum(result.all_seconds for result in results) / 3600
    parts.append(
        f"{counted(len(results), 'study', 'studies')} of {n_planned} planned, {core_hours:.1f} processor hours\n"
        f"processor  {processors}\nrevision   {revisions}"
    )
    return "\n\n".join(parts)


def as_svg(results: Sequence[StudyResult], task: str) -> str:
    """Return the curves of a task as SVG: the accuracy of the leaders over training time, with 95 % intervals."""
    seconds = [share * TASKS[task].seconds for share in SHARES]

    def draw(axes: Axes) -> None:
        for row, arm in enumerate(ARMS):
            points = curve(results, task, arm)
            if not points:
                continue
            color = _COLORS[row % len(_COLORS)]
            # Shifted a little, so that the intervals of two arms do not hide each other.
            times = [second * 1.03 ** (row - (len(ARMS) - 1) / 2) for second in seconds]
            errors = [error(point.mean) for point in points]
            lower = [max(0.0, middle - error(_high(point))) for middle, point in zip(errors, points, strict=True)]
            upper = [error(_low(point)) - middle for middle, point in zip(errors, points, strict=True)]
            axes.errorbar(
                times,
                errors,
                yerr=[lower, upper],
                color=color,
                marker=_MARKERS[row % len(_MARKERS)],
                markersize=5,
                capsize=2,
                linewidth=1.2,
                label=f"{arm} (n = {points[0].n})",
            )
        accuracy_scale(axes)
        axes.set_xscale("log")
        axes.set_xticks(seconds, [f"{second:g}" for second in seconds])
        axes.minorticks_off()
        axes.set_xlabel("processor seconds of training")
        axes.set_ylabel("accuracy of the leader on unseen images")
        axes.legend(loc="lower right", fontsize=8)

    return svg(f"Accuracy of the leader over training time, {task}", (7, 4.5), draw)


def _has(results: Sequence[StudyResult], task: str) -> bool:
    return any(of_arm(results, task, arm) for arm in ARMS)


def _accuracy_table(results: Sequence[StudyResult], task: str) -> str:
    sizes = TASKS[task]
    header = ["arm", *(f"{share * sizes.seconds:.0f} s" for share in SHARES), "trained", "studies"]
    rows = []
    for arm in ARMS:
        found = of_arm(results, task, arm).values()
        points = curve(results, task, arm)
        if points:
            n_trained = sum(result.n_complete for result in found) / len(found)
            rows.append([arm, *map(_cell, points), f"{n_trained:.0f}", str(len(found))])
    title = (
        f"{task}: % of {sizes.n_unseen:,} unseen images, leader trained from {sizes.n_fresh} fresh seeds; mean ± half "
        "of the 95 % interval over studies"
    )
    return f"{title}\n{text_table(header, rows, '<' + '>' * (len(header) - 1))}"


def _cell(point: Estimate) -> str:
    if point.sd is None:
        return f"{100 * point.mean:.2f}"
    return f"{100 * point.mean:.2f} ± {100 * (_high(point) - point.mean):.2f}"


def _difference_table(rows: Sequence[Difference], control: str) -> str:
    title = (
        f"Difference from {control} at the end of the time, in points: mean, 95 % interval (paired by study seed), "
        f"Holm's p for these {len(rows)}"
    )
    cells = [
        [
            row.task,
            row.arm,
            f"{100 * row.difference.mean:+.2f}",
            f"{100 * _low(row.difference):+.2f} to {100 * _high(row.difference):+.2f}" if row.p is not None else "-",
            "-" if row.holm is None else f"{row.holm:.3f}",
            str(row.difference.n),
            "better" if row.is_better else "worse" if row.is_worse else "",
        ]
        for row in rows
    ]
    return f"{title}\n{text_table(['task', 'arm', 'mean', 'interval', 'p', 'n', ''], cells, '<<>>>><')}"


def _low(point: Estimate) -> float:
    return point.mean if point.low is None else point.low


def _high(point: Estimate) -> float:
    return point.mean if point.high is None else point.high
