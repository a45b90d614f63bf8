"""Measure what kill -9 costs a study: python -m benchmarks.kills [--kills 50] [--jobs 2] [--seed 0] [--pause 3]

A search of the embedded digits is started as a user starts it. At random moments its main process, one of its workers
or their fork server is killed; the same command then starts a killed main process again. The last run is not disturbed.
Afterwards every trial that had been reported as finished must be there once, with its value, and every index of the
sequence of proposals must be decided once. The number of trials must be as requested, the database undamaged, and no
process may be left. With one job the study is also run without a kill, and must have the same values. The exit status
is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sized
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.study.trials import TRAINED

ROOT = Path(__file__).resolve().parent.parent
STUDY = "kills"
# The shortest possible trainings and no confirmation, because only the bookkeeping is tested.
OPTIONS = ("--dataset", "digits", "--epochs", "1", "--confirm", "none", "--budget", "1000", "--study", STUDY)
MAIN_SHARE, SERVER_SHARE = 0.25, 0.15
MEAN_PAUSE = 3.0
# Trials to train after the last kill.
LAST_TRIALS = 3
WAIT_SECONDS = 1200.0
LEFT_SECONDS = 30.0

# Number, index, state, value and outcome of the decided trials.
_DECIDED = """
SELECT trials.number, proposal.value_json, trials.state, trial_values.value, outcome.value_json FROM trials
JOIN studies ON studies.study_id = trials.study_id AND studies.study_name = ?
JOIN trial_user_attributes AS outcome ON outcome.trial_id = trials.trial_id AND outcome.key = 'outcome'
JOIN trial_user_attributes AS proposal ON proposal.trial_id = trials.trial_id AND proposal.key = 'index'
LEFT JOIN trial_values ON trial_values.trial_id = trials.trial_id
WHERE trials.state IN ('COMPLETE', 'PRUNED') OR (trials.state = 'FAIL' AND outcome.value_json = '"diverged"')
"""
_NUMBERS = "SELECT number FROM trials JOIN studies USING (study_id) WHERE study_name = ? ORDER BY number"
_BEGUN = """
SELECT trial_id FROM trial_user_attributes JOIN trials USING (trial_id) JOIN studies USING (study_id)
WHERE study_name = ? AND key = 'worker'
"""


@dataclass(frozen=True)
class Decided:
    """Trial that has ended: its index in the sequence of proposals, Optuna's state, value or None, and outcome."""

    index: int
    state: str
    value: float | None
    outcome: str

    @property
    def is_trained(self) -> bool:
        """Return whether the trial counts for --trials."""
        return self.outcome in TRAINED


@dataclass
class Attack:
    """Study whose processes are killed at random.

    rng         source of the moments and the victims
    mean_pause  mean seconds between two kills
    killed      number of kills, by kind of process
    reported    trials that a user could have seen as ended before a kill, by number
    errors      checks that failed
    """

    folder: Path
    n_workers: int
    rng: random.Random
    options: tuple[str, ...] = OPTIONS
    mean_pause: float = MEAN_PAUSE
    killed: Counter[str] = field(default_factory=Counter)
    reported: dict[int, Decided] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def database(self) -> Path:
        """Return the path of the SQLite file."""
        return self.folder / "studies" / "studies.db"

    def command(self, n_trials: int) -> list[str]:
        """Return the command that starts or resumes the search."""
        arguments = (*self.options, "--trials", str(n_trials), "--jobs", str(self.n_workers))
        return [sys.executable, str(ROOT / "search.py"), *arguments]

    def run(self, n_kills: int, n_trials: int | None = None) -> int:
        """Kill processes `n_kills` times, then let the study end; return the requested number of trials.

        n_trials: trials to train in total; None: LAST_TRIALS more than at the last kill.
        """
        try:
            while self.killed.total() < n_kills:
                self._start(n_trials or 100_000)
                if self.killed.total() % 2:
                    self._wait(self.decided)  # on a busy machine no trial might have ended otherwise
                time.sleep(self.rng.expovariate(1 / self.mean_pause))
                self._report()
                self._kill()
        finally:
            self._end()
        n_requested = n_trials or self._n_trained() + LAST_TRIALS
        done = subprocess.run(self.command(n_requested), cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode or "Traceback" in done.stderr:
            self.errors.append(f"the last run ended with status {done.returncode}: {done.stderr[-2000:]}")
        self._check(n_requested)
        return n_requested

    def compare(self, folder: Path, n_requested: int) -> None:
        """Run the same study without a kill, and record an error for every difference."""
        folder.mkdir()
        uninterrupted = Attack(folder, self.n_workers, self.rng, self.options)
        subprocess.run(uninterrupted.command(n_requested), cwd=folder, capture_output=True, check=True)
        trials, expected = (
            {trial.index: trial for trial in attack.decided().values()} for attack in (self, uninterrupted)
        )
        different = [index for index in sorted({*trials, *expected}) if trials.get(index) != expected.get(index)]
        self.errors += [
            f"index {index}: {trials.get(index)}, uninterrupted {expected.get(index)}" for index in different
        ]

    def decided(self) -> dict[int, Decided]:
        """Return the decided trials, by number."""
        rows = self._query(_DECIDED, STUDY)
        return {row[0]: Decided(int(row[1]), row[2], row[3], json.loads(row[4])) for row in rows}

    def _start(self, n_trials: int) -> None:
        if self.process is None or self.process.poll() is not None:
            if self.process is not None and self.process.returncode not in (-signal.SIGKILL, 0):
                self.errors.append(f"a main process ended with status {self.process.returncode}")
            with (self.folder / "log.txt").open("a") as log:
                self.process = subprocess.Popen(
                    self.command(n_trials), cwd=self.folder, stdout=log, stderr=log, text=True
                )
            self._wait(self._begun)  # imports take most of a start, and kills should hit what comes after them

    def _wait(self, query: Callable[[], Sized]) -> None:
        """Wait until the result of a query has another length, or the search has ended. Raises TimeoutError."""
        deadline = time.monotonic() + WAIT_SECONDS
        before = len(query())
        while self.process and self.process.poll() is None and len(query()) == before:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the search did nothing new within {WAIT_SECONDS:.0f} s")
            time.sleep(0.05)

    def _kill(self) -> None:
        assert self.process is not None
        workers, server = children(self.process.pid), servers(self.process.pid)
        draw = self.rng.random()
        if not workers or draw < MAIN_SHARE:
            kind, victims = "main", [self.process.pid]
        elif server and draw < MAIN_SHARE + SERVER_SHARE:
            kind, victims = "server", server
        else:
            kind, victims = "worker", workers
        try:
            os.kill(self.rng.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[kind] += 1
        print(f"kill {self.killed.total()}: {kind}, {len(self.reported)} proposals decided before", file=sys.stderr)
        if kind == "main":
            self.process.wait()

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _report(self) -> None:
        """Note the trials that a user can see as ended by now, and record an error if one of them has changed."""
        for number, trial in self.decided().items():
            earlier = self.reported.setdefault(number, trial)
            if earlier != trial:
                self.errors.append(f"trial {number} was {earlier}, became {trial}")

    def _check(self, n_requested: int) -> None:
        """Record an error for every property of the finished study that does not hold."""
        decided = self.decided()
        self.errors += [f"trial {number} is missing" for number in self.reported if number not in decided]
        self.errors += [
            f"trial {number} changed" for number, trial in self.reported.items() if decided.get(number) != trial
        ]
        repeated = {index: n for index, n in Counter(trial.index for trial in decided.values()).items() if n > 1}
        numbers = [number for (number,) in self._query(_NUMBERS, STUDY)]
        n_trained = self._n_trained()
        remaining = self._remaining_processes()
        for is_error, message in (
            (repeated, f"indices decided more than once: {repeated}"),
            (numbers != list(range(len(numbers))), "numbers are missing or repeated"),
            (
                not n_requested <= n_trained < n_requested + self.n_workers,
                f"{n_trained} trials were trained, {n_requested} requested",
            ),
            (self._query("PRAGMA integrity_check") != [("ok",)], "the database is damaged"),
            (self._query("SELECT * FROM trials WHERE state = 'RUNNING'"), "a trial is marked as running after the end"),
            (remaining, f"processes are left: {remaining}"),
        ):
            if is_error:
                self.errors.append(message)

    def _remaining_processes(self) -> list[int]:
        """Return the ids of processes that do not end by themselves; the fork server does, when it is not needed."""
        deadline = time.monotonic() + LEFT_SECONDS
        while True:
            pids = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_own_process(pid)]
            if not pids or time.monotonic() > deadline:
                return pids
            time.sleep(0.05)

    def _is_own_process(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").resolve() == self.folder.resolve() and pid != os.getpid()
        except OSError:
            return False

    def _n_trained(self) -> int:
        return sum(trial.is_trained for trial in self.decided().values())

    def _begun(self) -> list[tuple[Any, ...]]:
        return self._query(_BEGUN, STUDY)

    def _query(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as database:
                return database.execute(sql, values).fetchall()
        except sqlite3.OperationalError:
            return []  # there is no database yet


def children(pid: int) -> list[int]:
    """Return the worker processes of a main process, without other processes that Python starts."""
    return [child for server in servers(pid) for child in _children(server)] + _children(pid, b"spawn_main")


def servers(pid: int) -> list[int]:
    """Return the fork server of a main process, if it has one."""
    return _children(pid, b"multiprocessing.forkserver")


def _children(pid: int, word: bytes = b"") -> list[int]:
    """Return the child processes whose command contains a word."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and word in (path / "cmdline").read_bytes():
                pids.append(int(path.name))
        except OSError:
            continue  # it has ended meanwhile
    return pids


def main() -> int:
    """Run one study with kills, and print the results of the checks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=MEAN_PAUSE, help="mean seconds between kills (default: 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(Path(folder), args.jobs, random.Random(args.seed), mean_pause=args.pause)
        began = time.monotonic()
        n_requested = attack.run(args.kills)
        decided = attack.decided().values()
        if args.jobs == 1:
            attack.compare(Path(folder) / "whole", n_requested)
        killed = ", ".join(f"{kind} {n}" for kind, n in sorted(attack.killed.items()))
        print(f"{attack.killed.total()} kills ({killed}) in {time.monotonic() - began:.0f} s, {args.jobs} jobs")
        n_trained = sum(trial.is_trained for trial in decided)
        print(f"{len(decided)} proposals decided, {n_trained} trained of {n_requested} requested")
        print(f"{len(attack.reported)} had been reported before a kill; errors: {len(attack.errors)}")
        print(*attack.errors, sep="\n")
    return 1 if attack.errors else 0


if __name__ == "__main__":
    sys.exit(main())
