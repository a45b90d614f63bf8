import os
import pty
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import optuna
import search.study.study  # which sets how much Optuna logs
from search.workers.progress import Progress
study = optuna.create_study(direction="maximize")
def objective(trial):
    outcome = ("finished", "refused", "stopped")[trial.number % 3]
    trial.set_user_attr("outcome", outcome)
    if outcome != "finished":
        raise optuna.TrialPruned
    return 0.9947
with Progress(study, 5) as progress:
    study.optimize(objective, n_trials=9, callbacks=[lambda study, trial: progress(study)])
"""


def test_the_line_on_a_terminal_says_what_matters_and_fits_80_columns():
    ours, theirs = pty.openpty()
    environment = os.environ | {"LINES": "24", "COLUMNS": "80"}
    subprocess.run(["stty", "rows", "24", "cols", "80"], stdin=theirs, check=True)
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    lines = [line for line in re.split(r"[\r\n]+", shown.decode()) if line.strip()]
    assert lines[-1].startswith("5/5 trained, 3 refused, 3 stopped, best 99.47% |")
    assert "left" in lines[-1]
    assert max(map(len, lines)) <= 80


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_nothing_is_shown_where_there_is_no_terminal():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
