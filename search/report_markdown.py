"""report.md: everything the terminal shows, the winner's layers and recipe, the method, and what to doubt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from models.cost import compute_cost
from search.config import RecipeConfig
from search.describe import LEGEND, layer_table, percent
from search.report_parts import (
    BASELINE_ALIGN,
    BASELINE_COLUMNS,
    BASELINE_RULE,
    NO_WINNER,
    TOP_ALIGN,
    TOP_COLUMNS,
    baseline_rows,
    epoch_rule,
    headline,
    proposal_lines,
    top_rows,
    winner_facts,
)
from search.summary import StudySummary
from search.trials import TrialRecord

_SCORED = {
    "test": "Every network is trained on all training images and scored on the test set after every epoch; the test "
    "set chose the winner.",
    "val": "Every network is trained without the held-out validation images and scored on these after every epoch; "
    "the test set had no part in the search.",
}


def markdown_report(summary: StudySummary) -> str:
    """The whole report; tables and lists only, so that it reads as plain text too."""
    first, *rest = summary.notice.splitlines() or [""]
    blocks = [
        *([f"**{first}**", *rest] if first else []),
        f"# Study {summary.name}",
        _bullets(headline(summary)),
        "## Winner",
        *(_winner_blocks(summary) if summary.winner else [NO_WINNER]),
        "## Top ten",
        _table(TOP_COLUMNS, top_rows(summary), TOP_ALIGN) if summary.top else NO_WINNER,
        "## Hand-designed networks",
        _table(BASELINE_COLUMNS, baseline_rows(summary), BASELINE_ALIGN),
        BASELINE_RULE,
        "## What to doubt",
        _bullets(summary.doubts or [NO_WINNER]),
        "## How it was measured",
        _bullets([*_method(summary), *proposal_lines(summary)]),
        *_progress_blocks(summary),
        *(_detail_blocks(summary.winner) if summary.winner else []),
        "## How to repeat it",
        f"```\n{_command(summary)}\n```",
        "With one job the same kind of machine gives the same trials and values again; jobs side by side propose "
        "according to which trial ends first. All trials with all their values are in trials.csv.",
    ]
    return "\n\n".join(blocks) + "\n"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    rule = ["---:" if side == ">" else "---" for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _facts_table(title: str, facts: Mapping[str, str]) -> str:
    return _table((title, ""), list(facts.items()), "<<")


def _winner_blocks(summary: StudySummary) -> list[str]:
    return [_facts_table("winner", winner_facts(summary)), f"In the architecture, {LEGEND}."]


def _method(summary: StudySummary) -> list[str]:
    config, winner = summary.config, summary.winner
    precision = f", in {winner.precision}" if winner and winner.precision else ""
    seed = f"; the winner's is {winner.seed}" if winner and winner.seed is not None else ""
    return [
        _SCORED[config.data.select_on],
        f"Value of a trial: {epoch_rule(config)}. One seed a trial, {config.epochs} epochs{precision}.",
        f"The study's seed is {config.seed}, from which each trial has a training seed of its own{seed}.",
        f"Sampler {config.sampler}, pruner {config.pruner}.",
    ]


def _progress_blocks(summary: StudySummary) -> list[str]:
    if not summary.improvements:
        return []
    rows = [(str(record.number), percent(record.value)) for record in summary.improvements]
    return ["## Best so far", _table(("trial", "accuracy"), rows, ">>")]


def _detail_blocks(winner: TrialRecord) -> list[str]:
    blocks: list[str] = []
    if winner.arch:
        blocks += ["## The winner's layers", f"```\n{layer_table(compute_cost(winner.arch))}\n```"]
    if winner.recipe:
        blocks += ["## The winner's recipe", _facts_table("setting", _recipe_facts(winner.recipe))]
    return blocks


def _recipe_facts(recipe: RecipeConfig) -> dict[str, str]:
    """Every setting, and of the augmentation what is on."""
    schedule = asdict(recipe.schedule) | {"epochs": recipe.schedule.epochs or recipe.epochs}
    values = asdict(recipe) | {"schedule": schedule, "augmentation": recipe.augmentation.to_dict()}
    return {name.replace("_", " "): _setting(value) for name, value in values.items()}


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_setting(item)}" for name, item in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _command(summary: StudySummary) -> str:
    """The command line of the study, under a new name: its own would go on with it."""
    own = {"trials": summary.counts.feasible or None, "study": f"{summary.name}-again", "jobs": 1}
    options = summary.config.settings() | own
    words = [f"--{name.replace('_', '-')} {value}" for name, value in options.items() if value is not None]
    return " ".join(["python search.py", *words])
