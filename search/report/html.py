"""Write report.html, a page that contains the whole study and loads no other files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes

from search.errors import InputError
from search.report.architecture import legend
from search.report.caveats import SELECTED_ON
from search.report.evidence import (
    CONTENDER_COLUMNS,
    contender_rows,
    contender_rule,
    fresh_seeds,
    interval,
    noise_lines,
    points,
)
from search.report.facts import (
    baseline_columns,
    baseline_rows,
    baseline_rule,
    command_line,
    headline,
    method_lines,
    parameters_of,
    proposal_lines,
    recipe_facts,
    top_columns,
    top_rows,
    unsearched,
    winner_facts,
)
from search.report.images import tiles
from search.report.markdown import CORRELATION_RULE, IMPORTANCE_RULE, REPEAT_RULE
from search.report.network_figures import draw_architecture, draw_confusion, draw_parameters, parts
from search.report.networks.layers import LAYER_COLUMNS, layer_rows, layer_rule
from search.report.networks.origin import kind_of_baseline
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
    """Figure of the page with its caption; if `wide`, it may be wider than a small screen and is then scrolled."""

    svg: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Tile:
    """Misread image with its true and its predicted class.

    uri     data URI of the image
    label   name of the true class
    answer  name of the predicted class
    index   index of the image in its split
    """

    uri: str
    label: str
    answer: str
    index: int


def html_report(summary: StudySummary, records: Sequence[TrialRecord], folder: Path, classes: Sequence[str]) -> str:
    """Return the text of report.html.

    folder   folder of the study, with the exported winner if there is one
    classes  names of the classes
    """
    config, winner = summary.config, summary.winner
    return _TEMPLATES.get_template("report.html").render(
        summary=summary,
        headline=headline(summary),
        unsearched=unsearched(summary),
        result=_result(summary),
        facts=winner_facts(summary),
        legend=legend(winner.arch) if winner and winner.arch else "",
        layers=layer_rows(winner.arch) if winner and winner.arch else [],
        layer_columns=LAYER_COLUMNS,
        layer_rule=layer_rule(winner.arch) if winner and winner.arch else "",
        figures=_figures(summary, records, classes),
        tiles=_tiles(summary, folder, classes),
        contenders=contender_rows(summary.confirmation) if summary.confirmation else [],
        contender_columns=CONTENDER_COLUMNS,
        contender_rule=contender_rule(summary.confirmation) if summary.confirmation else "",
        noise=noise_lines(summary.noise, summary.top, summary.confirmation) if summary.noise else [],
        top=top_rows(summary),
        top_columns=top_columns(summary),
        baselines=baseline_rows(summary),
        baseline_columns=baseline_columns(summary),
        baseline_rule=baseline_rule(summary),
        metric=config.metric_name,
        recipe=recipe_facts(winner.recipe) if winner and winner.recipe else {},
        method=[*method_lines(summary), *proposal_lines(summary)],
        importance_rule=IMPORTANCE_RULE,
        correlation_rule=CORRELATION_RULE,
        command=command_line(summary),
        repeat_rule=REPEAT_RULE,
        selected_on=SELECTED_ON[config.data.select_on],
    )


def _result(summary: StudySummary) -> dict[str, str]:
    """Return the numbers at the top of the page with their meanings; the result is empty if there is no winner."""
    winner, confirmation = summary.winner, summary.confirmation
    if winner is None:
        return {}
    metric = summary.config.metric_name
    selection = f"selected on {SELECTED_ON[summary.config.data.select_on]}"
    if confirmation is None:
        accuracy = {percent(winner.value): f"{metric} of one seed, {selection}; not confirmed"}
    else:
        mean = confirmation.accuracy
        meaning = f"mean test {metric}, n = {fresh_seeds(mean)}, {interval(mean)}, {selection}"
        accuracy = {percent(mean.mean): meaning}
    n_params, _, layer_by_layer = parameters_of(winner).partition(", ")
    words = f"parameters{f' ({layer_by_layer})' if layer_by_layer else ''}, of at most {summary.config.max_params:,}"
    size = {n_params: words}
    if confirmation is None or confirmation.comparison is None:
        return accuracy | size
    comparison = confirmation.comparison
    kind = kind_of_baseline(comparison.baseline)
    is_of_kind = winner.baseline is not None and kind_of_baseline(winner.baseline) == kind
    role = f"another {kind}" if is_of_kind else f"the best {kind}"
    noun = "" if kind.endswith("network") else " network"
    difference_meaning = (
        f"points against {comparison.baseline}, {role}{noun} in the search, {interval(comparison.difference)}"
    )
    return accuracy | size | {points(comparison.difference.mean): difference_meaning}


def _figures(summary: StudySummary, records: Sequence[TrialRecord], classes: Sequence[str]) -> Mapping[str, Figure]:
    """Return the figures that have data, by name."""
    figures_by_name: dict[str, Figure] = {}
    winner, mistakes = summary.winner, summary.mistakes
    if winner is None:
        return figures_by_name
    limit, metric = summary.config.max_params, summary.config.metric
    accuracy = summary.config.metric_name.capitalize()

    def add(name: str, title: str, size: tuple[float, float], draw: Callable[[Axes], Any], wide: bool = False) -> None:
        figures_by_name[name] = Figure(inline_svg(title, size, draw), title, wide)

    title = f"{accuracy} against parameters, within the budget of {limit:,}"
    add("accuracy", title, (5.4, 4.8), lambda axes: draw_accuracy(axes, summary, records))
    title = "Value of every trial and the best so far; stopped and refused ones marked"
    add("best_so_far", title, (5.4, 4), lambda axes: draw_best_so_far(axes, records, metric))
    curves = {f"trial {record.number}": record.curve for record in summary.top[:N_CURVES]}
    title = f"{accuracy} after every epoch of the {f'{len(curves)} best trials' if len(curves) > 1 else 'best trial'}"
    add("curves", title, (5.4, 4), lambda axes: draw_curves(axes, curves, metric))
    if winner.arch:
        arch = winner.arch
        network_parts = parts(arch)
        title = (
            f"The winner from left to right, {len(network_parts)} layers and blocks: boxes as high as their maps; "
            f"the orange funnel is the receptive field (RF), which grows from 1 to {network_parts[-1].rf} pixels; "
            "numbers below: channels × side², parameters"
        )
        add("architecture", title, (10.5, 3.4), lambda axes: draw_architecture(axes, arch), wide=True)
        add("parameters", "Where the parameters sit", (5.4, 4.6), lambda axes: draw_parameters(axes, arch))
    if mistakes:
        n_wrong = mistakes.n_wrong
        subject = "the misread image shows and was" if n_wrong == 1 else f"the {n_wrong:,} misread images show and were"
        title = f"What {subject} taken for; on the right accuracy by class"
        add("confusion", title, (5.2, 4.6), lambda axes: draw_confusion(axes, mistakes, classes))
    if summary.importances:
        title = "Which dimensions mattered"
        add("importances", title, (5.4, 4), lambda axes: draw_importances(axes, summary.importances))
    return figures_by_name


def _tiles(summary: StudySummary, folder: Path, classes: Sequence[str]) -> list[Tile]:
    path, mistakes, winner = folder / "winner" / MISREAD, summary.mistakes, summary.winner
    if not mistakes or not winner or not winner.arch or not path.is_file():
        return []
    _, height, width = winner.arch.input_shape
    try:
        pictures = tiles(path.read_bytes(), len(mistakes.misread), height, width)
    except (OSError, SyntaxError, ValueError) as error:  # errors of Pillow for a damaged file
        raise InputError(f"{path} is damaged; move {path.parent} away and export again") from error
    return [
        Tile(_data_uri(picture), classes[misread.label], classes[misread.answer], misread.index)
        for picture, misread in zip(pictures, mistakes.misread, strict=True)
    ]


def _data_uri(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
