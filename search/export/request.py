"""Find and export a requested network: the winner of a study, one of its trials, or a hand-designed network."""

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
from search.export.export import Announce, export_model, ignore
from search.export.formats.format import DEFAULT_OPTIONS, FormatOptions
from search.export.latency import Latencies
from search.export.trained_model import ModelSource, source_from_confirmation, source_from_repeat, source_from_trial
from search.report.summary import StudySummary
from search.study.card import read_card
from search.study.location import StudyLocation
from search.study.training import weights_path
from search.study.trials import TrialRecord, finished_trial, ranked
from search.text import parameter_count

LATENCIES = "latencies.json"


@dataclass(frozen=True)
class ExportRequest:
    """Request for the export of one network, by default the winner of the study.

    trial     number of the trial to export
    budget    export the best network with at most this many parameters
    network   id of the hand-designed network to export
    formats   formats of `export_model`, beside the one that is always written
    force     True if an earlier export may be replaced
    target    folder to write; None for one in the folder of the study
    announce  as in `export_model`
    options   options of the formats
    """

    trial: int | None = None
    budget: int | None = None
    network: str | None = None
    formats: Sequence[str] = ()
    force: bool = False
    target: Path | None = None
    announce: Announce = ignore
    options: FormatOptions = DEFAULT_OPTIONS


def export_from_search(
    request: ExportRequest, summary: StudySummary, records: Sequence[TrialRecord], location: StudyLocation
) -> tuple[ModelSource, Path]:
    """Export the requested network of a search; return the model and the folder. Raises InputError."""
    record = _requested_trial(request, summary, records)
    if record is None:
        target = request.target or location.folder / "winner"
        source = winner_source(summary, location)
    else:
        target = request.target or location.folder / f"trial-{record.number}"
        source = _trial_source(record, summary.config, location)
    _write_request(request, source, summary.config.data, location, target)
    return source, target


def _requested_trial(
    request: ExportRequest, summary: StudySummary, records: Sequence[TrialRecord]
) -> TrialRecord | None:
    """Return the requested trial, or None for the winner. Raises InputError if no trial matches."""
    if request.trial is not None:
        return finished_trial(records, request.trial)
    if request.network is not None:
        matches = [record for record in ranked(records) if record.baseline == request.network]
        if not matches:
            raise InputError(f"study {summary.name} has no finished training of {request.network!r:.80}; name another")
        return matches[0]
    if request.budget is not None:
        winner = summary.winner
        if winner and (winner.n_params or 0) <= request.budget:
            return None
        matches = [record for record in ranked(records) if (record.n_params or 0) <= request.budget]
        if not matches:
            raise InputError(
                f"no finished trial of study {summary.name} has at most {request.budget:,} parameters; raise --budget"
            )
        return matches[0]
    return None


def winner_source(summary: StudySummary, location: StudyLocation) -> ModelSource:
    """Return the confirmed network, or the best trial if nothing was confirmed. Raises InputError without any trial."""
    confirmation = summary.confirmation
    if confirmation:
        number, seed = confirmation.network.number, confirmation.network.repeat.seed
        weights = _weights_file(weights_path(location.folder / "repeats", number), confirmation.trial, seed, location)
        return source_from_confirmation(confirmation, summary.config, summary.name, weights, summary.winner)
    if summary.winner is None:
        raise InputError("this study has no finished trial yet; search on with more --trials")
    return _trial_source(summary.winner, summary.config, location)


def _trial_source(record: TrialRecord, config: SearchConfig, location: StudyLocation) -> ModelSource:
    path = weights_path(location.folder / "weights", record.number)
    weights = _weights_file(path, record.number, record.seed, location)
    return source_from_trial(record, config, str(location.name), weights)


def _weights_file(path: Path, trial: int, seed: int | None, location: StudyLocation) -> Path:
    """Return `path`, where the training wrote its weights, or the file in winner/ if only that one exists.

    The file in winner/ is returned only if it is from the same trial and seed.
    """
    winner = location.folder / "winner"
    card = None if path.is_file() else read_card(winner)
    return winner / "weights.pt" if card and (card["trial"], card["seed"]) == (trial, seed) else path


def export_baseline(
    request: ExportRequest, results: Sequence[RepeatResult], data: DataConfig, location: StudyLocation
) -> tuple[ModelSource, Path]:
    """Export a hand-designed network from the study of `baselines`; return the model and the folder.

    The recipe is the one with the best mean accuracy, the training the one with the median accuracy among those of
    that recipe. Raises InputError if the network was not trained.
    """
    matches = [result for result in results if result.repeat.network == request.network]
    if not matches:
        trained = ", ".join(dict.fromkeys(result.repeat.network for result in results)) or "none yet"
        raise InputError(
            f"study {location.name} is of hand-designed networks: name one that was trained with --network "
            f"({trained}), got {request.network!r:.80}"
        )
    recipes: dict[tuple[str, str], list[RepeatResult]] = {}
    for result in matches:
        recipes.setdefault((result.repeat.purpose, result.repeat.recipe_name), []).append(result)
    best = max(recipes.values(), key=lambda trainings: fmean(result.value for result in trainings))
    median = sorted(best, key=lambda result: result.value)[(len(best) - 1) // 2]
    source = source_from_repeat(
        median, len(best), str(location.name), weights_path(location.folder / "repeats", median.number)
    )
    target = request.target or location.folder / str(request.network)
    _write_request(request, source, data, location, target)
    return source, target


def _write_request(
    request: ExportRequest, source: ModelSource, data: DataConfig, location: StudyLocation, target: Path
) -> None:
    write_export(
        source,
        data,
        location,
        target,
        request.formats,
        force=request.force,
        announce=request.announce,
        options=request.options,
    )


def write_export(
    source: ModelSource,
    data: DataConfig,
    location: StudyLocation,
    target: Path,
    formats: Sequence[str],
    *,
    force: bool,
    announce: Announce = ignore,
    options: FormatOptions = DEFAULT_OPTIONS,
) -> dict[str, Any]:
    """Load the images that the network was scored on, export it to `target`, and return the card."""
    images = load_dataset(replace(data, select_on=source.scored_on))
    latencies = Latencies(location.folder / LATENCIES)
    return export_model(
        source, images, target, formats, force=force, latencies=latencies, announce=announce, options=options
    )


def exported_line(source: ModelSource, target: Path) -> str:
    """Return a line that describes an export: the network, its size, its result and the folder."""
    name = source.network or f"trial {source.trial}"
    cost = compute_cost(source.arch)
    return f"{name}, {parameter_count(cost.n_params, cost.n_stored)}, {source.result}: {target}"
