"""Draw figures as SVG or PNG.

A figure is reproducible byte by byte and readable without colours; text in an SVG remains text.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from search.report.fonts import FONT, fallback_families

# The palette of Okabe and Ito, whose colours colour-blind readers can distinguish.
ORANGE, BLUE, GREEN, PURPLE, YELLOW, GREY = "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#B8860B", "#8C8C8C"
# Placeholder for the text colour of the page; no other element has this colour.
_INK = "#0a0b0c"
# A dollar sign in a name is no formula.
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_INK_STYLE = dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "legend.labelcolor"), _INK
)

Draw = Callable[[Axes], None]
# Left edge, lower edge, width and height of the axes, as shares of the figure.
Frame = tuple[float, float, float, float]


def svg(title: str, size: tuple[float, float], draw: Draw) -> str:
    """Return the drawing of `draw` on one pair of axes as the text of an SVG file.

    title  name of the figure for screen readers
    size   width and height in inches
    """
    # The date is left out, as it would change the file every time.
    return _saved(size, draw, {"svg.hashsalt": title}, format="svg", metadata={"Date": None, "Title": title}).decode()


def inline_svg(title: str, size: tuple[float, float], draw: Draw) -> str:
    """Return the figure as an element of an HTML page, with the width and the text colour of its surroundings."""
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    style = {**_INK_STYLE, "svg.hashsalt": title}
    text = _saved(size, draw, style, format="svg", metadata=no_metadata, transparent=True).decode()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # A page has many figures and ids must be unique, so only ids that are referenced, which differ, are kept.
    text = re.sub(r' id="([^"]+)"', lambda match: match[0] if f"#{match[1]}" in text else "", text)
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None  # matplotlib always writes one
    head = f'<svg role="img" aria-label="{escape(title)}" {view_box[0]} xmlns:xlink="http://www.w3.org/1999/xlink">'
    return head + text[text.index(">") + 1 :]


def png(size: tuple[float, float], draw: Draw, frame: Frame | None = None) -> bytes:
    """Return the figure as a PNG with a white background.

    size   width and height in inches
    frame  position of the axes; if it is None, it is computed, which takes as long as drawing
    """
    # Fast compression, as a study has two such pictures per trial.
    fast_compression = {"compress_level": 1}
    return _saved(
        size, draw, {}, frame, format="png", dpi=110, metadata={"Software": None}, pil_kwargs=fast_compression
    )


def _saved(
    size: tuple[float, float], draw: Draw, style: Mapping[str, Any], frame: Frame | None = None, **options: Any
) -> bytes:
    settings: Any = {**_STYLE, **style}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Text in an SVG remains text, for which the browser has a font.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from|Matplotlib currently does not support")
        figure = Figure(figsize=size, layout=None if frame else "constrained")
        draw(figure.add_axes(frame) if frame else figure.add_subplot())
        if options["format"] != "svg":
            _add_fonts(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def _add_fonts(figure: Figure) -> None:
    """Let installed fonts draw the characters that the font of the figures lacks."""
    texts = [artist for artist in figure.findobj(Text) if isinstance(artist, Text)]
    families = fallback_families("".join(text.get_text() for text in texts))
    for text in texts if families else []:
        text.set_fontfamily([FONT, *families])


def error(accuracy: float | None) -> float:
    """Return the error in percent, at least 0.01, as it is shown on a logarithmic scale."""
    return max(100 * (1 - (accuracy or 0.0)), 0.01)


def accuracy_scale(axes: Axes) -> None:
    """Give the y axis of errors a logarithmic scale that is labelled with accuracies.

    The scale is logarithmic because accuracies are close together near 100 %.
    """
    if not math.isfinite(axes.dataLim.y0):
        axes.set_ylim(0.1, 10)  # the figure has no data
    axes.set_yscale("log")
    axes.invert_yaxis()
    low, high = sorted(axes.get_ylim())
    steps = [1, 1.5, 2, 3, 4, 5, 7] if high / low < 30 else [1, 3]
    ticks = [step * 10.0**power for power in range(-2, 2) for step in steps]
    visible_ticks = [tick for tick in ticks if low <= tick <= high]
    if len(visible_ticks) < 3:  # the range is narrow
        visible_ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    axes.set_yticks(visible_ticks)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - value:.4g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(axis="y", alpha=0.3)


def whole_numbers(axes: Axes) -> None:
    """Set ticks of the x axis at whole numbers, a single one if the axis shows a single number."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def thousands(axes: Axes) -> None:
    """Label the x axis with whole numbers with thousands separators, such as 7,500."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
