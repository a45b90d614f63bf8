"""Write the docstring of an exported model.py: target, result, analysis and layer table."""

from __future__ import annotations

import textwrap

from models.baselines import BASELINES
from models.cost import Cost, compute_cost
from models.layer_cost import LayerCost
from search.config import words_of
from search.data.dataset import Dataset
from search.export.trained_model import SPLIT_NAMES, ModelSource
from search.text import parameter_count

# Prose is easier to read in shorter lines than code.
TEXT_WIDTH = 100


def model_docstring(source: ModelSource, data: Dataset) -> str:
    """Return the docstring of the exported file as a literal, quotes included."""
    cost = compute_cost(source.arch)
    size = parameter_count(cost.n_params, cost.n_stored)
    sections = {
        "Target": _target(source, data),
        "Result": " ".join(filter(None, (f"{size}; {source.result}.", source.evidence, source.selection_note))),
        "Analysis": _analysis(source, cost),
    }
    paragraphs = [f"{title}\n{_paragraph(text)}" for title, text in sections.items()]
    title = f"An image classifier for {data.name} with {size}."
    text = "\n\n".join([title, *paragraphs, _layer_table(cost)])
    # The name of a data set may be a path: its quotes and backslashes must neither end the literal nor escape anything.
    return '"""' + text.replace("\\", "\\\\").replace('"', '\\"') + '\n"""'


def _target(source: ModelSource, data: Dataset) -> str:
    epochs = f"{source.epochs} epoch{'s' if source.epochs > 1 else ''}"
    if source.network:
        baseline = BASELINES[source.network]
        return f"{baseline.title} ({baseline.id}), designed by hand; trained on {data.name} for {epochs}."
    return (
        f"At most {source.max_params:,} parameters; training on {data.name} for at most {epochs}; "
        f"the search maximised {words_of(source.metric)} on {SPLIT_NAMES[source.select_on]}."
    )


def _paragraph(text: str) -> str:
    indent = "    "
    return textwrap.fill(
        text,
        TEXT_WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _analysis(source: ModelSource, cost: Cost) -> str:
    _, height, width = source.arch.input_shape
    memory = cost.peak_activation_bytes / 1024
    heaviest = max(cost.layers, key=lambda row: row.n_params)
    last = source.curve[-1]
    gap = 100 * (last["train_accuracy"] - last["accuracy"])
    return (
        f"One image takes {cost.macs:,} multiply-adds (MACs). The largest maps that exist at once take "
        f"{memory:.1f} KiB in float32, {memory / 4:.1f} KiB in int8. "
        f"The receptive field (RF) is {cost.feature_receptive_field} pixels square before the head and "
        f"{cost.receptive_field} at the logits, of images of {height}x{width}. "
        f"Parameters by part{_sharing_note(cost)}: {_parameter_shares(cost)}; "
        f"the largest layer is {heaviest.name} with {heaviest.n_params:,}. "
        f"In the last epoch {last['train_accuracy']:.2%} of the training images were right, augmented and while "
        f"the weights moved, and {last['accuracy']:.2%} of {SPLIT_NAMES[source.scored_on]} after it: "
        f"a gap of {gap:+.2f} points."
    )


def _sharing_note(cost: Cost) -> str:
    return " (weights that layers share count once, in the first of them)" if cost.n_stored > cost.n_params else ""


def _parameter_shares(cost: Cost) -> str:
    """Return the share of the parameters in each part: "stage1 20%, stage2 73%, head 7%"."""
    parts: dict[str, int] = {}
    for row in cost.layers:
        part = row.name.split(".")[0]
        parts[part] = parts.get(part, 0) + row.n_params
    return ", ".join(f"{part} {n / cost.n_params:.0%}" for part, n in parts.items())


def _layer_table(cost: Cost) -> str:
    header = ("layer", "kind", "output", "RF", "parameters", "MACs")
    total = ("total", "", "", "", f"{cost.n_params:,}", f"{cost.macs:,}")
    rows = [header, *map(_layer_cells, cost.layers), total]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(names + numbers))
    return "\n".join(lines)


def _layer_cells(row: LayerCost) -> tuple[str, ...]:
    shape = f"{row.channels}x{row.height}x{row.width}"
    return row.name, row.kind, shape, str(row.receptive_field), f"{row.n_params:,}", f"{row.macs:,}"
