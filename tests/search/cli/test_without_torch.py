"""Commands that answer from text import no torch, which takes longer than all the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys
from search.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as stop:
    status = stop.code
print(status, *{"torch", "pandas", "matplotlib", "torchvision"} & sys.modules.keys(), file=sys.stderr)
"""
COMMANDS = [
    (["--version"], 0),
    (["--help"], 0),
    (["run", "--help"], 0),
    (["describe", "s004_net3"], 0),
    (["describe", "s004_net3", "--json"], 0),
    (["describe", "nowhere.toml"], 2),
    (["space", "--budget", "20"], 0),
    (["--budget", "8k", "--dataset", "nmist"], 2),
    (["--budget", "8k", "--colour"], 2),
    (["--trials", "3"], 2),
    (["--budget", "8k", "--space", "nowhere.toml"], 2),
    (["--budget", "8k", "--study", "a/b"], 2),
    (["--budget", "8k", "--baseline", "s004_net9"], 2),
    (["--budget", "8k", "--warm", "refrence"], 2),
    (["frontier", "--dataset", "nmist"], 2),
    (["baselines", "s004_net9"], 2),
    *(([command, "refrence"], 2) for command in ("report", "export", "confirm", "null", "rerun", "dashboard")),
    (["describe", "refrence"], 2),
    (["studies"], 0),
]


@pytest.mark.parametrize(
    ("arguments", "status"), COMMANDS, ids=lambda value: "-".join(value) if isinstance(value, list) else None
)
def test_answers_from_text_import_no_torch(arguments: Sequence[str], status: int, tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == str(status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["describe", "tpe"], ["describe", "tpe", "--trial", "0", "--json"], ["studies"]])
def test_studies_are_read_without_torch(arguments: Sequence[str], tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "tpe"
    folder.mkdir(parents=True)
    (folder / "study.db").write_bytes((ROOT / "studies" / "tpe" / "study.db").read_bytes())
    program = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stderr == "0\n"
