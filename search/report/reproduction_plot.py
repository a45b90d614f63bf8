"""Stated accuracy beside ours, as an SVG."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from search.evidence.reproduction import Reproduction
from search.report.plot import BLUE, GREY, ORANGE, svg

# By whether network and recipe keep to budget and epochs; the marker says what the colour says.
_LOOKS = {True: (ORANGE, "o", "at most 8,000 parameters and 15 epochs"), False: (BLUE, "s", "larger or longer")}


def reproduction_plot(reproductions: Sequence[Reproduction]) -> str:
    """The SVG's text: a line a recipe, from the stated figure to what we reach, whose bar is the noise."""
    shown = [(one, one.stated_accuracy, one.ours) for one in reproductions]
    rows = [(one, 100 * stated, 100 * ours.mean) for one, stated, ours in shown if stated is not None and ours]

    def draw(axes: Axes) -> None:
        for row, (_, stated, reached) in enumerate(rows):
            axes.plot([stated, reached], [row, row], color=GREY, linewidth=1)
        for within, (color, marker, label) in _LOOKS.items():
            chosen = [(row, ours, 100 * one.noise) for row, (one, _, ours) in enumerate(rows) if one.within is within]
            if chosen:
                at, ours, noise = zip(*chosen, strict=True)
                axes.errorbar(ours, at, xerr=noise, fmt=marker, color=color, capsize=3, label=f"ours, {label}")
        axes.plot([stated for _, stated, _ in rows], range(len(rows)), "k|", markersize=11, label="stated")
        axes.set_yticks(range(len(rows)), [f"{one.baseline.id}  {one.recipe_name}" for one, _, _ in rows])
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f} %"))
        axes.set_xlabel("test accuracy; ours: mean over seeds, bar: noise")
        axes.grid(axis="x", alpha=0.3)
        if rows:
            axes.legend(loc="upper center", bbox_to_anchor=(0.3, -0.12))

    title = "Stated test accuracy of the hand-designed networks beside what training again reaches"
    return svg(title, (8, 7), draw)
