"""Draw figures of a whole study, each on one pair of axes.

The figures are accuracy against parameters, best value so far, curves and importances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, cycle
from typing import Any

from matplotlib.axes import Axes

from search.config import words_of
from search.report.plot import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    YELLOW,
    accuracy_scale,
    error,
    thousands,
    whole_numbers,
)
from search.report.summary import StudySummary
from search.study.trials import FINISHED, REFUSED, STOPPED, TrialRecord

N_IMPORTANCES = 12
# Parameters of the largest network shown, in budgets. A larger one would leave no room for the networks that fit.
WIDEST = 1.3
# Largest error shown, in multiples of the largest error of the finished trials.
SPAN = 3


def draw_accuracy(axes: Axes, summary: StudySummary, records: Sequence[TrialRecord]) -> None:
    """Draw accuracy against parameters, with trials, Pareto front, budget, hand-designed networks and winner."""
    finished_trials = _finished(records)
    limit = summary.config.max_params
    axes.scatter(*_points(finished_trials), s=14, color=GREY, label="trials, one seed each")
    if finished_trials:
        sizes, errors = _points(sorted(finished_trials, key=_size))
        front = list(accumulate(errors, min))
        front.append(front[-1])
        axes.step([*sizes, limit], front, where="post", color=GREY, linewidth=1, label="best of its size")
    baselines = [network for network in summary.baselines if network.n_params <= WIDEST * limit]
    # The stated accuracies are for MNIST, and cannot be compared with those on other images.
    is_mnist = summary.config.data.dataset == "mnist"
    stated = [network for network in baselines if network.stated_accuracy and is_mnist]
    for network in stated:
        if network.value is not None:
            errors = [error(network.stated_accuracy), error(network.value)]
            axes.plot([network.n_params] * 2, errors, color=BLUE, linewidth=0.7)
    style: Any = {"s": 34, "marker": "^", "edgecolor": BLUE}
    study_points = [(network.n_params, error(network.value)) for network in baselines if network.value is not None]
    stated_points = [(network.n_params, error(network.stated_accuracy)) for network in stated]
    for label, points, facecolor in (("in this study", study_points, BLUE), ("as stated", stated_points, "none")):
        coordinates = [x for x, _ in points], [y for _, y in points]
        axes.scatter(*coordinates, label=f"hand-designed, {label}", facecolor=facecolor, **style)
    axes.axvline(limit, color=PURPLE, linestyle="--", linewidth=1, label=f"budget of {limit:,}")
    _draw_winner(axes, summary)
    accuracy_scale(axes)
    thousands(axes)
    axes.set_xlabel("parameters")
    axes.set_ylabel(summary.config.metric_name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.42, -0.14), ncols=2, frameon=False, fontsize=8)


def _draw_winner(axes: Axes, summary: StudySummary) -> None:
    winner, confirmation = summary.winner, summary.confirmation
    if winner is None:
        return
    accuracy = confirmation.accuracy if confirmation else None
    winner_error = error(accuracy.mean if accuracy else winner.value)
    bars = None
    if accuracy and accuracy.low is not None and accuracy.high is not None:
        bars = [[winner_error - error(min(accuracy.high, 1.0))], [error(max(accuracy.low, 0.0)) - winner_error]]
    label = (
        "winner, fresh seeds, 95 % interval" if bars else "winner, one fresh seed" if accuracy else "winner, one seed"
    )
    axes.errorbar(
        [_size(winner)], [winner_error], yerr=bars, fmt="*", markersize=13, capsize=4, color=ORANGE, label=label
    )


def draw_best_so_far(axes: Axes, records: Sequence[TrialRecord], metric: str = "accuracy") -> None:
    """Draw the value of every finished trial and the best so far, and mark stopped and refused trials.

    A stopped trial is drawn at its last accuracy, or at the lower end of the scale if that is lower. metric is the one
    that the search maximised.
    """
    finished_trials = _finished(records)
    numbers, errors = [record.number for record in finished_trials], [error(record.value) for record in finished_trials]
    axes.scatter(numbers, errors, s=14, color=GREY)
    axes.scatter([], [], s=14, color=GREY, label="finished")
    stopped_trials = [record for record in records if record.outcome == STOPPED and record.curve]
    # A trial that learnt nothing would compress the scale of all others.
    edge = SPAN * max(errors) if errors else 100.0
    stopped_errors = [min(error(record.curve[-1][metric]), edge) for record in stopped_trials]
    axes.scatter(
        [record.number for record in stopped_trials],
        stopped_errors,
        s=20,
        marker="x",
        color=BLUE,
        label="stopped early, there or below",
    )
    if finished_trials:
        best_errors = list(accumulate(errors, min))
        last = max(record.number for record in records)
        axes.step([*numbers, last], [*best_errors, best_errors[-1]], where="post", color=ORANGE, label="best so far")
    accuracy_scale(axes)
    refused_numbers = [record.number for record in records if record.outcome == REFUSED]
    # The y coordinate is a share of the axes, so that the marks are on the lower edge on any scale.
    heights, transform = [0.015] * len(refused_numbers), axes.get_xaxis_transform()
    axes.plot(refused_numbers, heights, "|", color=PURPLE, transform=transform, label="refused")
    whole_numbers(axes)
    axes.set_xlabel("trial")
    axes.set_ylabel(words_of(metric))
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=2, frameon=False, fontsize=8)


def draw_curves(axes: Axes, curves: Mapping[str, Sequence[Mapping[str, Any]]], metric: str = "accuracy") -> None:
    """Draw the metric after every epoch, one line per name.

    A single curve is drawn together with its training accuracy.
    """
    styles = cycle(zip((ORANGE, BLUE, GREEN, PURPLE, YELLOW), "o^sDv", ("-", "--", "-.", ":", "-"), strict=True))
    for (name, curve), (color, marker, line) in zip(curves.items(), styles, strict=False):
        epochs = [int(epoch["epoch"]) for epoch in curve]
        errors = [error(epoch[metric]) for epoch in curve]
        axes.plot(epochs, errors, line, marker=marker, markersize=4, color=color, label=name)
        if len(curves) == 1:
            label = f"{'' if metric == 'accuracy' else 'accuracy on '}training images, changed and with dropout"
            train_errors = [error(epoch["train_accuracy"]) for epoch in curve]
            axes.plot(epochs, train_errors, ":", color=GREY, label=label)
    accuracy_scale(axes)
    whole_numbers(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel(words_of(metric))
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def draw_importances(axes: Axes, importances: Mapping[str, float]) -> None:
    """Draw the N_IMPORTANCES largest importances, the largest on top."""
    largest = dict(sorted(importances.items(), key=lambda item: -item[1])[:N_IMPORTANCES])
    axes.barh(list(largest), list(largest.values()), color=BLUE)
    axes.invert_yaxis()
    axes.set_xlabel("importance, all dimensions together 1")
    axes.grid(axis="x", alpha=0.3)


def _finished(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.outcome == FINISHED and record.value is not None]


def _points(records: Sequence[TrialRecord]) -> tuple[list[int], list[float]]:
    return [_size(record) for record in records], [error(record.value) for record in records]


def _size(record: TrialRecord) -> int:
    return record.n_params or 0
