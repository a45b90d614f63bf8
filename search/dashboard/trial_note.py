"""Write the dashboard note of a trial in Markdown: its outcome, network, curve and recipe.

The dashboard marks both refused and stopped trials as pruned, so the first words of the note state which it was. The
constraints in Optuna's old format, the only ones that the dashboard reads, would not help: the dashboard shows them for
completed trials only, and a sampler would count each excess twice.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.spec import ArchSpec
from search.config import SearchConfig
from search.report.architecture import architecture_line, legend
from search.report.facts import count, parameters_of, recipe_facts
from search.report.network_figures import Part, parts
from search.report.networks.of_trial import network_of
from search.report.networks.origin import origin_of
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TrialRecord
from search.text import counted, markdown_table, parameter_count, percent

# Of a longer curve, only every second, third, ... epoch and the last one are shown.
MAX_EPOCHS_SHOWN = 15
BAR_WIDTH = 20
RECIPE = ("optimizer", "lr", "weight decay", "schedule", "batch size", "label smoothing", "augmentation")


def trial_note(record: TrialRecord, config: SearchConfig, remark: str = "") -> str:
    """Return the note of a trial that has ended; its first words state the outcome.

    remark is a sentence about this trial in particular, for example that it is the winner.
    """
    arch = network_of(record, config)
    blocks = [
        _outcome(record, config),
        *([remark] if remark else []),
        *_fact_blocks(record, config),
        *(_network_blocks(arch) if arch else []),
        *_curve_blocks(record.curve),
        *(["**Recipe**", _recipe_table(record.recipe)] if record.recipe else []),
        *([f"In the network's line, {legend(arch)}."] if arch else []),
    ]
    return fitted("\n\n".join(blocks), break_lines=True)


def _outcome(record: TrialRecord, config: SearchConfig) -> str:
    reason = _sentence(record.reason)
    n_epochs = len(record.curve)
    if record.outcome == FINISHED:
        trained = f", trained for {counted(n_epochs, 'epoch')}" if n_epochs else ""
        metric_words = "" if config.metric == "accuracy" else f" {config.metric_name}"
        return f"**Finished: {percent(record.value)}{metric_words}**{trained}, {parameters_of(record, ' parameters')}."
    if record.is_outside_space:
        return f"**Refused: outside the space.** {reason} It was neither counted nor trained."
    if record.outcome == REFUSED:
        treatment = (
            "counted, neither built nor trained" if record.latency_ms is None else "built and timed, not trained"
        )
        return f"**Refused: {_limit(record, config)}.** {reason} It was {treatment}."
    if record.outcome == STOPPED:
        after = f" after epoch {n_epochs} of {config.epochs}" if n_epochs else ""
        return f"**Stopped early{after}.** {reason}"
    if record.outcome == DIVERGED:
        return f"**Diverged.** {reason}"
    if record.outcome == REPEATED:
        earlier = f"[trial {record.repeats}](?numbers={record.repeats})"
        consequence = f"has its value, {percent(record.value)}," if record.value is not None else "shares its fate"
        return f"**Repeats {earlier}.** The same network and recipe, so it {consequence} without training."
    return "**Interrupted.** It ended before it had a result."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _limit(record: TrialRecord, config: SearchConfig) -> str:
    """Return the limit that the network exceeds, in words."""
    if record.n_params is None or record.n_params > config.max_params:
        return "over budget"
    return "over a limit"


def _network_blocks(arch: ArchSpec) -> list[str]:
    cost = compute_cost(arch)
    network_parts = parts(arch)
    largest = max(part.n_params for part in network_parts)
    rows = [_part_row(part, largest) for part in network_parts]
    n_params = parameter_count(cost.n_params, cost.n_stored, "")
    totals = ("**in total**", "", f"**{cost.receptive_field}**", f"**{n_params}**", "")
    table = markdown_table(("layer", "output", "RF", "parameters", ""), [*rows, totals], "<>>><")
    return [f"**Network** `{architecture_line(arch)}`", table]


def _part_row(part: Part, largest: int) -> tuple[str, ...]:
    shape = f"{part.channels} × {part.side} × {part.width}"
    if not part.n_params:
        return part.kind, shape, str(part.rf), "", ""
    return (
        part.kind,
        shape,
        str(part.rf),
        f"{part.n_params:,}",
        f"`{'█' * max(1, round(BAR_WIDTH * part.n_params / largest))}`",
    )


def _curve_blocks(curve: Sequence[Mapping[str, Any]]) -> list[str]:
    if not curve:
        return []
    step = -(-len(curve) // MAX_EPOCHS_SHOWN)
    epochs = [epoch for i, epoch in enumerate(curve, start=1) if i == len(curve) or i % step == 0]
    is_balanced = all("balanced_accuracy" in epoch for epoch in epochs)
    values = [f"{100 * epoch['balanced_accuracy']:.2f}" for epoch in epochs] if is_balanced else []
    balanced = [("balanced accuracy, %", *values)] if values else []
    rows = [
        ("accuracy, %", *(f"{100 * epoch['accuracy']:.2f}" for epoch in epochs)),
        *balanced,
        ("on training images, %", *(f"{100 * epoch['train_accuracy']:.2f}" for epoch in epochs)),
    ]
    table = markdown_table(("epoch", *(str(epoch["epoch"]) for epoch in epochs)), rows, "<" + ">" * len(epochs))
    return ["**Curve**", table]


def _fact_blocks(record: TrialRecord, config: SearchConfig) -> list[str]:
    facts: dict[str, str] = {}
    if record.n_params is not None:
        facts["parameters"] = f"{parameters_of(record)}, {_budget_distance(record.n_params, config.max_params)}"
    facts |= {"MACs": count(record.macs)} if record.macs is not None else {}
    if record.peak_activation_bytes is not None:
        facts["peak of activations"] = f"{record.peak_activation_bytes:,} bytes"
    facts |= {"latency": f"{record.latency_ms:.3g} ms"} if record.latency_ms is not None else {}
    facts["origin"] = str(origin_of(record))
    facts |= {"seed": str(record.seed)} if record.seed is not None and record.recipe else {}
    facts |= {"training": f"{record.seconds:.0f} s"} if record.seconds is not None else {}
    return [_table(facts)] if facts else []


def _budget_distance(n_params: int, budget: int) -> str:
    side = "over" if n_params > budget else "below"
    return f"{abs(budget - n_params):,} {side} the budget of {budget:,}"


def _recipe_table(recipe: RecipeConfig) -> str:
    """Return a table of the settings that the search varies and of the kind of schedule.

    The other settings are in the attribute `recipe` of the trial.
    """
    facts = recipe_facts(recipe) | {"schedule": recipe.schedule.kind}
    return _table({name: facts[name] for name in RECIPE})


def _table(facts: Mapping[str, str]) -> str:
    """Return a table with one column per fact, as the page is wider than high."""
    return markdown_table(list(facts), [list(facts.values())], "<" * len(facts))


CODE_LENGTH = 110
# Text is longer than code, as its letters are narrower.
TEXT_LENGTH = 130
# A cell of at most this length is kept on one line.
CELL_LENGTH = 30
_GAP = "\u00a0\u00a0"


def fitted(markdown: str, *, break_lines: bool = False) -> str:
    """Return Markdown with wider gaps between table columns and with code broken after at most CODE_LENGTH columns.

    break_lines also breaks lines of text, for pages that are wider than the window, such as that of a trial with
    long attributes.
    """
    lines = []
    in_code = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            in_code = not in_code
            lines.append(line)
        elif in_code:
            lines += _code_lines(line)
        elif line.startswith("|"):
            lines.append(_table_row(line))
        else:
            lines += _text_lines(line) if break_lines else [line]
    return "\n".join(lines) + "\n"


def _table_row(line: str) -> str:
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if all(set(cell) <= set("-:") and cell for cell in cells):
        return line
    cells = [cell.replace(" ", "\u00a0") if len(cell) <= CELL_LENGTH else cell for cell in cells]
    return f"| {' | '.join(f'{cell}{_GAP}' for cell in cells)} |"


def _code_lines(line: str) -> list[str]:
    """Return a command as lines that a shell reads as one command."""
    pieces = textwrap.wrap(
        line, CODE_LENGTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    if len(line) <= CODE_LENGTH or not pieces:
        return [line]
    return [*(f"{piece} \\" for piece in pieces[:-1]), pieces[-1]]


def _text_lines(line: str) -> list[str]:
    pieces = textwrap.wrap(line, TEXT_LENGTH, break_long_words=False, break_on_hyphens=False) or [line]
    return [*(f"{piece}  " for piece in pieces[:-1]), pieces[-1]]  # two spaces at the end are a line break in Markdown
