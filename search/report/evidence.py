"""Describe the confirmation and the noise floor of a study in words and table cells."""

from __future__ import annotations

from search.config import words_of
from search.engine.metrics import other_metric
from search.evidence.confirm import Comparison, Confirmation, NoiseFloor
from search.evidence.statistics import Estimate
from search.study.trials import TrialRecord
from search.text import percent

CONTENDER_COLUMNS = ("trial", "in the search", "shrunken", "fresh seeds: mean", "sd", "n")
CONTENDER_ALIGN = ">>>>>>"
CONTENDER_RULE = (
    "Shrunken: the value drawn towards what similar trials let expect. The trial with the highest mean over the fresh "
    "seeds is the winner; its accuracy is that over further seeds, which chose nothing."
)


def points(difference: float) -> str:
    """Return a difference of accuracies in percentage points with its sign, such as "+0.05"."""
    return f"{100 * difference:+.2f}"


def sd_points(estimate: Estimate) -> str:
    """Return the standard deviation in percentage points, or "-" for a single value."""
    return "-" if estimate.sd is None else f"{100 * estimate.sd:.2f}"


def interval(estimate: Estimate) -> str:
    """Return the 95 % interval of a mean, in words."""
    return bounds(estimate) if estimate.low is None else f"95 % interval {bounds(estimate)}"


def bounds(estimate: Estimate) -> str:
    """Return the ends of the 95 % interval of a mean in percent, in words."""
    if estimate.low is None or estimate.high is None:
        return "one seed, so no interval"
    # An interval by Student's t distribution can exceed 100 %.
    return f"{100 * estimate.low:.2f} to {100 * min(estimate.high, 1):.2f}"


def fresh_seeds(estimate: Estimate) -> str:
    """Return the number of seeds in words, such as "5 fresh seeds"."""
    return f"{estimate.n} fresh seed{'s' * (estimate.n > 1)}"


def winner_evidence(confirmation: Confirmation, selected_on: str, metric: str = "accuracy") -> dict[str, str]:
    """Return the facts about the confirmed winner, by name.

    selected_on  images that the search selected on, in words
    metric       metric that the search maximised
    """
    accuracy, network = confirmation.accuracy, confirmation.network
    mean_beside = f"{percent(confirmation.beside)}, mean of the same trainings"
    beside_facts = {} if confirmation.beside is None else {words_of(other_metric(metric)): mean_beside}
    name, gap = words_of(metric), points(confirmation.selection_gap)
    facts = {
        name: f"{percent(accuracy.mean)}, mean of {fresh_seeds(accuracy)} ({interval(accuracy)}) on the test "
        f"set after the last epoch, selected on {selected_on}",
        **beside_facts,
        "seeds": _spread(accuracy),
        "file": f"{percent(network.value)}, the training with the median {name} (seed {network.repeat.seed})",
        "in the search": f"{percent(confirmation.search_value)}: selection gap {gap} points",
    }
    return facts | ({"compared with": compared(confirmation.comparison)} if confirmation.comparison else {})


def _spread(estimate: Estimate) -> str:
    sd = "" if estimate.sd is None else f"sd {sd_points(estimate)} points, "
    return f"{sd}from {percent(estimate.minimum)} to {percent(estimate.maximum)}"


def compared(comparison: Comparison) -> str:
    """Return the comparison of the winner with the hand-designed network, in words."""
    baseline, difference, images = comparison.baseline, comparison.difference, comparison.images
    verdict = "better" if difference.is_above_zero else "not shown to be better"
    return (
        f"{baseline} ({comparison.n_params:,} parameters, {percent(comparison.accuracy.mean)} on the same seeds): "
        f"{points(difference.mean)} points ({interval(difference)}), {verdict}. Of the two median networks "
        f"only the winner misreads {images.only_first} images, only {baseline} {images.only_second} "
        f"(McNemar's test: p = {images.p:.2g})"
    )


def contender_rows(confirmation: Confirmation) -> list[tuple[str, ...]]:
    """Return one row of cells for each candidate of the confirmation, under CONTENDER_COLUMNS."""
    rows: list[tuple[str, ...]] = []
    for contender in confirmation.contenders:
        choice = contender.choice
        choice_cells = (percent(choice.mean), sd_points(choice), str(choice.n)) if choice else ("-", "-", "-")
        rows.append((str(contender.trial), percent(contender.value), percent(contender.estimate), *choice_cells))
    return rows


def noise_lines(noise: NoiseFloor, top: tuple[TrialRecord, ...], confirmation: Confirmation | None) -> list[str]:
    """Return sentences about the noise floor and the differences that exceed it."""
    accuracy = noise.accuracy
    best = top[0].value or 0.0
    near = [str(record.number) for record in top[1:] if best - (record.value or 0.0) <= noise.threshold()]
    lines = [
        f"Trial {noise.trial} trained {accuracy.n} times: mean {percent(accuracy.mean)}, {_spread(accuracy)}.",
        f"Noise alone would put the best of {noise.n_trials} equally good trials {points(noise.luck)} points above "
        "their mean.",
        f"Two single trainings of equal networks differ by more than {100 * noise.threshold():.2f} points once in "
        f"twenty times; of the top ten that leaves undecided against the best: {', '.join(near) or 'none'}.",
    ]
    if confirmation and confirmation.comparison:
        n, difference = confirmation.accuracy.n, confirmation.comparison.difference.mean
        verdict = "above" if difference > noise.threshold(n) else "not above"
        lines.append(
            f"The winner's {points(difference)} points over {confirmation.comparison.baseline} are {verdict} the "
            f"{100 * noise.threshold(n):.2f} that means of {n} seeds differ by once in twenty times."
        )
    return lines
