"""Build the table of trials.csv, with one row per trial of a study."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from search.config import METRICS
from search.study.trials import TrialRecord
from space import DIMENSIONS

_DTYPES = {int: "Int64", float: "Float64", bool: "boolean", str: "string"}
_COLUMNS = {
    "number": int,
    "index": int,
    "outcome": str,
    "reason": str,
    "value": float,
    "n_params": int,
    "macs": int,
    "receptive_field": int,
    "peak_activation_bytes": int,
    "latency_ms": float,
    "seconds": float,
    "seed": int,
    "precision": str,
    "engine": str,
    "baseline": str,
    "start": str,
    "repeats": int,
    "origin": str,
}


def trials_table(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """Return a table with one row per trial: its facts, then the value of every searched dimension.

    Values that a trial does not have are missing. The accuracy and the balanced accuracy after the last trained epoch
    are included if classes are imbalanced or if the search maximised the balanced accuracy.
    """
    rows = [{**vars(record), "reason": record.reason or None} for record in records]
    columns = {name: _column([row[name] for row in rows], kind) for name, kind in _COLUMNS.items()}
    last_epochs = [row["curve"][-1] if row["curve"] else {} for row in rows]
    columns["last_train_accuracy"] = _column([epoch.get("train_accuracy") for epoch in last_epochs], float)
    if any("balanced_accuracy" in epoch for epoch in last_epochs):
        for name in METRICS:
            columns[f"last_{name}"] = _column([epoch.get(name) for epoch in last_epochs], float)
    # A study of an older space has no columns for the dimensions that were added later.
    searched_names = {name for row in rows for name in row["params"]}
    for dimension in DIMENSIONS:
        if searched_names and dimension.name not in searched_names:
            continue
        values = [row["params"].get(dimension.name) for row in rows]
        columns[dimension.name] = _column(values, type(dimension.default))
    return pd.DataFrame(columns)


def _column(values: list[object], kind: type) -> pd.api.extensions.ExtensionArray:
    # These types support missing values, so one trial without n_params does not turn all others into floats.
    return pd.array(values, dtype=_DTYPES[kind])
