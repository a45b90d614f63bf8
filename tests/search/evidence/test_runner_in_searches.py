"""Confirmation as a part of the search, and where there is nothing to confirm."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.config import DataConfig, SearchConfig
from search.evidence.confirm import ConfirmPlan
from search.evidence.read import repeats_of
from search.evidence.repeats import CHOOSE, REPORT, Repeat
from search.storage.open import open_storage
from search.study.location import StudyLocation
from search.study.study import open_study
from tests.search.digits_confirmations import DIGITS, STUDY, card, confirm, null, run

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_study_without_a_result_has_nothing_to_confirm_and_no_noise(
    tmp_path: Path, trainings: list[Repeat], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / STUDY).mkdir()
    settings = SearchConfig(DataConfig("digits", "unused"), 8000, epochs=1).settings()
    open_study(open_storage(f"sqlite:///{tmp_path}/studies.db"), STUDY, settings)
    assert confirm(tmp_path, "2:2") == 0
    assert "No trial has finished yet." in capsys.readouterr().out
    assert null(tmp_path) == 2
    assert capsys.readouterr().err == "search.py: this study has no finished trial yet; search on with more --trials\n"
    assert trainings == []


# As a part of the search


@pytest.mark.slow
def test_searched_on_held_out_images_the_confirmed_winner_is_trained_on_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ("--budget", 8000, "--trials", 2, *DIGITS, "--select-on", "val", "--confirm", "2:1", "--out", tmp_path)
    assert run(*search) == 0
    assert "mean of 1 fresh seed " in " ".join(capsys.readouterr().out.split())
    results, plan = repeats_of(StudyLocation(tmp_path, STUDY))
    assert isinstance(plan, ConfirmPlan)
    assert [(result.repeat.purpose, result.repeat.select_on) for result in results] == [
        *[(CHOOSE, "val")] * 2,
        *[(REPORT, "test")] * (len(results) - 2),
    ]
    found = card(tmp_path)
    accuracy = found["accuracy"]
    assert (accuracy["scored_on"], accuracy["select_on"]) == ("test", "val")
    assert found["data"]["n_images"] == {"train": 1438, "test": 359}
    assert accuracy["recorded"] == accuracy["file_on_test"] == found["confirmation"]["accuracy"]["mean"]
    assert accuracy["test_note"] == "read once, after the last epoch of this training, after the selection"
    assert "trained again on all training images" in (tmp_path / STUDY / "winner" / "README.md").read_text()
    assert "## Confirmation" in (tmp_path / STUDY / "report.md").read_text()


@pytest.mark.slow
def test_an_unfinished_study_is_not_confirmed(tmp_path: Path, trainings: list[Repeat]) -> None:
    search = ("--budget", 8000, "--trials", 100, "--timeout", 1, *DIGITS, "--confirm", "1:1", "--out", tmp_path)
    assert run(*search) == 0
    assert trainings == []
    assert card(tmp_path)["confirmation"] is None
