"""Describe a study in the words and table cells that the terminal report, report.md and report.html share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from models.cost import compute_cost
from models.recipe import RecipeConfig
from search.config import SearchConfig, words_of
from search.engine.metrics import other_metric
from search.limits import BYTES, SHARING_RULE, latency_words, listed_limits, standings
from search.report.architecture import architecture_line
from search.report.caveats import SELECTED_ON
from search.report.evidence import winner_evidence
from search.report.networks.baselines import BaselineResult
from search.report.networks.of_trial import HAND_DESIGNED, STARTING_POINT
from search.report.networks.origin import PROPOSED, USER_NETWORK, kind_of_baseline, listed_kinds, origin_of
from search.report.summary import StudySummary
from search.search_space.augmentations import augmentation_options
from search.study.trials import TrialRecord
from search.text import counted, duration, parameter_count, percent

NO_BASELINES = "None of them takes these images."
NO_WINNER = "No trial has finished yet."
_BASELINE_RULE = (
    "In this study the hand-designed networks are trained with the search's default recipe, not with their own, so the "
    "last column compares networks. The sampler proposes a recipe with each network, so the lead of a proposed trial "
    "over them is the effect of network and recipe together."
)
_UNTRAINED_BASELINES = "No hand-designed network has been trained in this study."
_STATED_RULE = (
    "Stated on MNIST is their authors' figure, as a rule the best of so many epochs on the test set, with recipes of "
    "their own."
)
_SCORED = {
    "test": "Every network is trained on all training images and scored on the test set after every epoch; the test "
    "set chose the winner.",
    "val": "Every network is trained without the held-out validation images and scored on these after every epoch; "
    "the test set had no part in the search.",
}
_EPOCH_RULES = {
    "last": "{} after epoch {}, the last",
    "best": "highest {} of epochs 1 to {}",
    "last3": "mean {} of the last 3 of {} epochs",
}
# The rules for a training that is too short for the words above.
_SHORT_RULES = {
    ("last", 1): "{} after the only epoch",
    ("best", 1): "{} after the only epoch",
    ("last3", 1): "{} after the only epoch",
    ("last3", 2): "mean {} of both epochs",
    ("last3", 3): "mean {} of all 3 epochs",
}
BALANCED_RULE = (
    "Balanced accuracy is the mean over the classes of the share of a class's images that are told right: each class "
    "weighs the same, however many images it has."
)


def headline(summary: StudySummary) -> list[str]:
    """Return lines that state the data and limits, the images selected on, and the meaning of a trial's value."""
    config = summary.config
    latency = "" if config.max_latency is None else f", {config.max_latency:g} ms of latency"
    return [
        f"{config.data.label}, at most {listed_limits(config)}{latency}",
        f"Selected on {SELECTED_ON[config.data.select_on]}",
        f"Value of a trial: {epoch_rule(config)}",
    ]


def unsearched(summary: StudySummary) -> str:
    """Return a sentence that says that the study searched nothing, or "" if the sampler proposed a trained network.

    While trials are running, it says that nothing was searched yet.
    """
    kinds, counts = summary.kinds, summary.counts
    if kinds.get(PROPOSED) or not (kinds or counts.adopted):
        return ""
    yet = " yet" if counts.running else ""
    adopted = f"; adopted from other studies: {counts.adopted:,}" if counts.adopted else ""
    return (
        f"Nothing was searched{yet}: no trained network was proposed by the sampler{yet and ' so far'}; trained: "
        f"{listed_kinds(kinds) or 'none'}{adopted}."
    )


def epoch_rule(config: SearchConfig) -> str:
    """Return the rule by which epochs give the value of a trial, in words."""
    rule = _SHORT_RULES.get((config.score, config.epochs), _EPOCH_RULES[config.score])
    return rule.format(config.metric_name, config.epochs)


def winner_facts(summary: StudySummary) -> dict[str, str]:
    """Return the facts about the winner, by name; the result is empty if there is no winner."""
    winner, config = summary.winner, summary.config
    if winner is None:
        return {}
    facts = {"trial": str(winner.number), "origin": _winner_origin(winner)}
    facts |= {"descends from": summary.descent} if summary.descent else {}
    facts[config.metric_name] = f"{percent(winner.value)}, selected on {SELECTED_ON[config.data.select_on]}"
    other_value = None if summary.confirmation else summary.other_value(winner)
    if other_value is not None:
        facts[words_of(other_metric(config.metric))] = f"{percent(other_value)}, of the same training"
    if summary.confirmation:
        facts |= winner_evidence(summary.confirmation, SELECTED_ON[config.data.select_on], config.metric)
    elif summary.test_accuracy is not None and config.data.select_on != "test":
        facts["on test"] = f"{percent(summary.test_accuracy)}, on images that the search never saw"
    facts |= _cost_facts(winner, config)
    facts |= {"architecture": architecture_line(winner.arch)} if winner.arch else {}
    return facts


def _winner_origin(winner: TrialRecord) -> str:
    origin = origin_of(winner)
    note = " (stored with this program)" if STARTING_POINT in str(origin) else ""
    return f"{str(origin).replace(PROPOSED, f'{PROPOSED} by the sampler')}{note}"


def _cost_facts(record: TrialRecord, config: SearchConfig) -> dict[str, str]:
    """Return the cost of a network by name, with its distance from every limit."""
    facts = {"parameters": parameters_of(record), "MACs": count(record.macs)}
    facts["receptive field"] = count(record.receptive_field)
    for standing in standings(compute_cost(record.arch), config) if record.arch else []:
        limit = standing.limit
        unit = f" bytes in {config.bytes_in}" if limit.unit is BYTES else ""
        value = facts["parameters"] if limit.fact == "parameters" else f"{standing.value:,}"
        facts[limit.fact] = f"{value}{unit} ({standing.distance})"
    if record.latency_ms is not None:
        facts["latency"] = latency_words(record.latency_ms, config).replace(" of latency", "", 1)
    return facts


def parameters_of(record: TrialRecord, noun: str = "") -> str:
    """Return the number of parameters of a trial as `search.text.parameter_count` does, or "-" if it has none."""
    n_stored = n_stored_of(record)
    return "-" if record.n_params is None or n_stored is None else parameter_count(record.n_params, n_stored, noun)


def n_stored_of(record: TrialRecord) -> int | None:
    """Return the number of parameters of a trial counted layer by layer, or None if it has none."""
    return compute_cost(record.arch).n_stored if record.arch else record.n_params


def any_shares(records: Iterable[TrialRecord]) -> bool:
    """Return whether layers of the network of any trial share weights."""
    return any(record.arch is not None and record.arch.shares_weights for record in records)


def count(value: int | None) -> str:
    """Return a number with thousands separators, such as "7,496", or "-" for None."""
    return "-" if value is None else f"{value:,}"


def top_columns(summary: StudySummary) -> tuple[str, ...]:
    """Return the header of the table of the best trials; parameters also layer by layer if networks share weights."""
    parameters = ("parameters", "by layer") if any_shares(summary.top) else ("parameters",)
    return ("rank", "trial", *map(words_of, summary.metrics), *parameters, "MACs", "RF", "origin", "architecture")


def top_align(summary: StudySummary) -> str:
    """Return the alignment of the columns of the table of the best trials."""
    return ">" * (len(top_columns(summary)) - 2) + "<<"


def top_rows(summary: StudySummary) -> list[tuple[str, ...]]:
    """Return one row of cells for each of the best trials, under `top_columns`."""
    return [_top_row(rank, record, summary) for rank, record in enumerate(summary.top, start=1)]


def _top_row(rank: int, record: TrialRecord, summary: StudySummary) -> tuple[str, ...]:
    values = (record.value, summary.other_value(record))[: len(summary.metrics)]
    parameters = (record.n_params, n_stored_of(record)) if any_shares(summary.top) else (record.n_params,)
    costs = map(count, (*parameters, record.macs, record.receptive_field))
    words = (str(origin_of(record)), architecture_line(record.arch) if record.arch else "")
    return str(rank), str(record.number), *map(percent, values), *costs, *words


def baseline_columns(summary: StudySummary) -> tuple[str, ...]:
    """Return the header of the table of the hand-designed networks; stated accuracies are shown on MNIST only."""
    stated = ("stated on MNIST", "epochs") if _shows_stated(summary) else ()
    return ("network", "parameters", "fits", *stated, "in this study")


def baseline_align(summary: StudySummary) -> str:
    """Return the alignment of the columns of the table of the hand-designed networks."""
    return "<><>><" if _shows_stated(summary) else "<><<"


def baseline_rule(summary: StudySummary) -> str:
    """Return the sentences that explain the table of the hand-designed networks."""
    if not summary.baselines:
        return NO_BASELINES
    is_trained = any(result.value is not None for result in summary.baselines)
    rule = _BASELINE_RULE if is_trained else _UNTRAINED_BASELINES
    return f"{rule} {_STATED_RULE}" if _shows_stated(summary) else rule


def _shows_stated(summary: StudySummary) -> bool:
    return any(result.stated_accuracy is not None for result in summary.baselines)


def baseline_rows(summary: StudySummary) -> list[tuple[str, ...]]:
    """Return one row of cells for each hand-designed or user network, under `baseline_columns`."""
    return [_baseline_row(result, with_stated=_shows_stated(summary)) for result in summary.baselines]


def _baseline_row(result: BaselineResult, *, with_stated: bool) -> tuple[str, ...]:
    approximate = "about " * result.approximate
    stated = (f"{approximate}{percent(result.stated_accuracy)}", str(result.stated_epochs or "-"))
    in_study = result.remark if result.value is None else percent(result.value)
    name = result.id if kind_of_baseline(result.id) == HAND_DESIGNED else f"{result.id} ({USER_NETWORK})"
    fits = "yes" if result.fits else "no"
    return name, f"{result.n_params:,}", fits, *(stated if with_stated else ()), in_study


def proposal_lines(summary: StudySummary) -> list[str]:
    """Return lines with the number of proposed candidates, their outcomes, and the time spent on training."""
    counts = summary.counts
    share = f" ({100 * counts.feasible / counts.proposed:.1f} %)" if counts.proposed else ""
    trained_counts = {"finished": counts.finished, "stopped early": counts.stopped, "diverged": counts.diverged}
    untrained_counts = {
        "over a limit": counts.refused,
        "outside the space": counts.outside,
        "repeated an earlier one": counts.repeated,
    }
    unfinished_counts = {"interrupted": counts.interrupted, "running": counts.running}
    return [
        f"feasible / proposed: {counts.feasible:,} / {counts.proposed:,}{share}",
        f"trained: {_listed(trained_counts)}",
        *([f"origin of the trained ones: {listed_kinds(summary.kinds)}"] if summary.kinds else []),
        f"not trained: {_listed(untrained_counts)}",
        *([f"adopted from other studies: {counts.adopted:,}"] if counts.adopted else []),
        *([f"unfinished: {_listed(unfinished_counts)}"] if any(unfinished_counts.values()) else []),
        f"time spent training, summed over trials: {duration(summary.seconds)}",
    ]


def shares_weights(summary: StudySummary) -> bool:
    """Return whether the search may share weights, and its space has a way to."""
    names = {name for record in summary.top for name in record.params}
    return summary.config.share_weights and (not names or any(name.endswith(".shared") for name in names))


def _listed(counts: dict[str, int]) -> str:
    return "; ".join(f"{n:,} {outcome}" for outcome, n in counts.items() if n) or "none"


def method_lines(summary: StudySummary) -> list[str]:
    """Return sentences that state how the networks were trained, scored and chosen."""
    config, winner = summary.config, summary.winner
    n_changed = len(config.dimensions)
    precision = f", in {winner.precision}" if winner and winner.precision else ""
    seed = f"; the winner's is {winner.seed}" if winner and winner.seed is not None else ""
    return [
        _SCORED[config.data.select_on],
        f"Value of a trial: {epoch_rule(config)}. One seed a trial, {counted(config.epochs, 'epoch')}{precision}.",
        f"The study's seed is {config.seed}, from which each trial has a training seed of its own{seed}.",
        f"Sampler {config.sampler}, pruner {config.pruner}.",
        *(config.data.form.remarks if config.data.form else []),
        *([BALANCED_RULE] if len(summary.metrics) > 1 else []),
        *(["Every other training image is mirrored, left to right."] if config.mirror else []),
        *([f"Weights: {SHARING_RULE}."] if shares_weights(summary) else []),
        *([f"The space was changed in {counted(n_changed, 'dimension')}: space.toml."] if n_changed else []),
    ]


def recipe_facts(recipe: RecipeConfig) -> dict[str, str]:
    """Return the settings of a recipe by name, with those of the augmentation that are switched on."""
    schedule = asdict(recipe.schedule) | {"epochs": recipe.schedule.epochs or recipe.epochs}
    values = asdict(recipe) | {"schedule": schedule, "augmentation": recipe.augmentation.to_dict()}
    return {name.replace("_", " "): _setting(value) for name, value in values.items()}


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_setting(item)}" for name, item in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def command_line(summary: StudySummary) -> str:
    """Return the command that repeats the study under a new name, as the old name would resume it."""
    new_study = {"trials": summary.counts.feasible or None, "study": f"{summary.name}-again", "jobs": 1}
    config = summary.config
    space_options = {"dimensions": None, "space": summary.space_file} if config.dimensions else {}
    data = {"dataset": config.data.option, "mirror": None, "augmentations": None} | augmentation_options(config)
    options = config.settings() | data | space_options | new_study | {"share_weights": None}
    settings = {f"--{name.replace('_', '-')}": value for name, value in options.items() if value is not None}
    words = [word for name, value in [*settings.items(), *summary.run_options] for word in (name, str(value))]
    return shlex.join(["python", "search.py", *words, *(["--share-weights"] if shares_weights(summary) else [])])
