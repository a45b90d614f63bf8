"""Test what the end of a search prints about its winner."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import optuna
import pytest

from search.cli.conclude import write_reports
from search.report.summary import summarise
from search.study.location import StudyLocation
from tests.search.made_up_trials import CONFIG, made_up


@pytest.mark.parametrize("origin", ["other/7", None])
def test_an_adopted_winner_is_exported_by_the_study_that_trained_it(
    origin: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [made_up(0, 0.99, origin=origin)]
    monkeypatch.setattr("search.cli.conclude.read_trials", lambda _trials: records)
    monkeypatch.setattr("search.cli.conclude.summary_of", lambda *_: summarise("s", CONFIG, records))
    for name in ("write_report", "winner_source", "write_export", "card_facts"):
        monkeypatch.setattr(f"search.cli.conclude.{name}", Mock(return_value={}))
    write_reports(optuna.create_study(), CONFIG, StudyLocation(tmp_path, "s"), with_export=True)
    words = "The winner is not exported, because the study that trained it has its weights: python search.py export"
    assert (f"{words} other --trial 7\n" in capsys.readouterr().out) == bool(origin)
