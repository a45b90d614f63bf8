"""Measure what kill -9 costs a study: python -m benchmarks.kills [--kills 50] [--jobs 2] [--seed 0] [--pause 3]

A search of the embedded digits is started as its user starts it. At random moments its main process, one of its workers
or the server that those are forked from is killed; a main process that is gone is started again by the same command. At
last it is left in peace. Every trial that had been reported finished has to be there, once, with its value; every place
in the sequence of proposals decided once; the total as asked for; the database whole; and no process may be left. With
one job the study is also run without a kill, and has to be the same, value for value. Exit status 1 where that fails.
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
# The shortest trainings there are, and no evidence: it is the bookkeeping that is tested.
OPTIONS = ("--dataset", "digits", "--epochs", "1", "--confirm", "none", "--budget", "1000", "--study", STUDY)
MAIN_SHARE, SERVER_SHARE = 0.25, 0.15
MEAN_PAUSE = 3.0
# Trials to be done in peace once the last process was killed.
LAST_TRIALS = 3
WAIT_SECONDS = 1200.0
LEFT_SECONDS = 30.0

# Of the decided trials: number, index, state, value.
_DECIDED = """
SELECT trials.number, place.value_json, trials.state, trial_values.value, outcome.value_json FROM trials
JOIN studies ON studies.study_id = trials.study_id AND studies.study_name = ?
JOIN trial_user_attributes AS outcome ON outcome.trial_id = trials.trial_id AND outcome.key = 'outcome'
JOIN trial_user_attributes AS place ON place.trial_id = trials.trial_id AND place.key = 'index'
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
    """A trial that came to its end: its place in the sequence, Optuna's state, its value or None, which end it was."""

    index: int
    state: str
    value: float | None
    outcome: str

    @property
    def is_trained(self) -> bool:
        """Whether the trial counts for --trials."""
        return self.outcome in TRAINED


@dataclass
class Attack:
    """One study under attack. folder: where it is made; n_workers: side by side; rng: when, and whom."""

    folder: Path
    n_workers: int
    rng: random.Random
    options: tuple[str, ...] = OPTIONS
    mean_pause: float = MEAN_PAUSE
    killed: Counter[str] = field(default_factory=Counter)
    reported: dict[int, Decided] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "studies" / "studies.db"

    def command(self, n_trials: int) -> list[str]:
        """The search, as its user starts it."""
        arguments = (*self.options, "--trials", str(n_trials), "--jobs", str(self.n_workers))
        return [sys.executable, str(ROOT / "search.py"), *arguments]

    def run(self, n_kills: int, n_trials: int | None = None) -> int:
        """Kill so often, then let the study come to its end; how many trials that is. None: LAST_TRIALS more."""
        try:
            while self.killed.total() < n_kills:
                self._start(n_trials or 100_000)
                if self.killed.total() % 2:
                    self._wait(self.decided)  # on a busy machine there would else be nothing to lose
                time.sleep(self.rng.expovariate(1 / self.mean_pause))
                self._report()
                self._kill()
        finally:
            self._end()
        asked = n_trials or self._n_trained() + LAST_TRIALS
        done = subprocess.run(self.command(asked), cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode or "Traceback" in done.stderr:
            self.faults.append(f"the last run ended with status {done.returncode}: {done.stderr[-2000:]}")
        self._check(asked)
        return asked

    def compare(self, folder: Path, asked: int) -> None:
        """Run the same study without a kill; what is different is a fault."""
        folder.mkdir()
        whole = Attack(folder, self.n_workers, self.rng, self.options)
        subprocess.run(whole.command(asked), cwd=folder, capture_output=True, check=True)
        ours, theirs = ({one.index: one for one in attack.decided().values()} for attack in (self, whole))
        wrong = [index for index in sorted({*ours, *theirs}) if ours.get(index) != theirs.get(index)]
        self.faults += [f"place {index}: {ours.get(index)}, uninterrupted {theirs.get(index)}" for index in wrong]

    def decided(self) -> dict[int, Decided]:
        """The decided trials, by number."""
        found = self._query(_DECIDED, STUDY)
        return {row[0]: Decided(int(row[1]), row[2], row[3], json.loads(row[4])) for row in found}

    def _start(self, n_trials: int) -> None:
        if self.process is None or self.process.poll() is not None:
            if self.process is not None and self.process.returncode not in (-signal.SIGKILL, 0):
                self.faults.append(f"a main process ended with status {self.process.returncode}")
            with (self.folder / "log.txt").open("a") as log:
                self.process = subprocess.Popen(
                    self.command(n_trials), cwd=self.folder, stdout=log, stderr=log, text=True
                )
            self._wait(self._begun)  # imports take most of a start; what is to be hit lies behind them

    def _wait(self, look: Callable[[], Sized]) -> None:
        """Until there is one more of what is looked at, or the search has ended."""
        deadline = time.monotonic() + WAIT_SECONDS
        before = len(look())
        while self.process and self.process.poll() is None and len(look()) == before:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the search did nothing new within {WAIT_SECONDS:.0f} s")
            time.sleep(0.05)

    def _kill(self) -> None:
        assert self.process is not None
        workers, server = children(self.process.pid), servers(self.process.pid)
        drawn = self.rng.random()
        if not workers or drawn < MAIN_SHARE:
            who, victims = "main", [self.process.pid]
        elif server and drawn < MAIN_SHARE + SERVER_SHARE:
            who, victims = "server", server
        else:
            who, victims = "worker", workers
        try:
            os.kill(self.rng.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[who] += 1
        print(f"kill {self.killed.total()}: {who}, {len(self.reported)} proposals decided before", file=sys.stderr)
        if who == "main":
            self.process.wait()

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _report(self) -> None:
        """Return the finished trials that a user could have seen by now."""
        for number, trial in self.decided().items():
            earlier = self.reported.setdefault(number, trial)
            if earlier != trial:
                self.faults.append(f"trial {number} was {earlier}, became {trial}")

    def _check(self, asked: int) -> None:
        decided = self.decided()
        self.faults += [f"trial {number} is lost" for number in self.reported if number not in decided]
        self.faults += [
            f"trial {number} changed" for number, one in self.reported.items() if decided.get(number) != one
        ]
        twice = {index: n for index, n in Counter(one.index for one in decided.values()).items() if n > 1}
        numbers = [number for (number,) in self._query(_NUMBERS, STUDY)]
        trained = self._n_trained()
        left = self._left()
        for is_wrong, words in (
            (twice, f"places decided more than once: {twice}"),
            (numbers != list(range(len(numbers))), "numbers are missing or doubled"),
            (not asked <= trained < asked + self.n_workers, f"{trained} trials were trained, {asked} asked for"),
            (self._query("PRAGMA integrity_check") != [("ok",)], "the database is damaged"),
            (self._query("SELECT * FROM trials WHERE state = 'RUNNING'"), "a trial is marked running, and none does"),
            (left, f"processes are left: {left}"),
        ):
            if is_wrong:
                self.faults.append(words)

    def _left(self) -> list[int]:
        """Processes that do not end by themselves, which the server does when nobody needs it any more."""
        deadline = time.monotonic() + LEFT_SECONDS
        while True:
            left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.05)

    def _is_ours(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").resolve() == self.folder.resolve() and pid != os.getpid()
        except OSError:
            return False

    def _n_trained(self) -> int:
        return sum(one.is_trained for one in self.decided().values())

    def _begun(self) -> list[tuple[Any, ...]]:
        return self._query(_BEGUN, STUDY)

    def _query(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as database:
                return database.execute(sql, values).fetchall()
        except sqlite3.OperationalError:
            return []  # there is none yet


def children(pid: int) -> list[int]:
    """The worker processes of a main process; what Python starts beside them is left out."""
    return [child for server in servers(pid) for child in _children(server)] + _children(pid, b"spawn_main")


def servers(pid: int) -> list[int]:
    """The process from which a main process has its workers forked, if it is there."""
    return _children(pid, b"multiprocessing.forkserver")


def _children(pid: int, word: bytes = b"") -> list[int]:
    """The child processes in whose command the word occurs."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and word in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def main() -> int:
    """Attack one study, and say what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=MEAN_PAUSE, help="mean seconds between kills (default: 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(Path(folder), args.jobs, random.Random(args.seed), mean_pause=args.pause)
        began = time.monotonic()
        asked = attack.run(args.kills)
        decided = attack.decided().values()
        if args.jobs == 1:
            attack.compare(Path(folder) / "whole", asked)
        killed = ", ".join(f"{who} {n}" for who, n in sorted(attack.killed.items()))
        print(f"{attack.killed.total()} kills ({killed}) in {time.monotonic() - began:.0f} s, {args.jobs} jobs")
        print(
            f"{len(decided)} proposals decided, {sum(one.is_trained for one in decided)} trained of {asked} asked for"
        )
        print(f"{len(attack.reported)} had been reported before a kill; faults: {len(attack.faults)}")
        print(*attack.faults, sep="\n")
    return 1 if attack.faults else 0


if __name__ == "__main__":
    sys.exit(main())
