"""Stated accuracy against ours, as an SVG."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from search.reproduction import Reproduction
from search.svg import BLUE, GREY, ORANGE, svg

# By whether network and recipe keep to budget and epochs; the marker says what the colour says.
_LOOKS = {True: (ORANGE, "o", "at most 8,000 parameters and 15 epochs"), False: (BLUE, "s", "larger or longer")}


def reproduction_plot(reproductions: Sequence[Reproduction]) -> str:
    """The SVG's text: a point a recipe, its bar the noise; on the line the stated figure is what we reach."""
    shown = [(one, one.stated_accuracy, one.ours) for one in reproductions]
    points = [(one, 100 * stated, 100 * ours.mean) for one, stated, ours in shown if stated is not None and ours]
    ends = [value for _, x, y in points for value in (x, y)] or [99.0, 99.6]
    low, high = min(ends) - 0.1, max(ends) + 0.1

    def draw(axes: Axes) -> None:
        for within, (color, marker, label) in _LOOKS.items():
            chosen = [point for point in points if point[0].within is within]
            if chosen:
                stated, ours = [x for _, x, _ in chosen], [y for _, _, y in chosen]
                noise = [100 * one.noise for one, _, _ in chosen]
                axes.errorbar(stated, ours, yerr=noise, fmt=marker, color=color, capsize=3, label=label)
        for one, x, y in points:
            axes.annotate(one.baseline.id, (x, y), textcoords="offset points", xytext=(5, 5), fontsize=7)
        axes.plot([low, high], [low, high], color=GREY, linewidth=1)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f} %"))
        axes.set_xlabel("stated by the authors")
        axes.set_ylabel("ours, mean over seeds, bars: noise")
        axes.grid(alpha=0.3)
        if points:
            axes.legend(loc="upper left")

    title = "Stated test accuracy of the hand-designed networks against what training again reaches"
    return svg(title, (6.5, 6), draw)
