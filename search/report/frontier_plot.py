"""Accuracy against parameters as an SVG: trials as dots, confirmed winners with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from search.report.plot import BLUE, GREY, ORANGE, accuracy_scale, error, svg, thousands
from search.report.summary import StudySummary


def frontier_plot(studies: Sequence[StudySummary]) -> str:
    """The SVG's text. The error on a log scale, as the accuracies crowd towards 100 %."""

    def draw(axes: Axes) -> None:
        _draw_trials(axes, studies)
        _draw_baselines(axes, studies)
        _draw_winners(axes, studies)
        accuracy_scale(axes)
        thousands(axes)
        axes.set_xlabel("parameters")
        axes.set_ylabel(f"test {studies[0].config.metric_name} after the last epoch")
        axes.legend(loc="lower right")

    return svg(f"Test {studies[0].config.metric_name} against parameters of the searched networks", (7, 4.5), draw)


def _draw_trials(axes: Axes, studies: Sequence[StudySummary]) -> None:
    top = {(study.name, record.number): record for study in studies for record in study.top}
    sizes, errors = [record.n_params or 0 for record in top.values()], [error(record.value) for record in top.values()]
    axes.scatter(sizes, errors, s=10, color=GREY, label="ten best of each search, one seed")


def _draw_baselines(axes: Axes, studies: Sequence[StudySummary]) -> None:
    found = list({one.id: one for study in studies for one in study.baselines if one.value}.values())
    if found:
        label = "hand-designed, the search's recipe, one seed"
        sizes, errors = [one.n_params for one in found], [error(one.value) for one in found]
        axes.scatter(sizes, errors, s=30, marker="^", color=BLUE, label=label)


def _draw_winners(axes: Axes, studies: Sequence[StudySummary]) -> None:
    confirmed = [
        (study.winner.n_params or 0, study.confirmation.accuracy)
        for study in studies
        if study.winner and study.confirmation
    ]
    if not confirmed:
        return
    errors = [error(accuracy.mean) for _, accuracy in confirmed]
    # Downwards in error is upwards in accuracy.
    below = [100 * ((accuracy.high or accuracy.mean) - accuracy.mean) for _, accuracy in confirmed]
    above = [100 * (accuracy.mean - (accuracy.low or accuracy.mean)) for _, accuracy in confirmed]
    # An interval of few seeds may reach past both ends of what an accuracy can be.
    below = [min(low, 0.9 * at) for low, at in zip(below, errors, strict=True)]
    above = [min(high, 100 - at) for high, at in zip(above, errors, strict=True)]
    axes.errorbar(
        [n_params for n_params, _ in confirmed],
        errors,
        yerr=[below, above],
        fmt="o-",
        capsize=3,
        color=ORANGE,
        label="winners, mean of fresh seeds, 95 % interval",
    )
