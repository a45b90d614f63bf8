"""trials.csv: one row for each trial of a study."""

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
    """Return a table with one row for each trial: its facts, then the value of every searched dimension.

    What a trial does not have is missing. Both accuracies after the last trained epoch are there where classes are
    imbalanced or the search maximised another than accuracy.
    """
    rows = [{**vars(record), "reason": record.reason or None} for record in records]
    columns = {name: _column([row[name] for row in rows], kind) for name, kind in _COLUMNS.items()}
    last_epochs = [row["curve"][-1] if row["curve"] else {} for row in rows]
    columns["last_train_accuracy"] = _column([epoch.get("train_accuracy") for epoch in last_epochs], float)
    if any("balanced_accuracy" in epoch for epoch in last_epochs):
        for name in METRICS:
            columns[f"last_{name}"] = _column([epoch.get(name) for epoch in last_epochs], float)
    # A study of an older space has no column for what was not searched then.
    searched = {name for row in rows for name in row["params"]}
    for dimension in DIMENSIONS:
        if searched and dimension.name not in searched:
            continue
        values = [row["params"].get(dimension.name) for row in rows]
        columns[dimension.name] = _column(values, type(dimension.default))
    return pd.DataFrame(columns)


def _column(values: list[object], kind: type) -> pd.api.extensions.ExtensionArray:
    # Types that know missing values: an n_params that one trial lacks does not turn all others into 7496.0.
    return pd.array(values, dtype=_DTYPES[kind])
