"""Both reports of a summary, and what stands in a section of either."""

from __future__ import annotations

import re

from search.report.terminal import markdown_report, terminal_report
from tests.search.made_up_summaries import SUMMARIES


def reports(name: str) -> tuple[str, str]:
    return terminal_report(SUMMARIES[name]), markdown_report(SUMMARIES[name])


def section(text: str, title: str) -> list[list[str]]:
    """The cells of every line below a heading of either report, up to the next empty line."""
    lines = text.replace("\n\n|", "\n|").splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip("# ") == title and line[:1] != " ")
    block = lines[start + 1 :][: lines[start + 1 :].index("")]
    return [re.split(r" {2,}|\s*\|\s*", line.strip(" |")) for line in block]


def winner_rows(text: str) -> dict[str, str]:
    """What either report says of the winner, by name; lines that the terminal broke joined again."""
    found: dict[str, str] = {}
    for name, *rest in (row for row in section(text, "Winner") if row[0].strip("-")):
        if rest:
            found[name] = " ".join(rest)
        elif found:
            found[list(found)[-1]] += f" {name}"
    return found
