"""Format numbers, tables and paragraphs as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

TEXT_WIDTH = 80


def percent(accuracy: float | None) -> str:
    """Return an accuracy in percent, for example "99.47 %" for 0.9947; "-" for None."""
    return "-" if accuracy is None else f"{100 * accuracy:.2f} %"


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 trial" or "1,000 trials".

    plural: plural of the noun, by default the noun with an s.
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units, for example "5 h 12 min", "2 min 10 s" or "45 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def parameter_count(n_params: int, n_stored: int, noun: str = " parameters") -> str:
    """Return a number of parameters, with the count layer by layer beside it if layers share weights.

    For example "6,829 parameters", or "7,895 parameters, 22,943 counted layer by layer".
    """
    layer_by_layer = f", {n_stored:,} counted layer by layer" if n_stored != n_params else ""
    return f"{n_params:,}{noun}{layer_by_layer}"


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Return a table with columns two spaces apart; `align` has one character for each column, "<" or ">"."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    layout = "  ".join(f"{{:{side}{width}}}" for side, width in zip(align, widths, strict=True))
    return "\n".join(layout.format(*line).rstrip() for line in lines)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Return a table in Markdown; `align` is as in text_table."""
    rule = ["---:" if side == ">" else "---" for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def wrapped(text: str, indent: str = "", hanging: str = "  ") -> str:
    """Wrap a text at TEXT_WIDTH columns; the first line starts with `indent`, the others with `indent + hanging`."""
    # textwrap breaks at ASCII spaces only, so a no-break space keeps the percent sign beside its number.
    text = text.replace(" %", "\u00a0%")
    lines = textwrap.fill(
        text, TEXT_WIDTH, initial_indent=indent, subsequent_indent=indent + hanging, break_on_hyphens=False
    )
    return lines.replace("\u00a0", " ")
