"""Build the interactive figures of a study for the dashboard, as plotly data and layout in plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import log10
from typing import Any

from search.config import words_of
from search.report.architecture import architecture_line
from search.report.facts import parameters_of
from search.report.plot import BLUE, GREEN, GREY, ORANGE, PURPLE, error
from search.report.study_figures import SPAN, WIDEST
from search.report.summary import StudySummary
from search.study.trials import FINISHED, REFUSED, STOPPED, TrialRecord
from search.text import percent

N_IMPORTANCES = 15
LINE_LENGTH = 60
_STEPS = (1, 1.5, 2, 3, 4, 5, 7)

Figure = dict[str, Any]


def figures(summary: StudySummary, records: Sequence[TrialRecord]) -> dict[str, Figure]:
    """Return the figures that have data, by the id under which the dashboard stores them."""
    finished_trials = [record for record in records if record.outcome == FINISHED and record.value is not None]
    if not finished_trials:
        return {}
    by_id = {
        "accuracy-against-parameters": _accuracy(summary, records, finished_trials),
        "best-so-far": _best_so_far(summary.config.metric, records, finished_trials),
    }
    return by_id | ({"importances": _importances(summary.importances)} if summary.importances else {})


def _accuracy(summary: StudySummary, records: Sequence[TrialRecord], finished_trials: Sequence[TrialRecord]) -> Figure:
    limit, metric = summary.config.max_params, summary.config.metric
    by_size = sorted(finished_trials, key=lambda record: record.n_params or 0)
    front = list(accumulate((error(record.value) for record in by_size), min))
    baselines = [network for network in summary.baselines if network.n_params <= WIDEST * limit]
    trained_networks = [network for network in baselines if network.value is not None]
    # The stated accuracies are for MNIST, and cannot be compared with those on other images.
    is_mnist = summary.config.data.dataset == "mnist"
    stated_networks = [network for network in baselines if network.stated_accuracy and is_mnist]
    stopped_trials = _stopped(records)
    data = [
        _dots(f"stopped early, last {summary.config.metric_name}", stopped_trials, "x-thin", PURPLE, metric),
        _dots("finished, one seed", finished_trials, "circle", GREY, metric),
        _line("best of its size", [*(record.n_params or 0 for record in by_size), limit], [*front, front[-1]], GREY),
        _marks(
            "hand-designed, in this study",
            [
                (network.n_params, error(network.value), f"{network.id}<br>{percent(network.value)} in this study")
                for network in trained_networks
            ],
            {"symbol": "triangle-up", "size": 11, "color": BLUE},
        ),
        _marks(
            "hand-designed, as stated",
            [
                (
                    network.n_params,
                    error(network.stated_accuracy),
                    f"{network.id}<br>{percent(network.stated_accuracy)} stated",
                )
                for network in stated_networks
            ],
            {"symbol": "triangle-up-open", "size": 11, "color": BLUE},
        ),
        *_winner(summary),
    ]
    shapes = [_vertical(limit)]
    within_budget = [network for network in stated_networks if network.n_params <= limit]
    notes = [_note(f"budget of {limit:,}", x=limit, y=1.0, yref="paper", xanchor="right", yanchor="top")]
    if within_budget:
        best = max(within_budget, key=lambda network: network.stated_accuracy or 0.0)
        best_error = error(best.stated_accuracy)
        shapes.append(_horizontal(best_error))
        text = f"{best.id} as stated: {percent(best.stated_accuracy)}"
        notes.append(_note(text, x=0.01, xref="paper", y=log10(best_error), xanchor="left", yanchor="bottom"))
    errors = [error(record.value) for record in finished_trials] + [
        error(network.stated_accuracy) for network in within_budget
    ]
    sizes = [record.n_params or 0 for record in finished_trials]
    low = min(0.9 * min(sizes), 0.75 * limit)
    layout = _layout(f"{words_of(metric).capitalize()} against parameters", "parameters", errors, metric)
    layout["xaxis"] |= {"range": [low, 1.02 * limit], "tickformat": ","}
    return {"data": data, "layout": layout | {"shapes": shapes, "annotations": notes}}


def _winner(summary: StudySummary) -> list[Figure]:
    winner = summary.winner
    if winner is None:
        return []
    estimate = summary.confirmation.accuracy if summary.confirmation else None
    accuracy = estimate.mean if estimate else winner.value
    words = "mean of fresh seeds" if estimate else "one seed"
    text = f"trial {winner.number}, the winner<br>{percent(accuracy)}, {words}"
    marker = {"symbol": "star", "size": 16, "color": ORANGE}
    trace = _marks(f"winner, {words}", [(winner.n_params or 0, error(accuracy), text)], marker)
    if estimate and estimate.low is not None and estimate.high is not None:
        mean_error = error(accuracy)
        trace["error_y"] = {
            "type": "data",
            "array": [error(max(estimate.low, 0.0)) - mean_error],
            "arrayminus": [mean_error - error(min(estimate.high, 1.0))],
            "color": ORANGE,
        }
    return [trace]


def _best_so_far(metric: str, records: Sequence[TrialRecord], finished_trials: Sequence[TrialRecord]) -> Figure:
    by_number = sorted(finished_trials, key=lambda record: record.number)
    best_errors = list(accumulate((error(record.value) for record in by_number), min))
    last = max(record.number for record in records)
    refused_trials = [record for record in records if record.outcome == REFUSED]
    errors = [error(record.value) for record in finished_trials]
    edge = SPAN * max(errors)
    data = [
        _line("best so far", [*(record.number for record in by_number), last], [*best_errors, best_errors[-1]], ORANGE),
        _dots("finished", finished_trials, "circle", GREY, metric, by_number=True),
        # A trial with a larger error is drawn on the edge; its hover text shows its accuracy.
        _dots("stopped early, there or below", _stopped(records), "x-thin", BLUE, metric, by_number=True, edge=edge),
        _marks(
            "refused, never trained",
            [(record.number, edge, f"trial {record.number}, refused<br>{record.reason}") for record in refused_trials],
            {"symbol": "line-ns-open", "size": 9, "color": PURPLE, "line": {"width": 2}},
        ),
    ]
    return {"data": data, "layout": _layout("Best so far", "trial", [*errors, edge], metric)}


def _importances(importances: Mapping[str, float]) -> Figure:
    largest = sorted(importances.items(), key=lambda item: -item[1])[:N_IMPORTANCES]
    names, shares = [name for name, _ in largest], [round(share, 4) for _, share in largest]
    bars = {"type": "bar", "orientation": "h", "x": shares, "y": names, "marker": {"color": GREEN}}
    bars |= {"hovertemplate": "%{y}: %{x:.3f}<extra></extra>"}
    layout = {
        "title": {"text": "What mattered: importance of the dimensions, all together 1"},
        "template": "none",
        "margin": {"l": 150, "r": 20, "t": 50, "b": 40},
        "yaxis": {"autorange": "reversed", "type": "category"},
        "xaxis": {"title": {"text": "importance (PED-ANOVA)"}},
    }
    return {"data": [bars], "layout": layout}


def _stopped(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.outcome == STOPPED and record.curve]


def _dots(
    name: str,
    records: Sequence[TrialRecord],
    symbol: str,
    color: str,
    metric: str,
    *,
    by_number: bool = False,
    edge: float = float("inf"),
) -> Figure:
    """Return a trace of trials over their parameters or numbers, with errors above `edge` drawn at `edge`."""
    points = []
    for record in records:
        accuracy = record.value if record.value is not None else float(record.curve[-1][metric])
        x = record.number if by_number else record.n_params or 0
        points.append((x, min(error(accuracy), edge), _hover(record, accuracy)))
    line = {"width": 2, "color": color} if symbol == "x-thin" else {"width": 0}
    return _marks(name, points, {"symbol": symbol, "size": 7, "color": color, "line": line})


def _hover(record: TrialRecord, accuracy: float) -> str:
    epoch_words = "" if record.value is not None else f" after epoch {len(record.curve)}, stopped"
    lines = [f"trial {record.number}: {percent(accuracy)}{epoch_words}", parameters_of(record, " parameters")]
    lines += [record.baseline] if record.baseline else []
    lines += [_wrapped(architecture_line(record.arch))] if record.arch else []
    return "<br>".join(lines)


def _wrapped(text: str) -> str:
    """Return the text with line breaks at a "·", in lines of at most about LINE_LENGTH characters."""
    lines = [""]
    for group in text.split(" · "):
        if lines[-1] and len(lines[-1]) + len(group) > LINE_LENGTH:
            lines.append("")
        lines[-1] += f"{' · ' if lines[-1] else ''}{group}"
    return "<br>".join(lines)


def _marks(name: str, points: Sequence[tuple[float, float, str]], marker: Figure) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [x for x, _, _ in points],
        "y": [round(y, 4) for _, y, _ in points],
        "text": [text for _, _, text in points],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def _line(name: str, xs: Sequence[float], errors: Sequence[float], color: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(xs),
        "y": [round(value, 4) for value in errors],
        "line": {"shape": "hv", "color": color, "width": 1.5},
        "hoverinfo": "skip",
    }


def _layout(title: str, x_title: str, errors: Sequence[float], metric: str) -> Figure:
    """Return a layout with a logarithmic error axis that grows downwards and is labelled with accuracies."""
    low, high = 0.8 * min(errors), 1.15 * max(errors)
    ticks = [step * 10.0**power for power in range(-2, 2) for step in _STEPS]
    return {
        "title": {"text": title},
        "template": "none",
        "margin": {"l": 70, "r": 20, "t": 50, "b": 50},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": -0.2},
        "xaxis": {"title": {"text": x_title}, "zeroline": False},
        "yaxis": {
            "type": "log",
            "range": [log10(high), log10(low)],
            "tickvals": ticks,
            "ticktext": [f"{100 - tick:.4g} %" for tick in ticks],
            "title": {"text": words_of(metric)},
            "automargin": True,
            "zeroline": False,
        },
    }


def _vertical(x: float) -> Figure:
    line = {"color": PURPLE, "dash": "dash", "width": 1}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _horizontal(y: float) -> Figure:
    line = {"color": BLUE, "dash": "dot", "width": 1}
    return {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y, "line": line}


def _note(text: str, **position: Any) -> Figure:
    return {"text": text, "showarrow": False, "font": {"size": 11}, **position}
