"""report.html: the whole study on one page, with nothing outside it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes

from search.errors import InputError
from search.report.caveats import SELECTED_ON
from search.report.evidence import CONTENDER_COLUMNS, CONTENDER_RULE, contender_rows, interval, noise_lines, points
from search.report.facts import (
    BASELINE_COLUMNS,
    BASELINE_RULE,
    NO_BASELINES,
    baseline_rows,
    command_line,
    headline,
    method_lines,
    proposal_lines,
    recipe_facts,
    top_columns,
    top_rows,
    winner_facts,
)
from search.report.images import tiles
from search.report.markdown import CORRELATION_RULE, IMPORTANCE_RULE
from search.report.network_figures import draw_architecture, draw_confusion, draw_parameters, parts
from search.report.plot import inline_svg
from search.report.study_figures import draw_accuracy, draw_best_so_far, draw_curves, draw_importances
from search.report.summary import StudySummary
from search.study.card import MISREAD
from search.study.trials import TrialRecord
from search.text import percent

N_CURVES = 5
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption. wide: it may be wider than a phone, and is then scrolled."""

    svg: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Tile:
    """A misread image as a data URI, what it shows and what it was taken for."""

    uri: str
    label: str
    answer: str
    index: int


def html_report(summary: StudySummary, records: Sequence[TrialRecord], folder: Path, classes: Sequence[str]) -> str:
    """Return the page. folder: the study's, with the exported winner if there is one. classes: their names."""
    config, winner = summary.config, summary.winner
    return _TEMPLATES.get_template("report.html").render(
        summary=summary,
        headline=headline(summary),
        result=_result(summary),
        facts=winner_facts(summary),
        figures=_figures(summary, records, classes),
        tiles=_tiles(summary, folder, classes),
        contenders=contender_rows(summary.confirmation) if summary.confirmation else [],
        contender_columns=CONTENDER_COLUMNS,
        contender_rule=CONTENDER_RULE,
        noise=noise_lines(summary.noise, summary.top, summary.confirmation) if summary.noise else [],
        top=top_rows(summary),
        top_columns=top_columns(summary),
        baselines=baseline_rows(summary),
        baseline_columns=BASELINE_COLUMNS,
        baseline_rule=BASELINE_RULE if summary.baselines else NO_BASELINES,
        metric=config.metric_name,
        recipe=recipe_facts(winner.recipe) if winner and winner.recipe else {},
        method=[*method_lines(summary), *proposal_lines(summary)],
        importance_rule=IMPORTANCE_RULE,
        correlation_rule=CORRELATION_RULE,
        command=command_line(summary),
        selected_on=SELECTED_ON[config.data.select_on],
    )


def _result(summary: StudySummary) -> dict[str, str]:
    """Return the few figures at the head of the page, with their meaning; empty without a winner."""
    winner, found = summary.winner, summary.confirmation
    if winner is None:
        return {}
    metric = summary.config.metric_name
    selected = f"selected on {SELECTED_ON[summary.config.data.select_on]}"
    if found is None:
        accuracy = {percent(winner.value): f"{metric} of one seed, {selected}; not confirmed"}
    else:
        seeds = f"mean test {metric}, n = {found.accuracy.n} fresh seeds, {interval(found.accuracy)}, {selected}"
        accuracy = {percent(found.accuracy.mean): seeds}
    size = {f"{winner.n_params or 0:,}": f"parameters, of at most {summary.config.max_params:,}"}
    if found is None or found.comparison is None:
        return accuracy | size
    other = found.comparison
    against = f"points against {other.baseline}, the best hand-designed network, {interval(other.difference)}"
    return accuracy | size | {points(other.difference.mean): against}


def _figures(summary: StudySummary, records: Sequence[TrialRecord], classes: Sequence[str]) -> Mapping[str, Figure]:
    """Return the figures by name, those that have something to show."""
    found: dict[str, Figure] = {}
    winner, mistakes = summary.winner, summary.mistakes
    if winner is None:
        return found
    limit, metric = summary.config.max_params, summary.config.metric
    accuracy = summary.config.metric_name.capitalize()

    def add(name: str, title: str, size: tuple[float, float], draw: Callable[[Axes], Any], wide: bool = False) -> None:
        found[name] = Figure(inline_svg(title, size, draw), title, wide)

    title = f"{accuracy} against parameters, within the budget of {limit:,}"
    add("accuracy", title, (5.4, 4.8), lambda axes: draw_accuracy(axes, summary, records))
    title = "Value of every trial and the best so far; stopped and refused ones marked"
    add("best_so_far", title, (5.4, 4), lambda axes: draw_best_so_far(axes, records, metric))
    curves = {f"trial {record.number}": record.curve for record in summary.top[:N_CURVES]}
    title = f"{accuracy} after every epoch of the {len(curves)} best trials"
    add("curves", title, (5.4, 4), lambda axes: draw_curves(axes, curves, metric))
    if winner.arch:
        arch = winner.arch
        shown = parts(arch)
        title = (
            f"The winner from left to right, {len(shown)} layers and blocks: boxes as high as their maps; the orange "
            f"funnel is the receptive field (RF), which grows from 1 to {shown[-1].rf} pixels; numbers below: "
            "channels × side², parameters"
        )
        add("architecture", title, (10.5, 3.4), lambda axes: draw_architecture(axes, arch), wide=True)
        add("parameters", "Where the parameters sit", (5.4, 4.6), lambda axes: draw_parameters(axes, arch))
    if mistakes:
        title = f"What the {mistakes.n_wrong} misread images show and were taken for; on the right accuracy by class"
        add("confusion", title, (5.2, 4.6), lambda axes: draw_confusion(axes, mistakes, classes))
    if summary.importances:
        title = "Which dimensions mattered"
        add("importances", title, (5.4, 4), lambda axes: draw_importances(axes, summary.importances))
    return found


def _tiles(summary: StudySummary, folder: Path, classes: Sequence[str]) -> list[Tile]:
    path, mistakes, winner = folder / "winner" / MISREAD, summary.mistakes, summary.winner
    if not mistakes or not winner or not winner.arch or not path.is_file():
        return []
    _, height, width = winner.arch.input_shape
    try:
        pictures = tiles(path.read_bytes(), len(mistakes.misread), height, width)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow has to say of a damaged file
        raise InputError(f"{path} is damaged; move {path.parent} away and export again") from error
    return [
        Tile(_data_uri(picture), classes[one.label], classes[one.answer], one.index)
        for picture, one in zip(pictures, mistakes.misread, strict=True)
    ]


def _data_uri(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
