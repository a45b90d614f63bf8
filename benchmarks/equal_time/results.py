"""Results of studies, one JSON line each, appended to a file as the studies end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

from benchmarks.equal_time.tasks import SHARES, TASKS, Task
from models.record import Record
from search.errors import InputError
from search.search_space.encoding import Candidate


@dataclass(frozen=True)
class ScoredLeader(Record):
    """Candidate that led a study at one or several of the moments that count.

    epochs, seen  at the first of these moments, the epochs after which the study had scored it, and its accuracy on
                  the scored images, in [0, 1]
    fresh         accuracies on the unseen images of complete trainings from fresh seeds, in [0, 1]
    """

    candidate: Candidate
    n_params: int
    epochs: int
    seen: float
    fresh: tuple[float, ...]


@dataclass(frozen=True)
class StudyResult(Record):
    """Result of one study.

    shares         shares of the time after which the leaders led
    leaders        leaders that differ
    leader_rows    for each share the index of its leader, -1 if nothing was scored by then
    chance         accuracy that counts where there was no leader
    spent          processor seconds of the trainings of the search, the last of which may have been cut
    all_seconds    processor seconds of the whole study: images, proposals, trainings, and scoring of the leaders
    n_begun        trainings that were begun
    n_complete     trainings that came to their last epoch in time, whatever their length
    """

    arm: str
    seed: int
    task: Task
    shares: tuple[float, ...]
    leaders: tuple[ScoredLeader, ...]
    leader_rows: tuple[int, ...]
    chance: float
    spent: float
    all_seconds: float
    n_begun: int
    n_complete: int
    processor: str
    revision: str | None

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Return the mean accuracy on the unseen images, in [0, 1], of the leader after each share of the time."""
        means = [sum(leader.fresh) / len(leader.fresh) for leader in self.leaders]
        return tuple(self.chance if row < 0 else means[row] for row in self.leader_rows)


def read_results(path: Path) -> list[StudyResult]:
    """Return the results in a file, none if it is missing. A last line that a killed command cut is left out.

    Raises InputError for a damaged line, for a study that is there twice, and for one of other sizes than plan.md has.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; name another file with --results") from error
    results: list[StudyResult] = []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            result = StudyResult.from_dict(json.loads(line))
        except (ValueError, RecursionError) as error:  # RecordError is a ValueError
            raise InputError(
                f"line {number} of {path} is no result of this program: {error!s:.200}; delete the line, and its study "
                "is run again"
            ) from error
        _check_plan(result, f"line {number} of {path}")
        if any(_name(result) == _name(other) for other in results):
            raise InputError(f"line {number} of {path} repeats the study {_name(result)}; delete one of them")
        results.append(result)
    return results


def _check_plan(result: StudyResult, where: str) -> None:
    planned = TASKS.get(result.task.name)
    if result.task != planned or result.shares != SHARES:
        raise InputError(
            f"{where} has the task {result.task.name!r:.80} with other sizes than this program; results of two plans "
            "do not compare: name another file with --results"
        )


def _name(result: StudyResult) -> tuple[str, str, int]:
    return result.task.name, result.arm, result.seed


@contextmanager
def opened_results(path: Path) -> Iterator[BinaryIO]:
    """Open a file of results for `append`, and cut off an incomplete last line.

    Raises InputError if the file cannot be written, or if another command writes to it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another file with --results") from error
    with file:
        if not lock_descriptor(file.fileno(), blocking=False):
            raise InputError(f"another command writes to {path}; wait for it, or name another file with --results")
        file.seek(0)
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)
        yield file


def append(file: BinaryIO, result: StudyResult) -> None:
    """Append a result as one line, which is on the disk when this returns. Raises InputError if it cannot."""
    line = json.dumps(result.to_dict(), allow_nan=False).encode() + b"\n"
    try:
        while line:
            line = line[file.write(line) :]
        os.fsync(file.fileno())
    except OSError as error:
        raise InputError(
            f"cannot write to the file of results: {error.strerror}; free some space, then repeat the command to "
            "continue"
        ) from error


def missing(names: Sequence[tuple[str, str, int]], results: Sequence[StudyResult]) -> list[tuple[str, str, int]]:
    """Return the studies, (task, arm, seed), that have no result yet."""
    done = {_name(result) for result in results}
    return [name for name in names if name not in done]
