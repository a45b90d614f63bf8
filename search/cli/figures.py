"""Give the figures of a study as JSON, with the keys of card.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from models.cost import compute_cost
from search.limits import limits_met
from search.report.architecture import architecture_line
from search.report.facts import epoch_rule
from search.report.summary import StudySummary
from search.study.card import read_card
from search.study.load import WINNER
from search.study.location import StudyLocation
from search.study.trials import TrialRecord


def study_figures_json(summary: StudySummary, location: StudyLocation) -> dict[str, Any]:
    """Return the figures of a study in JSON types; those of the winner are null without a finished trial.

    If the winner was exported, the keys of its card.json are included. Otherwise the keys that need no exported file
    are. Raises InputError for a damaged card.
    """
    config, winner = summary.config, summary.winner
    figures: dict[str, Any] = {
        "study": summary.name,
        "trial": winner.number if winner else None,
        "notice": summary.notice or None,
        "limits": {"max_params": config.max_params, "epochs": config.epochs},
        "counts": asdict(summary.counts) | {"feasible": summary.counts.feasible, "proposed": summary.counts.proposed},
        "training_seconds": summary.seconds,
        "noise": asdict(summary.noise) if summary.noise else None,
        "caveats": list(summary.caveats),
    }
    if winner is None:
        return figures
    card = read_card(location.folder / WINNER) or {}
    return figures | _winner_figures(summary, winner) | (card if card.get("trial") == winner.number else {})


def _winner_figures(summary: StudySummary, winner: TrialRecord) -> dict[str, Any]:
    config, arch = summary.config, winner.arch
    figures = {
        "accuracy": {
            "select_on": config.data.select_on,
            "score": config.score,
            "metric": config.metric,
            "epoch_rule": epoch_rule(config),
            "recorded": winner.value,
        },
        "seed": winner.seed,
        "precision": winner.precision,
        "recipe": asdict(winner.recipe) if winner.recipe else None,
        "confirmation": summary.confirmation.facts() if summary.confirmation else None,
    }
    if arch is None:
        return figures
    cost = compute_cost(arch)
    return figures | {
        "architecture": architecture_line(arch),
        "arch": asdict(arch),
        "cost": {
            "n_params": cost.n_params,
            "n_stored": cost.n_stored,
            "macs": cost.macs,
            "feature_receptive_field": cost.feature_receptive_field,
            "receptive_field": cost.receptive_field,
            "peak_activation_bytes": cost.peak_activation_bytes,
            "peak_activation_bytes_int8": cost.peak_activation_bytes_int8,
        },
        "limits_met": limits_met(cost, config, winner.latency_ms),
    }
