"""What a command imports before it does anything: seen in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_command_line_answers_before_anything_heavy_is_imported() -> None:
    heavy = {"torch", "optuna", "pandas", "sklearn", "scipy", "matplotlib", "numpy", "optuna_dashboard", "plotly"}
    code = f"import sys, search.cli.main; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.slow
def test_a_search_begins_before_the_libraries_of_its_end_are_imported() -> None:
    late = {"sklearn", "scipy.stats", "plotly", "onnx"}
    code = f"import sys, search.cli.job; print(*sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
