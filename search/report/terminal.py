"""A study's report: text for the terminal, report.html, report.md, and trials.csv with one row a trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from search.config import METRICS
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
from search.study.trials import TrialRecord
from search.text import text_table, wrapped
from space import DIMENSIONS

__all__ = ["StudySummary", "markdown_report", "summarise", "terminal_report", "trials_table", "write_report"]

_DTYPES = {int: "Int64", float: "Float64", bool: "boolean", str: "string"}
_COLUMNS = {
    "number": int,
    "index": int,
    "outcome": str,
    "reason": str,
    "value": float,
    "n_params": int,
    "macs": int,
    "receptive_field": int,
    "peak_activation_bytes": int,
    "latency_ms": float,
    "seconds": float,
    "seed": int,
    "precision": str,
    "engine": str,
    "baseline": str,
    "start": str,
    "repeats": int,
    "origin": str,
}


def terminal_report(summary: StudySummary) -> str:
    """The study in at most 80 columns."""
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
    # There is no room for more.
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


def trials_table(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """One row a trial: its facts, then the value of every dimension that was searched.

    What a trial does not have is missing. Both accuracies after the last trained epoch are there where classes are
    imbalanced or the search maximised another than accuracy.
    """
    rows = [{**vars(record), "reason": record.reason or None} for record in records]
    columns = {name: _column([row[name] for row in rows], kind) for name, kind in _COLUMNS.items()}
    last_epochs = [row["curve"][-1] if row["curve"] else {} for row in rows]
    columns["last_train_accuracy"] = _column([epoch.get("train_accuracy") for epoch in last_epochs], float)
    if any("balanced_accuracy" in epoch for epoch in last_epochs):
        for name in METRICS:
            columns[f"last_{name}"] = _column([epoch.get(name) for epoch in last_epochs], float)
    # A study of an older space has no column for what was not searched then.
    searched = {name for row in rows for name in row["params"]}
    for dimension in DIMENSIONS:
        if searched and dimension.name not in searched:
            continue
        values = [row["params"].get(dimension.name) for row in rows]
        columns[dimension.name] = _column(values, type(dimension.default))
    return pd.DataFrame(columns)


def _column(values: list[object], kind: type) -> pd.api.extensions.ExtensionArray:
    # Types that know missing values: an n_params that one trial lacks does not turn all others into 7496.0.
    return pd.array(values, dtype=_DTYPES[kind])


def write_report(summary: StudySummary, records: Sequence[TrialRecord], folder: Path) -> None:
    """Write report.html, report.md and trials.csv; each is the old one or the new one, never a part."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = form_of(summary.config.data).classes
    write_whole(folder / "report.html", html_report(summary, records, folder, classes))
    write_whole(folder / "report.md", markdown_report(summary))
    write_whole(folder / "trials.csv", trials_table(records).to_csv(index=False))
