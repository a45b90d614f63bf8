import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.equal_time.results import StudyResult, read_results
from benchmarks.equal_time.runner import run_missing
from benchmarks.equal_time.study import StudyPlan
from benchmarks.equal_time.tasks import Sources
from search.errors import FailureError
from tests.benchmarks.equal_time.made_up_results import made_up_result

ROOT = Path(__file__).parents[3]


def plans_of(folder: Path, n: int = 4) -> list[StudyPlan]:
    """Plans whose data directory is a folder in which each study leaves a file."""
    return [StudyPlan("mnist-8000", "random", seed, Sources(str(folder))) for seed in range(n)]


def leave_file(plan: StudyPlan) -> StudyResult:
    """A study that does nothing but leave a file."""
    Path(plan.sources.directory, f"{plan.seed}-{time.monotonic_ns()}").touch()
    return made_up_result(plan.arm, plan.seed, plan.task)


def fail_at_two(plan: StudyPlan) -> StudyResult:
    if plan.seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return leave_file(plan)


def wait_from_two(plan: StudyPlan) -> StudyResult:
    """A study that never ends from the third on."""
    if plan.seed >= 2:
        Path(plan.sources.directory, "waiting").touch()
        time.sleep(600)
    return leave_file(plan)


def seeds_run(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in folder.iterdir() if "-" in path.name)


@pytest.mark.slow
def test_finished_studies_are_not_run_again(tmp_path):
    path, folder = tmp_path / "results.jsonl", tmp_path / "runs"
    folder.mkdir()
    run_missing(plans_of(folder, 2), path, 2, leave_file)
    run_missing(plans_of(folder, 4), path, 2, leave_file)
    run_missing(plans_of(folder, 4), path, 2, leave_file)
    assert seeds_run(folder) == ["0", "1", "2", "3"]
    assert sorted(result.seed for result in read_results(path)) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_study_that_dies_ends_the_run_and_keeps_the_others(tmp_path):
    path, folder = tmp_path / "results.jsonl", tmp_path / "runs"
    folder.mkdir()
    with pytest.raises(FailureError, match="mnist-8000 random 2 ended without a result, with exit status -9"):
        run_missing(plans_of(folder), path, 1, fail_at_two)
    assert [result.seed for result in read_results(path)] == [0, 1]
    run_missing(plans_of(folder), path, 1, leave_file)
    assert [result.seed for result in read_results(path)] == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(tmp_path):
    path, folder = tmp_path / "results.jsonl", tmp_path / "runs"
    folder.mkdir()
    source = (
        "from pathlib import Path\n"
        "from tests.benchmarks.equal_time.test_runner import plans_of, run_missing, wait_from_two\n"
        "if __name__ == '__main__':\n"
        f"    run_missing(plans_of(Path({str(folder)!r})), Path({str(path)!r}), 1, wait_from_two)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(source)
    process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 120
    while not (folder / "waiting").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    run_missing(plans_of(folder), path, 2, leave_file)
    assert seeds_run(folder) == ["0", "1", "2", "3"]
    assert sorted(result.seed for result in read_results(path)) == [0, 1, 2, 3]
