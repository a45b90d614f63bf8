"""The options of a study's runs, read back from config.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.config import ConfirmConfig
from search.evidence.confirm import ConfirmPlan
from search.evidence.run_options import DEFAULT_CONFIRM, run_options


def plan(n: int, seeds: int, further: int = 0) -> ConfirmPlan:
    return ConfirmPlan(tuple(range(n)), (0.9,) * n, None, seeds, further)


@pytest.mark.parametrize(
    ("runs", "confirmed", "options"),
    [
        ([], None, [("--confirm", "none")]),
        ([], plan(4, 3, 10), [("--confirm", "4:3:10")]),
        ([[]], None, [("--confirm", "5:5")]),
        ([[]], plan(2, 5), [("--confirm", "5:5")]),  # two trials finished
        ([["--confirm", "2:2"]], plan(2, 2), [("--confirm", "2:2")]),
        ([["--confirm=2:2:4"]], plan(2, 2, 4), [("--confirm", "2:2:4")]),
        ([["--confirm", "none"]], None, [("--confirm", "none")]),
        ([["--confirm", "none"]], plan(5, 5), [("--confirm", "5:5")]),  # by the command confirm
        ([["--confirm", "3:5"]], plan(5, 5), [("--confirm", "5:5")]),
        ([["--confirm", "none"], ["--confirm", "2:2"]], None, [("--confirm", "2:2")]),  # not finished
        (
            [["--warm", "a", "--engine", "torch"], ["--warm", "a", "--warm=b c", "--baseline", "my.json"]],
            None,
            [
                ("--warm", "a"),
                ("--warm", "b c"),
                ("--baseline", "my.json"),
                ("--engine", "torch"),
                ("--confirm", "5:5"),
            ],
        ),
        ([["--engine", "auto", "--data-dir", "/d"]], None, [("--data-dir", "/d"), ("--confirm", "5:5")]),
    ],
)
def test_options(
    tmp_path: Path, runs: list[list[str]], confirmed: ConfirmPlan | None, options: list[tuple[str, str]]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"runs": [{"argv": argv} for argv in runs]}))
    assert list(run_options(path, confirmed, [])) == options


@pytest.mark.parametrize("text", ["", "{}", '{"runs": [1, {"argv": 2}]}'])
def test_a_damaged_file_leaves_the_report(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    assert list(run_options(path, None, ["other"])) == [("--warm", "other"), ("--confirm", "none")]


def test_the_default_is_that_of_the_command_line() -> None:
    default = ConfirmConfig()
    assert f"{default.top}:{default.seeds}" == DEFAULT_CONFIRM
    assert default.further == 0
