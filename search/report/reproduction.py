"""Show the reproduction of the hand-designed networks as tables for the terminal and for report.md, and as a plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from search.evidence.reproduction import BUDGET, MAX_EPOCHS, CommonResult, Reproduction, Spread, spreads
from search.evidence.statistics import Estimate
from search.report.architecture import architecture_line
from search.report.evidence import points, sd_points
from search.report.plot import BLUE, GREY, ORANGE, svg
from search.text import markdown_table, percent, text_table, wrapped

RULE = (
    "Stated: on MNIST, the best epoch their authors report, or the last one where only that is stated. Best and last: "
    "ours, mean over n seeds of the best epoch and of the last. Verdict: of the stated figure against ours of the same "
    "kind; within 1.96 standard deviations of their difference it holds, the sd being the larger of that over the "
    "seeds and sqrt(error / 2N) for N images."
)
_RULE_WITHOUT_STATED = "Best and last: mean over n seeds of the best epoch and of the last."
COMMON_RULE = (
    "All with the same recipe, so that what differs is the network; beside it the mean after the last epoch with the "
    "authors' own recipe (of several the best): what differs there is the recipe."
)
DIFFERENCES = (
    "Seeds are ours: the sources shuffle, initialise and augment from other random numbers, each from one seed.",
    "Every image draws its own changes, and rotation and shift take the nearest pixel, both as in the sources. Where "
    "a source rotates and then shifts, ours does both in one step, so the pixel is chosen once instead of twice, and "
    "what comes in from outside has the fill of the rotation.",
    "Brightness and contrast are changed before the image is turned, whatever the source's order.",
    "The sources round the image to 8 bits between two steps; ours stays in float.",
)
_TERMINAL = ("network", "recipe", "stated", "best", "last", "sd", "n", "verdict")
_FULL = (
    *("network", "source", "parameters stated", "built", "RF stated", "right", "recipe", "epochs", "fits", "stated"),
    *("best", "sd", "last", "sd", "n", "verdict"),
)
_FULL_ALIGN = "<<>>>><><>>>>>><"
# Columns that only a study of MNIST has.
_ON_MNIST = ("stated", "verdict")
_COMMON = ("network", "params", "last", "sd", "n", "own recipe", "difference")


def terminal(reproductions: Sequence[Reproduction], commons: Sequence[CommonResult], notice: str) -> str:
    """Return both tables as text of at most 80 columns, after `notice` unless that is empty."""
    rows = [_terminal_row(reproduction) for reproduction in reproductions]
    return "\n".join(
        (
            *([notice, ""] if notice else []),
            "Hand-designed networks, by their authors' recipes",
            text_table(*_columns(_TERMINAL, rows, "<<>>>>><", reproductions)),
            "",
            wrapped(_rule(reproductions), hanging=""),
            "",
            f"The same under one recipe ({_common_name(commons)})",
            text_table(_COMMON, _common_rows(commons), "<>>>>>>"),
            "",
            *(wrapped(line, hanging="") for line in (COMMON_RULE, *_spread_lines(commons))),
        )
    )


def _shows_stated(reproductions: Sequence[Reproduction]) -> bool:
    return any(reproduction.stated is not None for reproduction in reproductions)


def _rule(reproductions: Sequence[Reproduction]) -> str:
    return RULE if _shows_stated(reproductions) else _RULE_WITHOUT_STATED


def _columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], align: str, reproductions: Sequence[Reproduction]
) -> tuple[list[str], list[list[str]], str]:
    """Return header, rows and alignment of a table, without the columns of stated accuracies if there are none."""
    kept = [i for i, name in enumerate(header) if name not in _ON_MNIST or _shows_stated(reproductions)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows], "".join(align[i] for i in kept)


def _common_name(commons: Sequence[CommonResult]) -> str:
    return commons[0].recipe_name or "not run yet"


def _terminal_row(reproduction: Reproduction) -> tuple[str, ...]:
    stated = percent(reproduction.stated_accuracy)
    return (
        reproduction.baseline.id,
        reproduction.recipe_name,
        stated,
        *_figures(reproduction.best, reproduction.last),
        reproduction.verdict,
    )


def _figures(best: Estimate | None, last: Estimate | None) -> tuple[str, ...]:
    if best is None or last is None:
        return "-", "-", "-", "0"
    return percent(best.mean), percent(last.mean), sd_points(last), str(last.n)


def _common_rows(commons: Sequence[CommonResult]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for result in commons:
        last, own_recipe = result.last, result.own
        difference = "-" if result.gain is None else points(result.gain)
        figures = (percent(last.mean), sd_points(last), str(last.n)) if last else ("-", "-", "0")
        own_mean = percent(own_recipe.mean if own_recipe else None)
        rows.append((result.baseline.id, f"{result.n_params:,}", *figures, own_mean, difference))
    return rows


def _spread_lines(commons: Sequence[CommonResult]) -> list[str]:
    return [
        f"The {spread.n_networks} networks {group}: best and worst lie {100 * spread.own:.2f} points apart by their "
        f"own recipes and {100 * spread.common:.2f} under the common one; to a network it adds "
        f"{points(spread.gains[0])} to {points(spread.gains[1])} points.{_left_out(spread)}"
        for group, spread in spreads(commons).items()
    ]


def _left_out(spread: Spread) -> str:
    return f" Left out, as it did not learn: {', '.join(spread.left_out)}." if spread.left_out else ""


def markdown(reproductions: Sequence[Reproduction], commons: Sequence[CommonResult], notice: str) -> str:
    """Return the text of report.md, which begins with `notice` unless that is empty."""
    baselines = {reproduction.baseline.id: reproduction.baseline for reproduction in reproductions}.values()
    blocks = [
        "# The hand-designed networks, trained again",
        *([f"**{notice}**"] if notice else []),
        f"Fits: at most {BUDGET:,} parameters and {MAX_EPOCHS} epochs. RF: receptive field at the logits. Accuracies "
        "are on the test set. Every run with its curve is in results.json.",
        "## By their authors' recipes",
        markdown_table(*_columns(_FULL, list(map(_full_row, reproductions)), _FULL_ALIGN, reproductions)),
        _rule(reproductions),
        f"![{'Stated against reproduced' if _shows_stated(reproductions) else 'Reproduced'}](stated.svg)",
        f"## Under one recipe: {_common_name(commons)}",
        markdown_table(_COMMON, _common_rows(commons), "<>>>>>>"),
        " ".join((COMMON_RULE, *_spread_lines(commons))),
        "## Where ours differ from the sources",
        "\n".join(f"- {line}" for line in DIFFERENCES),
        "## Networks, and what was found in the documents",
        *(_findings(baseline.id, architecture_line(baseline.spec), baseline.discrepancies) for baseline in baselines),
    ]
    return "\n\n".join(blocks) + "\n"


def _findings(name: str, line: str, discrepancies: Iterable[str]) -> str:
    return "\n".join((f"**{name}**: {line}", "", *(f"- {text}" for text in discrepancies)))


def _full_row(reproduction: Reproduction) -> tuple[str, ...]:
    baseline = reproduction.baseline
    field = "-" if baseline.receptive_field_stated is None else str(baseline.receptive_field_stated)
    is_approximate = reproduction.stated is not None and reproduction.stated.approximate
    stated = f"{'about ' * is_approximate}{percent(reproduction.stated_accuracy)}"
    return (
        baseline.id,
        baseline.source.partition("@")[0],
        baseline.n_params_stated,
        f"{reproduction.cost.n_params:,}",
        field,
        str(reproduction.cost.receptive_field),
        reproduction.recipe_name,
        str(reproduction.recipe.epochs),
        "yes" if reproduction.within else "no",
        stated,
        *_full_figures(reproduction.best, reproduction.last),
        reproduction.verdict,
    )


def _full_figures(best: Estimate | None, last: Estimate | None) -> tuple[str, ...]:
    if best is None or last is None:
        return "-", "-", "-", "-", "0"
    return percent(best.mean), sd_points(best), percent(last.mean), sd_points(last), str(last.n)


# Colour, marker and label by whether network and recipe keep to budget and epochs. The marker repeats the colour.
_STYLES = {True: (ORANGE, "o", "at most 8,000 parameters and 15 epochs"), False: (BLUE, "s", "larger or longer")}


def reproduction_plot(reproductions: Sequence[Reproduction]) -> str:
    """Return a plot of the reproduced accuracy of each recipe with its noise, and of the stated one, as SVG text."""
    shows_stated = _shows_stated(reproductions)
    results = [(reproduction, reproduction.stated_accuracy, reproduction.ours) for reproduction in reproductions]
    rows = [
        (reproduction, 100 * (estimate.mean if stated is None else stated), 100 * estimate.mean)
        for reproduction, stated, estimate in results
        if estimate and (stated is not None or not shows_stated)
    ]

    def draw(axes: Axes) -> None:
        for row, (_, stated, mean) in enumerate(rows):
            axes.plot([stated, mean], [row, row], color=GREY, linewidth=1)
        for within, (color, marker, label) in _STYLES.items():
            group = [
                (row, mean, 100 * reproduction.noise)
                for row, (reproduction, _, mean) in enumerate(rows)
                if reproduction.within is within
            ]
            if group:
                positions, means, noise = zip(*group, strict=True)
                axes.errorbar(means, positions, xerr=noise, fmt=marker, color=color, capsize=3, label=f"ours, {label}")
        if shows_stated:
            axes.plot([stated for _, stated, _ in rows], range(len(rows)), "k|", markersize=11, label="stated")
        axes.set_yticks(
            range(len(rows)), [f"{reproduction.baseline.id}  {reproduction.recipe_name}" for reproduction, _, _ in rows]
        )
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f} %"))
        axes.set_xlabel("test accuracy; ours: mean over seeds, bar: noise")
        axes.grid(axis="x", alpha=0.3)
        if rows:
            axes.legend(loc="upper center", bbox_to_anchor=(0.3, -0.12))

    title = "Stated test accuracy of the hand-designed networks beside what training again reaches"
    title = title if shows_stated else "Test accuracy of the hand-designed networks, trained again"
    return svg(title, (8, 7), draw)
