"""Figures as SVG text or PNG: the same every time, readable without colours, with text that stays text."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

# Okabe and Ito's, which colour-blind readers tell apart.
ORANGE, BLUE, GREEN, PURPLE, YELLOW, GREY = "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#B8860B", "#8C8C8C"
# Stands for the colour of the page's text, and occurs nowhere else.
_INK = "#0a0b0c"
_STYLE = {"svg.fonttype": "none", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
_INK_STYLE = dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "legend.labelcolor"), _INK
)

Draw = Callable[[Axes], None]
# Left edge, lower edge, width and height of the axes, as shares of the figure.
Frame = tuple[float, float, float, float]


def svg(title: str, size: tuple[float, float], draw: Draw) -> str:
    """Return what `draw` puts on one pair of axes, as an SVG file. title: for screen readers; size: in inches."""
    # Without the date, which would make another file every time.
    return _saved(size, draw, {"svg.hashsalt": title}, format="svg", metadata={"Date": None, "Title": title}).decode()


def inline_svg(title: str, size: tuple[float, float], draw: Draw) -> str:
    """Return the figure as a part of an HTML page: as wide as there is room, in the page's colours."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    style = {**_INK_STYLE, "svg.hashsalt": title}
    text = _saved(size, draw, style, format="svg", metadata=nothing, transparent=True).decode()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # A page has many figures; of their names only those that are referred to, which differ, may stay.
    text = re.sub(r' id="([^"]+)"', lambda name: name[0] if f"#{name[1]}" in text else "", text)
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None  # of everything that matplotlib writes
    head = f'<svg role="img" aria-label="{escape(title)}" {view_box[0]} xmlns:xlink="http://www.w3.org/1999/xlink">'
    return head + text[text.index(">") + 1 :]


def png(size: tuple[float, float], draw: Draw, frame: Frame | None = None) -> bytes:
    """Return the figure as a PNG on white. size: in inches.

    frame: where the axes lie, if that is known; to find it takes as long as to draw.
    """
    # Quickly compressed: a study has two such pictures for every trial.
    quickly = {"compress_level": 1}
    return _saved(size, draw, {}, frame, format="png", dpi=110, metadata={"Software": None}, pil_kwargs=quickly)


def _saved(
    size: tuple[float, float], draw: Draw, style: Mapping[str, Any], frame: Frame | None = None, **options: Any
) -> bytes:
    settings: Any = {**_STYLE, **style}
    with mpl.rc_context(settings):
        figure = Figure(figsize=size, layout=None if frame else "constrained")
        draw(figure.add_axes(frame) if frame else figure.add_subplot())
        buffer = io.BytesIO()
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def error(accuracy: float | None) -> float:
    """Return the error in percent; at least a hundredth, as its scale is logarithmic."""
    return max(100 * (1 - (accuracy or 0.0)), 0.01)


def accuracy_scale(axes: Axes) -> None:
    """Label the y axis, which holds errors, with accuracies: on a log scale, as they crowd towards 100 %."""
    if not math.isfinite(axes.dataLim.y0):
        axes.set_ylim(0.1, 10)  # there is nothing to show
    axes.set_yscale("log")
    axes.invert_yaxis()
    low, high = sorted(axes.get_ylim())
    steps = [1, 1.5, 2, 3, 4, 5, 7] if high / low < 30 else [1, 3]
    ticks = [step * 10.0**power for power in range(-2, 2) for step in steps]
    shown = [tick for tick in ticks if low <= tick <= high]
    if len(shown) < 3:  # a narrow range
        shown = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    axes.set_yticks(shown)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - value:.4g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(axis="y", alpha=0.3)


def thousands(axes: Axes) -> None:
    """Label the x axis with whole numbers as 7,500."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
