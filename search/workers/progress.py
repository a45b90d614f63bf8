"""Show the progress of the trainings of a study: on one line of a terminal, and as plain lines in a file or a pipe."""

from __future__ import annotations

import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import optuna
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from search.config import words_of
from search.study.attributes import CURVE, ORIGIN, REASON, SECONDS
from search.study.loop import MAX_REFUSED_IN_A_ROW, n_refused_in_a_row, n_trained
from search.study.training_report import TrainingReport
from search.study.trials import FINISHED, REFUSED, STOPPED, TRAINED, outcome_of
from search.text import duration, percent
from search.workers.remaining import Remaining, Reports

# A report updates the display if nothing else has for so long: workers in other processes are polled more often.
REFRESH_SECONDS = 1.5
# A file gets a first summary as soon as the speed is known, or without a time after the first of these times. The
# second summary, which rests on more steps, follows after the second of them, and further ones every few minutes. As
# long as the speed is not known, for example because all proposals are refused, they follow after the second time.
LATEST_FIRST_SUMMARY, SECOND_SUMMARY, SUMMARY_SECONDS = 7.0, 60.0, 180.0
# Number of proposals refused in a row that the display counts.
MANY_REFUSED = 20


def print_line(line: str) -> None:
    """Print a line at once. A search goes on if the reader of its output has ended."""
    with suppress(BrokenPipeError):
        print(line, flush=True)


class Output:
    """One line on a terminal that is rewritten, and plain lines where standard output is a file or a pipe.

    The line on the terminal goes to standard error.
    """

    def __init__(self) -> None:
        self._bar = tqdm(bar_format="{desc}", dynamic_ncols=True, disable=None)
        self.is_terminal = not self._bar.disable
        self.is_plain = bool(sys.stdout) and not (self.is_terminal and sys.stdout.isatty())
        self._last_refresh = -float("inf")

    @property
    def is_due(self) -> bool:
        """Return whether the line was written long enough ago to be written again."""
        return time.monotonic() - self._last_refresh >= REFRESH_SECONDS

    @property
    def width(self) -> int:
        """Return the number of columns that the line may have."""
        return (self._bar.format_dict["ncols"] or 80) - 1 if self.is_terminal else 0

    def rewrite(self, line: str) -> None:
        """Replace the line on the terminal."""
        self._last_refresh = time.monotonic()
        if self.is_terminal:
            self._bar.set_description_str(line[: self.width])

    def print(self, line: str) -> None:
        """Print a plain line where standard output is a file or a pipe."""
        if self.is_plain:
            print_line(line)

    def close(self) -> None:
        """End the line on the terminal."""
        self._bar.close()


@dataclass(frozen=True)
class Subject:
    """Trainings whose progress is shown.

    n_total    number of trainings
    remaining  estimate of the remaining time, from the trials and the reports of the trainings in progress
    name       name of a trial, for example "trial 12"
    label      short name of a trial, for the line on a terminal
    noun       what the trainings are called
    """

    n_total: int
    remaining: Callable[[Sequence[FrozenTrial], Reports], Remaining | None]
    name: Callable[[FrozenTrial], str] = lambda trial: f"trial {trial.number}"
    label: Callable[[FrozenTrial], str] = lambda trial: str(trial.number)
    noun: str = "trials"


class Progress:
    """Display of the progress of a study.

    It shows the numbers of trained, refused and stopped trials, the best value, the trainings in progress and the time
    left. In a file it is a line for every trial that ended, and a summary every few minutes. An interruption of the
    context ends it with a sentence that says what is kept.
    """

    def __init__(self, study: optuna.Study, subject: Subject) -> None:
        self._study, self._subject = study, subject
        self._output = Output()
        self._reports: dict[int, tuple[TrainingReport, float]] = {}
        self._trials = study.get_trials(deepcopy=False)
        self._shown = {trial.number for trial in _trained(self._trials)}
        self._started = time.monotonic()
        self._next_summary = self._started + LATEST_FIRST_SUMMARY
        self._has_estimate = False
        self._metric = words_of((study.metric_names or ["accuracy"])[0])

    def report(self, report: TrainingReport) -> None:
        """Note the state of a training in progress, and update the display if that is due."""
        self._reports[report.trial] = (report, time.monotonic())
        if self._output.is_due:
            self(self._study)

    def __call__(self, study: optuna.Study) -> None:
        """Update the display from the trials of the study."""
        self._trials = study.get_trials(deepcopy=False)
        running = {trial.number for trial in self._trials if trial.state == TrialState.RUNNING}
        self._reports = {number: report for number, report in self._reports.items() if number in running}
        reports = {number: report for number, (report, _) in self._reports.items()}
        remaining = self._subject.remaining(self._trials, reports)
        time_left = remaining.total if remaining else "time left not known yet"
        self._output.rewrite(self._line(time_left))
        for trial in _trained(self._trials):
            if trial.number not in self._shown:
                self._shown.add(trial.number)
                self._output.print(f"{self._result(trial)} | {self._counts()}, {time_left}")
        self._summarise(remaining)

    def _summarise(self, remaining: Remaining | None) -> None:
        """Print a summary if it is due."""
        now = time.monotonic()
        is_first_estimate = remaining is not None and not self._has_estimate
        if now < self._next_summary and not is_first_estimate:
            return
        self._next_summary = now + (SUMMARY_SECONDS if self._has_estimate else SECOND_SUMMARY)
        self._has_estimate = remaining is not None
        parts = [f"after {duration(now - self._started)}: {self._counts(refused=True)}", *self._names_in_training()]
        parts += self._refusals() if not self._reports else []
        parts.append(remaining.parts if remaining else "time left not known yet")
        self._output.print("; ".join(parts))

    def _names_in_training(self) -> list[str]:
        names = [
            f"{self._subject.name(self._trials[number])} in epoch {report.epoch} of {report.n_epochs}"
            + ("" if report.value is None else f" ({percent(report.value)})")
            for number, (report, _) in sorted(self._reports.items())
        ]
        return [f"in training: {', '.join(names)}"] if names else []

    def _line(self, time_left: str) -> str:
        """Return the line for the terminal, with as much as fits: counts, trainings in progress and time left."""
        short = [
            f"{self._subject.label(self._trials[number])}: {report.epoch}/{report.n_epochs}"
            + ("" if report.value is None else f" {report.value:.2%}")
            for number, (report, _) in sorted(self._reports.items())
        ]
        if not short and (refusals := self._refusals()) and (len(refusals) > 1 or not _trained(self._trials)):
            short = refusals[:1]
        trainings = [", ".join(short)]
        trainings += [", ".join([*short[:n], f"+{len(short) - n}"]) for n in range(len(short) - 1, -1, -1)]
        counts = self._counts()
        rows = [
            (self._counts(refused=True), trainings[0], time_left),
            *((counts, shown, time_left) for shown in trainings),
            (counts, time_left),
            (counts.partition(",")[0], time_left),
            (time_left,),
        ]
        lines = [" | ".join(filter(None, row)) for row in rows]
        return next((line for line in lines if len(line) <= self._output.width), lines[-1])

    def _counts(self, *, refused: bool = False) -> str:
        """Return how many trials are trained and the best value, with `refused` also how many were not or in part."""
        outcomes = Counter(map(outcome_of, self._trials))
        # Side-by-side workers may train more trials than asked for.
        n_done = min(n_trained(self._trials), self._subject.n_total)
        parts = [f"{n_done}/{self._subject.n_total} trained"]
        if refused and (outcomes[REFUSED] or outcomes[STOPPED]):
            parts += [f"{outcomes[REFUSED]} refused", f"{outcomes[STOPPED]} stopped"]
        values = [trial.value or 0.0 for trial in self._trials if trial.state == TrialState.COMPLETE]
        if values:
            parts.append(f"best {max(values):.2%}" + ("" if self._metric == "accuracy" else f" {self._metric}"))
        return ", ".join(parts)

    def _result(self, trial: FrozenTrial) -> str:
        """Return the result of a trained trial."""
        attrs, name = trial.user_attrs, self._subject.name(trial)
        outcome = outcome_of(trial)
        seconds = attrs.get(SECONDS) or sum(epoch["seconds"] for epoch in attrs.get(CURVE, ()))
        if outcome == FINISHED:
            return f"{name}: {percent(trial.value)} after {duration(seconds)}"
        return f"{name}: {outcome} after {duration(seconds)}, {attrs.get(REASON, '')}"

    def _refusals(self) -> list[str]:
        """Return how many proposals were refused in a row, if these are many, and why the last one was."""
        refused = [trial for trial in self._trials if outcome_of(trial) == REFUSED]
        reason = str(refused[-1].user_attrs.get(REASON, "")) if refused else ""
        n_in_a_row = n_refused_in_a_row(self._trials)
        count = f"{n_in_a_row} refused in a row, and {MAX_REFUSED_IN_A_ROW:,} end the search"
        return [count] * (n_in_a_row >= MANY_REFUSED) + [f"last refused: {reason}"] * bool(reason)

    def _interrupted(self) -> str:
        """Return what an interruption keeps and what it loses, in a sentence."""
        trials = self._study.get_trials(deepcopy=False)
        now = time.monotonic()
        lost = [
            f"{self._subject.name(trials[number])} (epoch {report.epoch} of {report.n_epochs}, "
            f"{duration(report.seconds + now - received)})"
            for number, (report, received) in sorted(self._reports.items())
            if outcome_of(trials[number]) not in TRAINED
        ]
        n_done = n_trained(trials)
        verb = "is" if n_done == 1 else "are"
        kept = f"{n_done} of {max(self._subject.n_total, n_done)} {self._subject.noun} {verb} done and kept"
        begun = f"; begun and not kept: {', '.join(lost)}" if lost else ""
        return f"{kept}{begun}; repeat the command to continue."

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._output.close()
        if kind is KeyboardInterrupt:
            message = self._interrupted()
            if self._output.is_terminal:
                message = textwrap.fill(message, max(20, self._output.width))
            print(message, file=sys.stderr)


def _trained(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that were trained in this study, not adopted."""
    return [trial for trial in trials if outcome_of(trial) in TRAINED and ORIGIN not in trial.user_attrs]


class TrainingProgress:
    """Display of the progress of one training that belongs to no study."""

    def __init__(self, name: str) -> None:
        self._name, self._output = name, Output()
        self._next_line = time.monotonic() + LATEST_FIRST_SUMMARY

    def report(self, report: TrainingReport) -> None:
        """Update the display if that is due."""
        value = "" if report.value is None else f" ({percent(report.value)})"
        share, seconds = report.measured
        left = duration((1 - report.share) / share * seconds)
        line = f"{self._name}: epoch {report.epoch} of {report.n_epochs}{value}, {left} left"
        if self._output.is_due:
            self._output.rewrite(line)
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SUMMARY_SECONDS
            self._output.print(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._output.close()
