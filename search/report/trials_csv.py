"""Build the table of trials.csv, with one row per trial of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from models.cost import compute_cost
from search.config import METRICS, SearchConfig
from search.data.load import form_of
from search.engine.metrics import other_metric, other_value
from search.report.architecture import architecture_line
from search.report.networks.of_trial import network_of
from search.report.networks.origin import origin_of
from search.report.summary import training_seconds
from search.search_space.active import active_dimensions
from search.study.trials import TrialRecord
from space import whole_space_of

_DTYPES = {int: "Int64", float: "Float64", bool: "boolean", str: "string"}
_COLUMNS = {
    "number": int,
    "index": int,
    "outcome": str,
    "reason": str,
    "value": float,
    "accuracy": float,
    "balanced_accuracy": float,
    "n_params": int,
    "n_stored": int,
    "macs": int,
    "receptive_field": int,
    "peak_activation_bytes": int,
    "latency_ms": float,
    "seconds": float,
    "seed": int,
    "precision": str,
    "engine": str,
    "architecture": str,
    "origin": str,
    "baseline": str,
    "start": str,
    "stored_network": str,
    "adopted_from": str,
    "repeats": int,
}


def trials_table(records: Sequence[TrialRecord], config: SearchConfig) -> pd.DataFrame:
    """Return a table with one row per trial: its facts, then the value of every searched dimension.

    Values that a trial does not have are missing, and so are the values of dimensions that do not act in it. There is
    a balanced accuracy if classes are imbalanced or if the search maximised it; then the accuracy and the balanced
    accuracy after the last trained epoch are included too.
    """
    rows = [_facts(record, config) for record in records]
    last_epochs = [record.curve[-1] if record.curve else {} for record in records]
    is_balanced = any("balanced_accuracy" in epoch for epoch in last_epochs) or config.metric == "balanced_accuracy"
    columns = {
        name: _column([row[name] for row in rows], kind)
        for name, kind in _COLUMNS.items()
        if is_balanced or name != "balanced_accuracy"
    }
    columns["last_train_accuracy"] = _column([epoch.get("train_accuracy") for epoch in last_epochs], float)
    if any("balanced_accuracy" in epoch for epoch in last_epochs):
        for name in METRICS:
            columns[f"last_{name}"] = _column([epoch.get(name) for epoch in last_epochs], float)
    # A study of an older space has no columns for the dimensions that were added later.
    searched_names = {name for record in records for name in record.params}
    active_params = [_active_params(record, config) for record in records]
    for dimension in whole_space_of(config).dimensions:
        if searched_names and dimension.name not in searched_names:
            continue
        values = [params.get(dimension.name) for params in active_params]
        columns[dimension.name] = _column(values, type(dimension.default))
    return pd.DataFrame(columns)


def _facts(record: TrialRecord, config: SearchConfig) -> dict[str, Any]:
    """Return the facts of a trial by the names of their columns."""
    network, origin = network_of(record, config), origin_of(record)
    return vars(record) | {
        "reason": record.reason or None,
        config.metric: record.value,
        other_metric(config.metric): None
        if record.value is None
        else other_value(record.curve, config.score, config.metric),
        "n_stored": compute_cost(network).n_stored if network else None,
        "seconds": training_seconds(record),
        "architecture": architecture_line(network) if network else None,
        "origin": origin.kind,
        "stored_network": origin.stored or None,
        "adopted_from": record.origin,
    }


def _active_params(record: TrialRecord, config: SearchConfig) -> Mapping[str, Any]:
    """Return the values of the dimensions that act in a trial."""
    space = whole_space_of(config)
    params = space.completed(record.params)
    if not record.params or network_of(record, config) is None:
        return record.params
    form = form_of(config.data)
    active = active_dimensions(space.dimensions, params, form.input_shape, form.n_classes)
    return {name: value for name, value in record.params.items() if name in active}


def _column(values: Sequence[object], kind: type) -> pd.api.extensions.ExtensionArray:
    # These types support missing values, so one trial without n_params does not turn all others into floats.
    return pd.array(values, dtype=_DTYPES[kind])
