"""Figures of a whole study, each on one pair of axes: accuracy against parameters, best so far, curves, importances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from search.config import words_of
from search.report.plot import BLUE, GREEN, GREY, ORANGE, PURPLE, YELLOW, accuracy_scale, error, thousands
from search.report.summary import StudySummary
from search.study.trials import FINISHED, REFUSED, STOPPED, TrialRecord

N_IMPORTANCES = 12
# A network far beyond the budget would leave no room for those that fit.
WIDEST = 1.3
# How many times the highest error of the finished trials is still on the scale.
SPAN = 3


def draw_accuracy(axes: Axes, summary: StudySummary, records: Sequence[TrialRecord]) -> None:
    """Draw accuracy against parameters: trials, front, budget, hand-designed networks, winner."""
    finished = _finished(records)
    limit = summary.config.max_params
    axes.scatter(*_points(finished), s=14, color=GREY, label="trials, one seed each")
    if finished:
        sizes, errors = _points(sorted(finished, key=_size))
        best = list(accumulate(errors, min))
        axes.step([*sizes, limit], [*best, best[-1]], where="post", color=GREY, linewidth=1, label="best of its size")
    baselines = [one for one in summary.baselines if one.n_params <= WIDEST * limit]
    # What their authors state is of MNIST, and compares with nothing else.
    stated = [one for one in baselines if one.stated_accuracy] if summary.config.data.dataset == "mnist" else []
    for one in stated:
        if one.value is not None:
            axes.plot([one.n_params] * 2, [error(one.stated_accuracy), error(one.value)], color=BLUE, linewidth=0.7)
    look: Any = {"s": 34, "marker": "^", "edgecolor": BLUE}
    ours = [(one.n_params, error(one.value)) for one in baselines if one.value is not None]
    theirs = [(one.n_params, error(one.stated_accuracy)) for one in stated]
    for label, points, face in (("in this study", ours, BLUE), ("as stated", theirs, "none")):
        at = [x for x, _ in points], [y for _, y in points]
        axes.scatter(*at, label=f"hand-designed, {label}", facecolor=face, **look)
    axes.axvline(limit, color=PURPLE, linestyle="--", linewidth=1, label=f"budget of {limit:,}")
    _draw_winner(axes, summary)
    accuracy_scale(axes)
    thousands(axes)
    axes.set_xlabel("parameters")
    axes.set_ylabel(summary.config.metric_name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.42, -0.14), ncols=2, frameon=False, fontsize=8)


def _draw_winner(axes: Axes, summary: StudySummary) -> None:
    winner, confirmed = summary.winner, summary.confirmation
    if winner is None:
        return
    accuracy = confirmed.accuracy if confirmed else None
    at = error(accuracy.mean if accuracy else winner.value)
    bars = None
    if accuracy and accuracy.low is not None and accuracy.high is not None:
        bars = [[at - error(min(accuracy.high, 1.0))], [error(max(accuracy.low, 0.0)) - at]]
    what = "winner, fresh seeds, 95 % interval" if accuracy else "winner, one seed"
    axes.errorbar([_size(winner)], [at], yerr=bars, fmt="*", markersize=13, capsize=4, color=ORANGE, label=what)


def draw_best_so_far(axes: Axes, records: Sequence[TrialRecord], metric: str = "accuracy") -> None:
    """Draw the value of every finished trial and the best so far, and mark stopped and refused trials.

    Stopped ones stand at what they had reached, or on the lower end of the scale. metric: what the search maximised.
    """
    finished = _finished(records)
    axes.scatter([one.number for one in finished], [error(one.value) for one in finished], s=14, color=GREY)
    axes.scatter([], [], s=14, color=GREY, label="finished")
    stopped = [one for one in records if one.outcome == STOPPED and one.curve]
    # One that learnt nothing would press all others together.
    edge = max((SPAN * error(one.value) for one in finished), default=100.0)
    reached = [min(error(one.curve[-1][metric]), edge) for one in stopped]
    axes.scatter(
        [one.number for one in stopped], reached, s=20, marker="x", color=BLUE, label="stopped early, there or below"
    )
    if finished:
        best = list(accumulate((error(one.value) for one in finished), min))
        last = max(one.number for one in records)
        numbers = [*(one.number for one in finished), last]
        axes.step(numbers, [*best, best[-1]], where="post", color=ORANGE, label="best so far")
    accuracy_scale(axes)
    refused = [one.number for one in records if one.outcome == REFUSED]
    # On the lower edge, whatever the scale.
    axes.plot(refused, [0.015] * len(refused), "|", color=PURPLE, transform=axes.get_xaxis_transform(), label="refused")
    axes.set_xlabel("trial")
    axes.set_ylabel(words_of(metric))
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=2, frameon=False, fontsize=8)


def draw_curves(axes: Axes, curves: Mapping[str, Sequence[Mapping[str, Any]]], metric: str = "accuracy") -> None:
    """Draw the metric after every epoch, a line for each name; of a single one the training accuracy as well."""
    looks = cycle(zip((ORANGE, BLUE, GREEN, PURPLE, YELLOW), "o^sDv", ("-", "--", "-.", ":", "-"), strict=True))
    for (name, curve), (color, marker, line) in zip(curves.items(), looks, strict=False):
        epochs = [int(epoch["epoch"]) for epoch in curve]
        reached = [error(epoch[metric]) for epoch in curve]
        axes.plot(epochs, reached, line, marker=marker, markersize=4, color=color, label=name)
        if len(curves) == 1:
            label = f"{'' if metric == 'accuracy' else 'accuracy on '}training images, changed and with dropout"
            train = [error(epoch["train_accuracy"]) for epoch in curve]
            axes.plot(epochs, train, ":", color=GREY, label=label)
    accuracy_scale(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(words_of(metric))
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def draw_importances(axes: Axes, importances: Mapping[str, float]) -> None:
    """Draw the N_IMPORTANCES largest importances, the largest on top."""
    shown = dict(sorted(importances.items(), key=lambda item: -item[1])[:N_IMPORTANCES])
    axes.barh(list(shown), list(shown.values()), color=BLUE)
    axes.invert_yaxis()
    axes.set_xlabel("importance, all dimensions together 1")
    axes.grid(axis="x", alpha=0.3)


def _finished(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.outcome == FINISHED and record.value is not None]


def _points(records: Sequence[TrialRecord]) -> tuple[list[int], list[float]]:
    return [_size(record) for record in records], [error(record.value) for record in records]


def _size(record: TrialRecord) -> int:
    return record.n_params or 0
