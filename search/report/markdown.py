"""Write report.md, which adds the layers and recipe of the winner, the method and caveats to the terminal report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.cost import compute_cost
from search.report.architecture import layer_table, legend
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
    command_line,
    headline,
    method_lines,
    proposal_lines,
    recipe_facts,
    top_align,
    top_columns,
    top_rows,
    unsearched,
    winner_facts,
)
from search.report.summary import StudySummary
from search.study.trials import TrialRecord
from search.text import markdown_table, percent

N_IMPORTANCES = 15
IMPORTANCE_RULE = (
    "Importance: how far the values of the better trials differ from those of all (PED-ANOVA), as a share of all "
    "dimensions together. Where the sampler tried little, little can show."
)
CORRELATION_RULE = (
    "Spearman's, between the accuracy after that epoch and after the last, over the finished trials. Trials that were "
    "stopped early are missing; with them it would probably be higher."
)


REPEAT_RULE = (
    "With one job the same kind of machine gives the same trials and values again; jobs side by side propose according "
    "to which trial ends first."
)


def markdown_report(summary: StudySummary) -> str:
    """Return the whole report in Markdown, with tables and lists only, so that it is readable as plain text."""
    first, *rest = summary.notice.splitlines() or [""]
    blocks = [
        *([f"**{first}**", *rest] if first else []),
        f"# Study {summary.name}",
        _bullets(headline(summary)),
        *([f"**{unsearched(summary)}**"] if unsearched(summary) else []),
        "## Winner",
        *(_winner_blocks(summary) if summary.winner else [NO_WINNER]),
        *_evidence_blocks(summary),
        "## Top ten",
        markdown_table(top_columns(summary), top_rows(summary), top_align(summary)) if summary.top else NO_WINNER,
        "## Hand-designed networks",
        *(
            [markdown_table(baseline_columns(summary), baseline_rows(summary), baseline_align(summary))]
            if summary.baselines
            else []
        ),
        baseline_rule(summary),
        "## Caveats",
        _bullets(summary.caveats or [NO_WINNER]),
        "## How it was measured",
        _bullets([*method_lines(summary), *proposal_lines(summary)]),
        *_progress_blocks(summary),
        *_search_blocks(summary),
        *(_detail_blocks(summary.winner) if summary.winner else []),
        "## How to repeat it",
        f"```\n{command_line(summary)}\n```",
        f"{REPEAT_RULE} All trials with all their values are in trials.csv.",
    ]
    return "\n\n".join(blocks) + "\n"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _facts_table(title: str, facts: Mapping[str, str]) -> str:
    return markdown_table((title, ""), list(facts.items()), "<<")


def _winner_blocks(summary: StudySummary) -> list[str]:
    arch = summary.winner.arch if summary.winner else None
    return [_facts_table("winner", winner_facts(summary)), f"In the architecture, {legend(arch)}."]


def _evidence_blocks(summary: StudySummary) -> list[str]:
    blocks = []
    if summary.confirmation:
        rows = contender_rows(summary.confirmation)
        blocks += ["## Confirmation", markdown_table(CONTENDER_COLUMNS, rows, CONTENDER_ALIGN)]
        blocks += [contender_rule(summary.confirmation)]
    if summary.noise:
        lines = noise_lines(summary.noise, summary.top, summary.confirmation)
        blocks += ["## Noise floor", _bullets(lines)]
    return blocks


def _progress_blocks(summary: StudySummary) -> list[str]:
    if not summary.improvements:
        return []
    rows = [(str(record.number), percent(record.value)) for record in summary.improvements]
    return ["## Best so far", markdown_table(("trial", summary.config.metric_name), rows, ">>")]


def _search_blocks(summary: StudySummary) -> list[str]:
    blocks = []
    if summary.importances:
        rows = [(name, f"{share:.3f}") for name, share in list(summary.importances.items())[:N_IMPORTANCES]]
        blocks += ["## What mattered", markdown_table(("dimension", "importance"), rows, "<>"), IMPORTANCE_RULE]
    if summary.correlations:
        rows = [(str(epoch), f"{value:.2f}") for epoch, value in summary.correlations.items()]
        blocks += [
            "## How early a result shows",
            markdown_table(("epoch", "rank correlation"), rows, ">>"),
            CORRELATION_RULE,
        ]
    return blocks


def _detail_blocks(winner: TrialRecord) -> list[str]:
    blocks: list[str] = []
    if winner.arch:
        blocks += ["## The winner's layers", f"```\n{layer_table(compute_cost(winner.arch))}\n```"]
    if winner.recipe:
        blocks += ["## The winner's recipe", _facts_table("setting", recipe_facts(winner.recipe))]
    return blocks
