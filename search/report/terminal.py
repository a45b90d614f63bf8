"""Show the report of a study in the terminal, and write report.html, report.md and trials.csv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from search.data.load import form_of
from search.files import write_whole
from search.report.evidence import (
    CONTENDER_ALIGN,
    CONTENDER_COLUMNS,
    CONTENDER_RULE,
    contender_rows,
    noise_lines,
)
from search.report.facts import (
    BASELINE_ALIGN,
    BASELINE_COLUMNS,
    BASELINE_RULE,
    NO_BASELINES,
    NO_WINNER,
    baseline_rows,
    headline,
    proposal_lines,
    top_align,
    top_columns,
    top_rows,
    winner_facts,
)
from search.report.html import html_report
from search.report.markdown import markdown_report
from search.report.summary import StudySummary, summarise
from search.report.trials_csv import trials_table
from search.study.trials import TrialRecord
from search.text import text_table, wrapped

__all__ = ["StudySummary", "markdown_report", "summarise", "terminal_report", "trials_table", "write_report"]


def terminal_report(summary: StudySummary) -> str:
    """Return the report of a study in at most 80 columns."""
    sections = [
        *([wrapped(f"*** {summary.notice}", hanging="    ")] if summary.notice else []),
        "\n".join(map(wrapped, (f"Study {summary.name}", *headline(summary)))),
        _section("Winner", _winner_lines(summary)),
        *_evidence_sections(summary),
        *([_section("Top ten", _top_lines(summary))] if summary.top else []),
        *_baseline_sections(summary),
        _section("Proposals", [wrapped(line, indent="  ") for line in proposal_lines(summary)]),
    ]
    return "\n\n".join(sections)


def _evidence_sections(summary: StudySummary) -> list[str]:
    sections = []
    if summary.confirmation:
        rows = contender_rows(summary.confirmation)
        sections.append(_section("Confirmation", _table_lines(CONTENDER_COLUMNS, rows, CONTENDER_ALIGN)))
        sections.append(wrapped(CONTENDER_RULE, indent="  ", hanging=""))
    if summary.noise:
        lines = noise_lines(summary.noise, summary.top, summary.confirmation)
        sections.append(_section("Noise floor", [wrapped(line, indent="  ") for line in lines]))
    return sections


def _top_lines(summary: StudySummary) -> list[str]:
    # Shortened, as the table has to fit in 80 columns.
    columns = [name.replace("balanced accuracy", "balanced") for name in top_columns(summary)]
    return _table_lines(columns, top_rows(summary), top_align(summary))


def _baseline_sections(summary: StudySummary) -> list[str]:
    title = "Hand-designed networks"
    if not summary.baselines:
        return [_section(title, [f"  {NO_BASELINES}"])]
    table = _table_lines(BASELINE_COLUMNS, baseline_rows(summary), BASELINE_ALIGN)
    return [_section(title, table), wrapped(BASELINE_RULE, indent="  ", hanging="")]


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join((title, *lines))


def _winner_lines(summary: StudySummary) -> list[str]:
    facts = winner_facts(summary)
    if not facts:
        return [f"  {NO_WINNER}"]
    width = max(map(len, facts)) + 2
    return [wrapped(f"{name:{width}}{value}", indent="  ", hanging=" " * width) for name, value in facts.items()]


def _table_lines(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> list[str]:
    return [f"  {line}" for line in text_table(header, rows, align).splitlines()]


REPORT_FILES = ("report.html", "report.md", "trials.csv")


def write_report(summary: StudySummary, records: Sequence[TrialRecord], folder: Path) -> None:
    """Write the files of REPORT_FILES to `folder`, which is created if it is missing.

    Each file is replaced as a whole, so an interrupted run leaves either the old or the new file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes = form_of(summary.config.data).classes
    write_whole(folder / "report.html", html_report(summary, records, folder, classes))
    write_whole(folder / "report.md", markdown_report(summary))
    write_whole(folder / "trials.csv", trials_table(records).to_csv(index=False))
