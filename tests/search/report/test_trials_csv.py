from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from search.errors import InputError
from search.report.summary import summarise
from search.report.terminal import markdown_report, write_report
from search.report.trials_csv import trials_table
from search.study.trials import TrialRecord
from space import DIMENSIONS, assemble
from tests.search.made_up_summaries import SUMMARIES
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, made_up


def test_what_an_older_space_did_not_search_has_no_column() -> None:
    record = made_up(0, 0.99)
    older = replace(record, params={name: value for name, value in record.params.items() if name != "norm_scale"})
    assert set(trials_table([record], CONFIG)) - set(trials_table([older], CONFIG)) == {"norm_scale"}


def test_trials_table() -> None:
    table = trials_table(EVERY_OUTCOME, CONFIG)
    assert list(table.columns[-len(DIMENSIONS) :]) == [dimension.name for dimension in DIMENSIONS]
    whole = ["number", "index", "n_params", "macs", "receptive_field", "seed", "repeats", "stages", "batch_size"]
    assert set(table[whole].dtypes) == {pd.Int64Dtype()}
    assert list(table["number"]) == [record.number for record in EVERY_OUTCOME]
    assert list(table["outcome"]) == [record.outcome for record in EVERY_OUTCOME]
    finished, refused, running = table.loc[0], table.loc[1], table.loc[6]
    assert (finished["value"], finished["baseline"], finished["last_train_accuracy"]) == (0.9931, "s004_net3", 0.982)
    assert (finished["transitions.1.place"], finished["stages.1.padded"], finished["batch_size"]) == ("none", 0, 128)
    inactive = ["transitions.1.bare", "transitions.1.width", "stages.3.depth", "adamw.lr", "stages.1.width.3"]
    assert finished[inactive].isna().all()
    assert (finished["accuracy"], finished["origin"]) == (0.9931, "hand-designed")
    assert (finished["n_stored"], finished["architecture"]) == (4222, "12 12 · pool · 12 12 · GAP linear 10")
    assert refused["reason"] == "9,000 parameters, 1,000 over the budget of 8,000"
    assert refused[["value", "receptive_field", "seconds", "last_train_accuracy"]].isna().all()
    assert running["sgd.lr"] is pd.NA
    assert table.loc[4, "repeats"] == 0
    adopted = trials_table([made_up(0, 0.99, origin="other/7")], CONFIG).loc[0]
    assert (adopted["origin"], adopted["adopted_from"]) == ("adopted", "other/7")
    assert adopted["seconds"] is pd.NA  # spent by the other study


def test_seconds_add_up_to_the_time_of_the_report() -> None:
    records = [*EVERY_OUTCOME, made_up(20, 0.99, origin="other/7")]
    assert trials_table(records, CONFIG).seconds.sum() == summarise("s", CONFIG, records).seconds == 300


@pytest.mark.parametrize(
    ("params", "empty"),
    [
        ({"optimizer": "adamw"}, {"sgd.lr", "soap.lr", "sgd.weight_decay", "stages.1.width.3", "stages.3.kernel"}),
        ({"stages.1.depth": 3, "stages.1.dropout": "all"}, {"adamw.lr", "stages.1.width.4", "stages.1.dropout"}),
        ({"stages.1.depth": 3, "stages.1.dropout": "all", "dropout": 0.1}, {"adamw.lr", "head.dropout.x"}),
        ({"head.kind": "conv"}, {"head.hidden_width"}),
        ({"stages.2.shared": "stage"}, {"stages.2.width.2"}),
        ({"stages.1.kind": "residual"}, {"stages.1.width.1", "stages.1.padded"}),
    ],
)
def test_dimensions_that_do_not_act_are_empty(params: dict[str, Any], empty: set[str]) -> None:
    record = made_up(0, 0.99, params=params)
    row = trials_table([record], CONFIG).loc[0]
    names = [dimension.name for dimension in DIMENSIONS]
    for name in names:
        assert row[name] is pd.NA or row[name] == record.params[name]
    missing = {name for name in names if row[name] is pd.NA}
    assert empty & set(names) <= missing
    assert not missing & {"optimizer", "stages", "stages.1.depth", "activation", "shear", f"{row.optimizer}.lr"}
    # Another value of an empty dimension is another point of the same candidate.
    for name in missing:
        assert same_candidate(record.params, name)


def same_candidate(params: dict[str, Any], name: str) -> bool:
    (dimension,) = (dimension for dimension in DIMENSIONS if dimension.name == name)
    draws = [dimension.sample(random.Random(seed)) for seed in range(10)]
    return len({assemble({**params, name: value}).key() for value in draws} | {assemble(params).key()}) == 1


@pytest.mark.parametrize("records", [EVERY_OUTCOME, [], EVERY_OUTCOME[1:2]], ids=["all", "none", "one refused"])
def test_csv_reads_back_as_it_was(records: list[TrialRecord], tmp_path: Path) -> None:
    write_report(summarise("s", CONFIG, records), records, tmp_path / "new" / "folder")
    table = trials_table(records, CONFIG)
    found = pd.read_csv(tmp_path / "new" / "folder" / "trials.csv", dtype=table.dtypes.to_dict())
    pd.testing.assert_frame_equal(found, table)


def test_written_report(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("old")
    write_report(SUMMARIES["every outcome"], EVERY_OUTCOME, tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == markdown_report(SUMMARIES["every outcome"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md", "trials.csv"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.md").write_text("old")

    def write_half(path: Path, text: str, **_: Any) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(InputError, match=r"report\.html: No space left on device; free some space"):
        write_report(SUMMARIES["every outcome"], EVERY_OUTCOME, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"report.md": b"old"}
