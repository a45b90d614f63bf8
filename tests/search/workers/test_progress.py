"""What a person sees of a study that runs: a line on a terminal, plain lines in a file."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import optuna
import pytest

from search.study.training_report import TrainingReport
from search.workers import progress as progress_module
from search.workers.progress import Progress, Subject, TrainingProgress
from search.workers.remaining import Remaining

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import optuna
import search.study.study  # which sets how much Optuna logs
from search.study.training_report import TrainingReport
from search.workers import progress
from search.workers.progress import Progress, Subject
from search.workers.remaining import Remaining
progress.REFRESH_SECONDS = 0.0
study = optuna.create_study(direction="maximize")
def objective(trial):
    shown.report(TrainingReport(trial.number, 3, 15, 0.2, 20.0, 0.9812))
    outcome = ("finished", "refused", "stopped")[trial.number % 3]
    trial.set_user_attr("outcome", outcome)
    trial.set_user_attr("seconds", 130.0)
    trial.set_user_attr("reason", "50 % is far below the median")
    if outcome != "finished":
        raise optuna.TrialPruned
    return 0.9947
with Progress(study, Subject(5, lambda trials, reports: Remaining(70.0, 3600.0))) as shown:
    study.optimize(objective, n_trials=9, callbacks=[lambda study, trial: shown(study)])
"""


def on_a_terminal(n_columns: int, program: str = PROGRAM, *, check: bool = True, **streams: object) -> list[str]:
    """Run a program on a terminal with so many columns, and return the lines that it wrote there."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", "24", "cols", str(n_columns)], stdin=theirs, check=True)
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stderr=theirs, **{"stdout": theirs, **streams}, check=check
    )
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b""))
    return [line.rstrip() for line in re.split(r"[\r\n]+", shown.decode()) if line.strip()]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_the_line_on_a_terminal_says_what_matters_and_fits_its_columns() -> None:
    lines = on_a_terminal(80)
    assert lines[0] == "0/5 trained | 0: 3/15 98.12% | 1 h 1 min left"
    assert lines[-1] == "5/5 trained, 3 refused, 3 stopped, best 99.47% | 1 h 1 min left"
    assert all("trained" in line and "left" in line for line in lines)  # no plain line is among them
    assert max(map(len, lines)) <= 80
    narrow = on_a_terminal(50)
    assert max(map(len, narrow)) <= 50
    assert narrow[-1] == "5/5 trained, best 99.47% | 1 h 1 min left"
    assert on_a_terminal(40)[-1] == "5/5 trained | 1 h 1 min left"
    assert on_a_terminal(24)[-1] == "1 h 1 min left"


def test_a_file_gets_a_line_for_each_trained_trial_and_a_summary() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "after 0 s: 0/5 trained; in training: trial 0 in epoch 3 of 15 (98.12 %); "
        "1 h 1 min left (search 1 min 10 s, confirmation 1 h 0 min)"
    )
    assert lines[1] == "trial 0: 99.47 % after 2 min 10 s | 1/5 trained, best 99.47%, 1 h 1 min left"
    assert lines[2] == (
        "trial 2: stopped after 2 min 10 s, 50 % is far below the median | 2/5 trained, best 99.47%, 1 h 1 min left"
    )
    assert [line.partition(":")[0] for line in lines[3:]] == ["trial 3", "trial 5", "trial 6", "trial 8"]
    assert done.stderr == ""


def test_a_file_of_standard_output_is_written_beside_the_line_on_a_terminal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        assert on_a_terminal(80, stdout=log)[-1].startswith("5/5 trained")
    assert (tmp_path / "log").read_text().count("trial 0: 99.47 %") == 1


class Clock:
    """Clock that a test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def test_summaries_come_early_and_then_every_few_minutes(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study()
    trial = study.ask()
    estimates: list[Remaining | None] = [None]
    with Progress(study, Subject(5, lambda _trials, _reports: estimates[-1])) as shown:
        for now in range(400):
            clock.now = float(now)
            if now == 8:
                estimates.append(Remaining(600.0))
            if now >= 8:
                shown.report(TrainingReport(trial.number, 1, 15, 0.01, now - 7.0))
            shown(study)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "after 7 s",
        "after 8 s",
        "after 1 min 8 s",
        "after 4 min 8 s",
    ]
    assert lines[0].endswith("0/5 trained; time left not known yet")
    assert lines[1].endswith("in training: trial 0 in epoch 1 of 15; 10 min 0 s left")


def test_a_search_that_refuses_everything_says_why(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study()
    with Progress(study, Subject(5, lambda _trials, _reports: None)) as shown:
        trial = study.ask()
        trial.set_user_attr("outcome", "refused")
        trial.set_user_attr("reason", "1.2 ms of latency, 0.2 over the limit of 1")
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        clock.now = 8.0
        shown(study)
    assert capsys.readouterr().out == (
        "after 8 s: 0/5 trained, 1 refused, 0 stopped; last refused: 1.2 ms of latency, 0.2 over the limit of 1; "
        "time left not known yet\n"
    )


def test_many_refusals_in_a_row_are_counted(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study()
    attributes = {"outcome": "refused", "reason": "9,000 parameters"}
    with Progress(study, Subject(5, lambda _trials, _reports: None)) as shown:
        for _ in range(25):
            state = optuna.trial.TrialState.PRUNED
            study.add_trial(optuna.trial.create_trial(state=state, user_attrs=attributes))
        for clock.now in (8.0, 60.0, 68.0):
            shown(study)
    first, second = capsys.readouterr().out.splitlines(keepends=True)
    assert second.startswith("after 1 min 8 s: 0/5 trained, 25 refused")
    assert first == (
        "after 8 s: 0/5 trained, 25 refused, 0 stopped; 25 refused in a row, and 1,000 end the search; last refused: "
        "9,000 parameters; time left not known yet\n"
    )


def test_an_interruption_says_what_is_lost(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study()
    done, lost = study.ask(), study.ask()
    subject = Subject(5, lambda _trials, _reports: None, noun="trainings")
    with suppress(KeyboardInterrupt), Progress(study, subject) as shown:
        for trial in (done, lost):
            shown.report(TrainingReport(trial.number, 2, 15, 0.1, 65.0))
        done.set_user_attr("outcome", "finished")
        study.tell(done, 0.9)
        clock.now = 5.0
        latest = study.ask()  # which the display has not read
        shown._reports[latest.number] = (TrainingReport(latest.number, 1, 15, 0.01, 1.0), 4.0)
        raise KeyboardInterrupt
    assert capsys.readouterr().err == (
        "1 of 5 trainings is done and kept; begun and not kept: trial 1 (epoch 2 of 15, 1 min 10 s), "
        "trial 2 (epoch 1 of 15, 2 s); "
        "repeat the command to continue.\n"
    )


def test_the_line_on_a_terminal_is_final_when_an_interruption_says_what_is_lost() -> None:
    lines = on_a_terminal(60, program=f"{PROGRAM}    raise KeyboardInterrupt\n", check=False)
    last = lines.index("6 of 6 trials are done and kept; repeat the command to")
    assert lines[last - 1].startswith("5/5 trained")
    assert lines[last + 1] == "continue."
    assert not any("trained" in line for line in lines[last:])


def test_a_training_without_a_study(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress("trial 7") as shown:
        for now in range(200):
            clock.now = float(now)
            shown.report(TrainingReport(7, 4, 15, 0.25, 60.0, 0.98))
    assert capsys.readouterr().out == 2 * "trial 7: epoch 4 of 15 (98.00 %), 3 min 0 s left\n"


def test_a_reader_that_has_ended_does_not_end_a_search() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}\nimport os; os._exit(7)"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (7, b"")
