"""Show the frontier, that is the winners of several budgets, as a table, CSV and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from matplotlib.axes import Axes

from search.report.architecture import architecture_line
from search.report.evidence import bounds, sd_points
from search.report.facts import any_shares, count, n_stored_of
from search.report.plot import BLUE, GREY, ORANGE, accuracy_scale, error, svg, thousands
from search.report.summary import StudySummary
from search.text import counted, markdown_table, percent, text_table

COLUMNS = (
    "budget",
    "study",
    "trial",
    "parameters",
    "MACs",
    "mean accuracy",
    "95 % interval",
    "sd",
    "n",
    "architecture",
)
ALIGN = ">" + "<" + ">" * 7 + "<"
# Column after that of the parameters, if winners share weights: the count of every layer.
BY_LAYER = "by layer"


def frontier_files(prefix: str, studies: Sequence[StudySummary]) -> dict[str, str]:
    """Return the content of the files of a frontier by their names; every study has a winner."""
    columns, rows, align = _table(studies)
    return {
        "frontier.md": _markdown(prefix, studies, markdown_table(columns, rows, align)),
        "frontier.csv": _csv(columns, rows),
        "frontier.svg": frontier_plot(studies),
    }


def frontier_table(studies: Sequence[StudySummary]) -> str:
    """Return the table for a terminal, without the architectures, for which it has no room."""
    columns, rows, align = _table(studies)
    return text_table(columns[:-1], [row[:-1] for row in rows], align[:-1])


def _table(studies: Sequence[StudySummary]) -> tuple[list[str], list[list[str]], str]:
    """Return the columns, the rows and the alignment of the table."""
    columns = [name.replace("accuracy", studies[0].config.metric_name) for name in COLUMNS]
    rows, align = [_row(study) for study in studies], ALIGN
    if _any_shares(studies):
        i = COLUMNS.index("parameters") + 1
        columns.insert(i, BY_LAYER)
        align = f"{ALIGN[:i]}>{ALIGN[i:]}"
        for row, study in zip(rows, studies, strict=True):
            row.insert(i, count(n_stored_of(study.winner)) if study.winner else "-")
    return columns, rows, align


def _row(summary: StudySummary) -> list[str]:
    winner = summary.winner
    assert winner is not None  # only studies with a winner are shown
    confirmation = summary.confirmation
    accuracy = confirmation.accuracy if confirmation else None
    return [
        f"{summary.config.max_params:,}",
        summary.name,
        str(winner.number),
        f"{winner.n_params or 0:,}",
        f"{winner.macs or 0:,}",
        percent(accuracy.mean) if accuracy else f"({percent(winner.value)})",
        bounds(accuracy) if accuracy else "not confirmed",
        sd_points(accuracy) if accuracy else "-",
        str(accuracy.n) if accuracy else "1",
        architecture_line(winner.arch) if winner.arch else "",
    ]


def _markdown(prefix: str, studies: Sequence[StudySummary], table: str) -> str:
    config = studies[0].config
    return (
        f"# Frontier {prefix}\n\n"
        f"- {config.data.label}, at most {counted(config.epochs, 'epoch')}, searched on {config.data.select_on}\n"
        f"- Mean {config.metric_name}: of the confirmed winner on the test set after the last epoch, over n fresh "
        "seeds that neither found nor chose it. In brackets: not confirmed, the best value of the search.\n"
        "- Each study was started with the trials of the others that fit its budget.\n"
        f"{_sharing_rule(studies)}\n"
        f"{table}\n\n![Accuracy against parameters](frontier.svg)\n"
    )


def _any_shares(studies: Sequence[StudySummary]) -> bool:
    """Return whether layers of any winner share weights."""
    return any_shares(study.winner for study in studies if study.winner)


def _sharing_rule(studies: Sequence[StudySummary]) -> str:
    if not _any_shares(studies):
        return ""
    return "- Weights that layers share count once; the column by layer counts them in every layer.\n"


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()


def frontier_plot(studies: Sequence[StudySummary]) -> str:
    """Return the plot of the frontier as SVG text, with a log scale for the error."""

    def draw(axes: Axes) -> None:
        _draw_trials(axes, studies)
        _draw_baselines(axes, studies)
        _draw_winners(axes, studies)
        accuracy_scale(axes)
        thousands(axes)
        axes.set_xlabel("parameters")
        axes.set_ylabel(f"test {studies[0].config.metric_name} after the last epoch")
        axes.legend(loc="lower right")

    return svg(f"Test {studies[0].config.metric_name} against parameters of the searched networks", (7, 4.5), draw)


def _draw_trials(axes: Axes, studies: Sequence[StudySummary]) -> None:
    top = {(study.name, record.number): record for study in studies for record in study.top}
    sizes, errors = [record.n_params or 0 for record in top.values()], [error(record.value) for record in top.values()]
    axes.scatter(sizes, errors, s=10, color=GREY, label="ten best of each search, one seed")


def _draw_baselines(axes: Axes, studies: Sequence[StudySummary]) -> None:
    networks = list({network.id: network for study in studies for network in study.baselines if network.value}.values())
    if networks:
        label = "hand-designed, the search's recipe, one seed"
        sizes, errors = [network.n_params for network in networks], [error(network.value) for network in networks]
        axes.scatter(sizes, errors, s=30, marker="^", color=BLUE, label=label)


def _draw_winners(axes: Axes, studies: Sequence[StudySummary]) -> None:
    confirmed_winners = [
        (study.winner.n_params or 0, study.confirmation.accuracy)
        for study in studies
        if study.winner and study.confirmation
    ]
    if not confirmed_winners:
        return
    errors = [error(accuracy.mean) for _, accuracy in confirmed_winners]
    # A lower error is a higher accuracy, so `below` comes from the upper end of the interval.
    below = [100 * ((accuracy.high or accuracy.mean) - accuracy.mean) for _, accuracy in confirmed_winners]
    above = [100 * (accuracy.mean - (accuracy.low or accuracy.mean)) for _, accuracy in confirmed_winners]
    # The interval of few seeds can exceed the possible accuracies at both ends.
    below = [min(low, 0.9 * mean_error) for low, mean_error in zip(below, errors, strict=True)]
    above = [min(high, 100 - mean_error) for high, mean_error in zip(above, errors, strict=True)]
    axes.errorbar(
        [n_params for n_params, _ in confirmed_winners],
        errors,
        yerr=[below, above],
        fmt="o-",
        capsize=3,
        color=ORANGE,
        label="winners, mean of fresh seeds, 95 % interval",
    )
