from pathlib import Path

import pytest

from benchmarks.equal_time.__main__ import main
from benchmarks.equal_time.results import append, opened_results
from benchmarks.equal_time.tables import plan_tables
from tests.benchmarks.equal_time.made_up_results import made_up_result

ROOT = Path(__file__).parents[3]


def test_the_plan_has_the_tables_of_the_program(capsys):
    assert main(["plan"]) == 0
    printed = capsys.readouterr().out
    assert printed == plan_tables() + "\n"
    plan = (ROOT / "benchmarks" / "equal_time" / "plan.md").read_text(encoding="utf-8")
    for part in printed.strip().split("\n\n"):
        assert part in plan


def test_the_report_is_printed_and_its_curves_are_drawn(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    with opened_results(path) as file:
        append(file, made_up_result())
    assert main(["report", "--results", str(path), "--plots", str(tmp_path / "plots")]) == 0
    assert "mnist-8000" in capsys.readouterr().out
    assert [plot.name for plot in (tmp_path / "plots").iterdir()] == ["mnist-8000.svg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "--results", "absent.jsonl"], "absent.jsonl has no results yet; run: "),
        (["run", "--tasks", "cifar10-8000", "--cifar10", "absent"], "absent"),
    ],
)
def test_errors_of_the_user_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("equal_time: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["run", "--seeds", "0"], ["run", "--jobs", "two"], ["costs", "--tasks", "mnist"], []]
)
def test_wrong_options_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
