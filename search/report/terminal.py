"""Show the report of a study in the terminal, and write report.html, report.md and trials.csv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from search.data.load import form_of
from search.files import write_whole
from search.report.evidence import (
    CONTENDER_ALIGN,
    CONTENDER_COLUMNS,
    contender_rows,
    contender_rule,
    noise_lines,
)
from search.report.facts import (
    NO_WINNER,
    baseline_align,
    baseline_columns,
    baseline_rows,
    baseline_rule,
    headline,
    proposal_lines,
    top_align,
    top_columns,
    top_rows,
    unsearched,
    winner_facts,
)
from search.report.html import html_report
from search.report.markdown import markdown_report
from search.report.networks.origin import origin_of
from search.report.summary import SPACE_FILE, StudySummary, summarise
from search.report.trials_csv import trials_table
from search.search_space.space_file import as_file
from search.study.trials import TrialRecord
from search.text import text_table, wrapped

__all__ = ["StudySummary", "markdown_report", "summarise", "terminal_report", "trials_table", "write_report"]


def terminal_report(summary: StudySummary) -> str:
    """Return the report of a study in at most 80 columns."""
    sections = [
        *([wrapped(f"*** {summary.notice}", hanging="    ")] if summary.notice else []),
        "\n".join(map(wrapped, (f"Study {summary.name}", *headline(summary)))),
        *([wrapped(unsearched(summary), hanging="")] if unsearched(summary) else []),
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
        sections.append(wrapped(contender_rule(summary.confirmation), indent="  ", hanging=""))
    if summary.noise:
        lines = noise_lines(summary.noise, summary.top, summary.confirmation)
        sections.append(_section("Noise floor", [wrapped(line, indent="  ") for line in lines]))
    return sections


def _top_lines(summary: StudySummary) -> list[str]:
    """Return the table of the best trials with two lines a trial, as it has to fit in 80 columns."""
    columns = [name.replace("balanced accuracy", "balanced") for name in top_columns(summary)[:-1]]
    origins = [origin_of(record) for record in summary.top]
    rows = [(*row[:-2], origin.kind) for row, origin in zip(top_rows(summary), origins, strict=True)]
    header, *lines = _table_lines(columns, rows, top_align(summary)[:-1])
    table = [header]
    for line, row, origin in zip(lines, top_rows(summary), origins, strict=True):
        words = f"{origin.detail}: {row[-1]}" if origin.detail else row[-1]
        table += [line, wrapped(words, indent=" " * 8)]
    return table


def _baseline_sections(summary: StudySummary) -> list[str]:
    title, rule = "Hand-designed networks", baseline_rule(summary)
    if not summary.baselines:
        return [_section(title, [f"  {rule}"])]
    table = _table_lines(baseline_columns(summary), baseline_rows(summary), baseline_align(summary))
    return [_section(title, table), wrapped(rule, indent="  ", hanging="")]


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
    if summary.config.dimensions and not (folder / SPACE_FILE).is_file():
        # The command that repeats the study names this file.
        write_whole(folder / SPACE_FILE, as_file(summary.config))
    write_whole(folder / "report.html", html_report(summary, records, folder, classes))
    write_whole(folder / "report.md", markdown_report(summary))
    write_whole(folder / "trials.csv", trials_table(records, summary.config).to_csv(index=False))
