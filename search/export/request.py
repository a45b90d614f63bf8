"""Find the network to export: a study's winner, one of its trials, or a hand-designed network that was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from models.cost import compute_cost
from search.config import DataConfig, SearchConfig
from search.data.load import load_dataset
from search.errors import InputError
from search.evidence.repeats import RepeatResult
from search.export.export import export_model
from search.export.latency import Latencies
from search.export.trained_model import ModelSource, source_from_confirmation, source_from_repeat, source_from_trial
from search.report.summary import StudySummary
from search.study.card import read_card
from search.study.location import StudyLocation
from search.study.training import weights_path
from search.study.trials import TrialRecord, finished_trial, ranked

LATENCIES = "latencies.json"


@dataclass(frozen=True)
class Wanted:
    """Request for an export: a trial's number, a largest number of parameters, or a hand-designed network's id.

    None of the three: the winner. formats and force: as `export_model` takes them. target: the folder, None
    for one beside the report.
    """

    trial: int | None = None
    budget: int | None = None
    network: str | None = None
    formats: Sequence[str] = ()
    force: bool = False
    target: Path | None = None


def export_wanted(
    wanted: Wanted, summary: StudySummary, records: Sequence[TrialRecord], location: StudyLocation
) -> tuple[ModelSource, Path]:
    """Export from the study of a search; what was exported, and where to. Raises InputError."""
    record = _record(wanted, summary, records)
    if record is None:
        target = wanted.target or location.folder / "winner"
        source = winner_source(summary, location)
    else:
        target = wanted.target or location.folder / f"trial-{record.number}"
        source = _trial_source(record, summary.config, location)
    write_export(source, summary.config.data, location, target, wanted.formats, force=wanted.force)
    return source, target


def _record(wanted: Wanted, summary: StudySummary, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The wanted trial; None for the winner."""
    if wanted.trial is not None:
        return finished_trial(records, wanted.trial)
    if wanted.network is not None:
        found = [record for record in ranked(records) if record.baseline == wanted.network]
        if not found:
            raise InputError(f"study {summary.name} has no finished training of {wanted.network!r:.80}; name another")
        return found[0]
    if wanted.budget is not None:
        winner = summary.winner
        if winner and (winner.n_params or 0) <= wanted.budget:
            return None
        found = [record for record in ranked(records) if (record.n_params or 0) <= wanted.budget]
        if not found:
            raise InputError(
                f"no finished trial of study {summary.name} has at most {wanted.budget:,} parameters; raise --budget"
            )
        return found[0]
    return None


def winner_source(summary: StudySummary, location: StudyLocation) -> ModelSource:
    """The confirmed network, or, where nothing was confirmed, the best trial's. Raises InputError."""
    found = summary.confirmation
    if found:
        number, seed = found.network.number, found.network.repeat.seed
        weights = _weights(weights_path(location.folder / "repeats", number), found.trial, seed, location)
        latency = summary.winner.latency_ms if summary.winner else None
        return source_from_confirmation(found, summary.config, summary.name, weights, latency)
    if summary.winner is None:
        raise InputError("this study has no finished trial yet; search on with more --trials")
    return _trial_source(summary.winner, summary.config, location)


def _trial_source(record: TrialRecord, config: SearchConfig, location: StudyLocation) -> ModelSource:
    weights = _weights(weights_path(location.folder / "weights", record.number), record.number, record.seed, location)
    return source_from_trial(record, config, str(location.name), weights)


def _weights(kept: Path, trial: int, seed: int | None, location: StudyLocation) -> Path:
    """The file that was kept in the training, or, where only that was handed on, the same training's in winner/."""
    winner = location.folder / "winner"
    card = None if kept.is_file() else read_card(winner)
    return winner / "weights.pt" if card and (card["trial"], card["seed"]) == (trial, seed) else kept


def export_baseline(
    wanted: Wanted, results: Sequence[RepeatResult], data: DataConfig, location: StudyLocation
) -> tuple[ModelSource, Path]:
    """Export a hand-designed network from the study of `baselines`; what was exported, and where to. Raises InputError.

    With the recipe that has the best mean; of its trainings the one with the median accuracy.
    """
    found = [one for one in results if one.repeat.network == wanted.network]
    if not found:
        trained = ", ".join(dict.fromkeys(one.repeat.network for one in results)) or "none yet"
        raise InputError(
            f"study {location.name} is of hand-designed networks: name one that was trained with --network "
            f"({trained}), got {wanted.network!r:.80}"
        )
    recipes: dict[tuple[str, str], list[RepeatResult]] = {}
    for one in found:
        recipes.setdefault((one.repeat.purpose, one.repeat.recipe_name), []).append(one)
    best = max(recipes.values(), key=lambda trainings: fmean(one.value for one in trainings))
    median = sorted(best, key=lambda one: one.value)[(len(best) - 1) // 2]
    source = source_from_repeat(
        median, len(best), str(location.name), weights_path(location.folder / "repeats", median.number)
    )
    target = wanted.target or location.folder / str(wanted.network)
    write_export(source, data, location, target, wanted.formats, force=wanted.force)
    return source, target


def write_export(
    source: ModelSource, data: DataConfig, location: StudyLocation, target: Path, formats: Sequence[str], *, force: bool
) -> dict[str, Any]:
    """Load the images that the network was scored on, and export; the card."""
    images = load_dataset(replace(data, select_on=source.scored_on))
    kept = Latencies(location.folder / LATENCIES)
    return export_model(source, images, target, formats, force=force, latencies=kept)


def exported_line(source: ModelSource, target: Path) -> str:
    """Describe the export in a line."""
    what = source.network or f"trial {source.trial}"
    return f"{what}, {compute_cost(source.arch).n_params:,} parameters, {source.result}: {target}"
