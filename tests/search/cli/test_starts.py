"""Searches with and without the networks that are stored with the program."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.search.digits_runs import DIGITS

pytestmark = pytest.mark.slow


def test_a_search_without_stored_networks_trains_only_proposals(tmp_path: Path, inside) -> None:
    command = ("--budget", 3000, "--jobs", 1, *DIGITS, "--starts", "none")
    status, out, _ = inside(tmp_path, *command, "--trials", 2)
    assert (status, "first    " in out) == (0, False)
    folder = tmp_path / "studies" / "digits-3000"
    assert set(pd.read_csv(folder / "trials.csv")["origin"]) == {"proposed"}
    report = (folder / "report.md").read_text()
    assert "| descends from | no stored network: it was drawn at random |" in report
    assert "--starts none" in report

    # It is a setting of the study. A network that the user names is trained all the same.
    status, _, err = inside(tmp_path, *command[:-2], "--trials", 2)
    assert (status, "starts" in err, err.count("\n")) == (2, True, 1)
    (tmp_path / "mine.toml").write_text(MINE)
    status, out, _ = inside(tmp_path, *command, "--trials", 3, "--baseline", "mine.toml")
    assert (status, "first    1 user network" in out) == (0, True)


MINE = """\
input_shape = [1, 28, 28]
n_classes = 10
[[stages]]
blocks = [{ out_channels = 8 }]
[head]
kind = "gap_linear"
"""
