"""Describe the evidence from fresh seeds in words and table cells: confirmation and noise floor."""

from __future__ import annotations

from search.config import words_of
from search.engine.metrics import beside
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
    """Return a difference of accuracies in percentage points, with its sign: "+0.05"."""
    return f"{100 * difference:+.2f}"


def sd_points(found: Estimate) -> str:
    """Return the standard deviation in percentage points; "-" of a single value."""
    return "-" if found.sd is None else f"{100 * found.sd:.2f}"


def interval(found: Estimate) -> str:
    """Return the 95 % interval of a mean, in words."""
    return bounds(found) if found.low is None else f"95 % interval {bounds(found)}"


def bounds(found: Estimate) -> str:
    """Return the ends of the 95 % interval."""
    if found.low is None or found.high is None:
        return "one seed, so no interval"
    # Student's t distribution does not know that there is nothing above 100 %.
    return f"{100 * found.low:.2f} to {100 * min(found.high, 1):.2f}"


def fresh_seeds(found: Estimate) -> str:
    """Return the number of seeds in words: "5 fresh seeds"."""
    return f"{found.n} fresh seed{'s' * (found.n > 1)}"


def winner_evidence(found: Confirmation, selected_on: str, metric: str = "accuracy") -> dict[str, str]:
    """Return the facts about the confirmed winner, by name. selected_on: the images that the search chose by."""
    accuracy, network = found.accuracy, found.network
    mean_beside = f"{percent(found.beside)}, mean of the same trainings"
    other = {} if found.beside is None else {words_of(beside(metric)): mean_beside}
    name = words_of(metric)
    facts = {
        name: f"{percent(accuracy.mean)}, mean of {fresh_seeds(accuracy)} ({interval(accuracy)}) on the test "
        f"set after the last epoch, selected on {selected_on}",
        **other,
        "seeds": _spread(accuracy),
        "file": f"{percent(network.value)}, the training with the median {name} (seed {network.repeat.seed})",
        "in the search": f"{percent(found.search_value)}: selection gap {points(found.selection_gap)} points",
    }
    return facts | ({"compared with": compared(found.comparison)} if found.comparison else {})


def _spread(found: Estimate) -> str:
    sd = "" if found.sd is None else f"sd {sd_points(found)} points, "
    return f"{sd}from {percent(found.minimum)} to {percent(found.maximum)}"


def compared(found: Comparison) -> str:
    """Compare the winner with the hand-designed network."""
    images = found.images
    verdict = "better" if found.difference.is_above_zero else "not shown to be better"
    return (
        f"{found.baseline} ({found.n_params:,} parameters, {percent(found.accuracy.mean)} on the same seeds): "
        f"{points(found.difference.mean)} points ({interval(found.difference)}), {verdict}. Of the two median networks "
        f"only the winner misreads {images.only_first} images, only {found.baseline} {images.only_second} "
        f"(McNemar's test: p = {images.p:.2g})"
    )


def contender_rows(found: Confirmation) -> list[tuple[str, ...]]:
    """Return the cells of the trials that were confirmed, under CONTENDER_COLUMNS."""
    rows: list[tuple[str, ...]] = []
    for contender in found.contenders:
        choice = contender.choice
        means = (percent(choice.mean), sd_points(choice), str(choice.n)) if choice else ("-", "-", "-")
        rows.append((str(contender.trial), percent(contender.value), percent(contender.estimate), *means))
    return rows


def noise_lines(floor: NoiseFloor, top: tuple[TrialRecord, ...], found: Confirmation | None) -> list[str]:
    """Describe the noise floor, and the differences that exceed it."""
    accuracy = floor.accuracy
    best = top[0].value or 0.0
    near = [str(record.number) for record in top[1:] if best - (record.value or 0.0) <= floor.threshold()]
    lines = [
        f"Trial {floor.trial} trained {accuracy.n} times: mean {percent(accuracy.mean)}, {_spread(accuracy)}.",
        f"Noise alone would put the best of {floor.n_trials} equally good trials {points(floor.luck)} points above "
        "their mean.",
        f"Two single trainings of equal networks differ by more than {100 * floor.threshold():.2f} points once in "
        f"twenty times; of the top ten that leaves undecided against the best: {', '.join(near) or 'none'}.",
    ]
    if found and found.comparison:
        n, difference = found.accuracy.n, found.comparison.difference.mean
        verdict = "above" if difference > floor.threshold(n) else "not above"
        lines.append(
            f"The winner's {points(difference)} points over {found.comparison.baseline} are {verdict} the "
            f"{100 * floor.threshold(n):.2f} that means of {n} seeds differ by once in twenty times."
        )
    return lines
