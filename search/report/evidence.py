"""Describe the confirmation and the noise floor of a study in words and table cells."""

from __future__ import annotations

from search.config import words_of
from search.engine.metrics import other_metric
from search.evidence.confirm import Comparison, Confirmation, NoiseFloor
from search.evidence.statistics import Estimate, McNemar
from search.study.trials import TrialRecord
from search.text import counted, percent

CONTENDER_COLUMNS = ("trial", "in the search", "shrunken", "fresh seeds: mean", "sd", "n")
CONTENDER_ALIGN = ">>>>>>"
_SHRUNKEN_RULE = "Shrunken: the value drawn towards what similar trials let expect."
# A smaller probability than this is called a difference.
SIGNIFICANCE = 0.05


def contender_rule(confirmation: Confirmation) -> str:
    """Return the sentences that explain the table of the candidates of a confirmation."""
    if len(confirmation.contenders) == 1:
        return (
            f"{_SHRUNKEN_RULE} Trial {confirmation.trial} was the only candidate, so no fresh seeds chose it; its "
            f"accuracy is that over {fresh_seeds(confirmation.accuracy)}."
        )
    return (
        f"{_SHRUNKEN_RULE} The trial with the highest mean over these fresh seeds is the winner; its accuracy is that "
        "over further fresh seeds, which chose nothing."
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
    return counted(estimate.n, "fresh seed")


def winner_evidence(confirmation: Confirmation, selected_on: str, metric: str = "accuracy") -> dict[str, str]:
    """Return the facts about the confirmed winner, by name.

    selected_on  images that the search selected on, in words
    metric       metric that the search maximised
    """
    accuracy, network = confirmation.accuracy, confirmation.network
    mean_beside = f"{percent(confirmation.beside)}, mean of the same trainings"
    beside_facts = {} if confirmation.beside is None else {words_of(other_metric(metric)): mean_beside}
    name, gap = words_of(metric), points(confirmation.selection_gap)
    choice = "the only training" if accuracy.n == 1 else f"the training with the median {name}"
    facts = {
        name: f"{percent(accuracy.mean)}, mean of {fresh_seeds(accuracy)} ({interval(accuracy)}) on the test "
        f"set after the last epoch, selected on {selected_on}",
        **beside_facts,
        **({} if accuracy.n == 1 else {"seeds": _spread(accuracy)}),
        "file": f"{percent(network.value)}, {choice} (seed {network.repeat.seed})",
        "in the search": f"{percent(confirmation.search_value)}: selection gap {gap} points",
    }
    return facts | ({"compared with": compared(confirmation.comparison)} if confirmation.comparison else {})


def _spread(accuracy: Estimate) -> str:
    return f"sd {sd_points(accuracy)} points, from {percent(accuracy.minimum)} to {percent(accuracy.maximum)}"


def compared(comparison: Comparison) -> str:
    """Return the comparison of the winner with the hand-designed network, in words.

    There are two tests, over the seeds and over the images. Where only one of them finds a difference, both say so.
    """
    baseline, difference, images = comparison.baseline, comparison.difference, comparison.images
    seeds, misread = seeds_verdict(difference), images_verdict(images)
    verdict = {1: "better", -1: "worse", 0: "undecided over the seeds" if misread else "not shown to be better"}[seeds]
    side = "the winner" if misread > 0 else baseline
    remark = f", which speaks for {side}" if misread and misread != seeds else ""
    image_noun = "image" if images.only_first == 1 else "images"
    return (
        f"{baseline} ({comparison.n_params:,} parameters, {percent(comparison.accuracy.mean)} on the same "
        f"{'seed' if difference.n == 1 else 'seeds'}): "
        f"{points(difference.mean)} points ({interval(difference)}), {verdict}. Of the two "
        f"{'networks' if difference.n == 1 else 'median networks'} "
        f"only the winner misreads {images.only_first} {image_noun}, only {baseline} {images.only_second} "
        f"(McNemar's test: p = {images.p:.2g}){remark}"
    )


def seeds_verdict(difference: Estimate) -> int:
    """Return 1 or -1 if the interval of a paired difference lies above or below zero, and 0 if it is undecided."""
    if difference.low is None or difference.high is None:
        return 0
    return 1 if difference.low > 0 else -1 if difference.high < 0 else 0


def images_verdict(images: McNemar) -> int:
    """Return 1 or -1 if the first network misreads significantly fewer or more images, and 0 if it is undecided."""
    if images.p >= SIGNIFICANCE:
        return 0
    return 1 if images.only_first < images.only_second else -1


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
    lines = [f"Trial {noise.trial} trained {accuracy.n} times: mean {percent(accuracy.mean)}, {_spread(accuracy)}."]
    if not accuracy.sd:
        return [*lines, "All of these trainings have the same accuracy, so they do not show how large the noise is."]
    if noise.n_trials > 1:
        lines.append(
            f"Noise alone would put the best of {noise.n_trials} equally good trials {points(noise.luck)} points above "
            "their mean."
        )
    threshold = f"Two single trainings of equal networks differ by more than {100 * noise.threshold():.2f} points once"
    lines.append(f"{threshold} in twenty times{_undecided(noise, top)}.")
    if confirmation and confirmation.comparison:
        lines.append(_lead(noise, confirmation.comparison, confirmation.accuracy.n))
    return lines


def _undecided(noise: NoiseFloor, top: tuple[TrialRecord, ...]) -> str:
    """Return the part of a sentence that names the best trials whose order the noise leaves open."""
    if len(top) < 2:
        return ""
    best = top[0].value or 0.0
    near = [str(record.number) for record in top[1:] if best - (record.value or 0.0) <= noise.threshold()]
    return f"; of the top ten that leaves undecided against the best: {', '.join(near) or 'none'}"


def _lead(noise: NoiseFloor, comparison: Comparison, n: int) -> str:
    """Return a sentence that compares the lead or the deficit of the winner with the noise."""
    difference, threshold = comparison.difference.mean, noise.threshold(n)
    means = "single trainings differ" if n == 1 else f"means of {n} seeds differ"
    verdict = "above" if abs(difference) > threshold else "not above"
    size = f"{points(difference)} points over" if difference >= 0 else f"{100 * -difference:.2f} points below"
    return (
        f"The winner's {size} {comparison.baseline} are {verdict} the {100 * threshold:.2f} that {means} by once in "
        "twenty times."
    )
