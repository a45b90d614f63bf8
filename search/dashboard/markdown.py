"""Markdown made to fit the dashboard, which sets table cells side by side without a gap and breaks no line of code."""

from __future__ import annotations

import textwrap

CODE_LENGTH = 110
# The letters of text are narrower.
TEXT_LENGTH = 130
# A shorter cell is not broken.
CELL_LENGTH = 30
_GAP = "\u00a0\u00a0"


def fitted(markdown: str, *, break_lines: bool = False) -> str:
    """Gaps between the columns of tables, and code in lines of at most CODE_LENGTH columns.

    break_lines: other lines too, where the page is wider than the window, as that of a trial with long attributes.
    """
    lines = []
    in_code = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            in_code = not in_code
            lines.append(line)
        elif in_code:
            lines += _code(line)
        elif line.startswith("|"):
            lines.append(_table_row(line))
        else:
            lines += _text(line) if break_lines else [line]
    return "\n".join(lines) + "\n"


def _table_row(line: str) -> str:
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if all(set(cell) <= set("-:") and cell for cell in cells):
        return line
    cells = [cell.replace(" ", "\u00a0") if len(cell) <= CELL_LENGTH else cell for cell in cells]
    return f"| {' | '.join(f'{cell}{_GAP}' for cell in cells)} |"


def _code(line: str) -> list[str]:
    """A long command goes on in the next line, as a shell reads it."""
    found = textwrap.wrap(
        line, CODE_LENGTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    if len(line) <= CODE_LENGTH or not found:
        return [line]
    return [*(f"{part} \\" for part in found[:-1]), found[-1]]


def _text(line: str) -> list[str]:
    found = textwrap.wrap(line, TEXT_LENGTH, break_long_words=False, break_on_hyphens=False) or [line]
    return [*(f"{part}  " for part in found[:-1]), found[-1]]  # two spaces: a break that stays
