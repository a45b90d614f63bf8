"""Figures as SVG text: the same every time, readable without colours, with text that stays text."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's, which colour-blind readers tell apart.
ORANGE, BLUE, GREY = "#D55E00", "#0072B2", "#999999"


def svg(title: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """What `draw` puts on one pair of axes. title: for readers who do not see it; size: in inches."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "search", "font.size": 10}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        # Without the date, which would make another file every time.
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    return text.getvalue()
