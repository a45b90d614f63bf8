"""Run the trainings of a confirmation or of a noise floor, in the study of repeats that belongs to a search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from models.cost import compute_cost
from search.config import ConfirmConfig, SearchConfig
from search.errors import InputError
from search.evidence.confirm import (
    ConfirmPlan,
    choose,
    choosing,
    confirmation,
    make_plan,
    measuring,
    noise_floor,
    reporting,
)
from search.evidence.repeats import QueueEmpty, Repeat, RepeatResult, Retraining, n_left, queue, read_results, repeat_of
from search.evidence.statistics import expected_sd
from search.storage.open import GRACE_SECONDS, open_storage, study_lock
from search.storage.optuna_internals import storage_of
from search.study.attributes import BASELINE, PLAN, SETTINGS
from search.study.location import StudyLocation, repeats_name
from search.study.loop import n_trained
from search.study.results_version import join_results
from search.study.study import load_study, open_study
from search.study.trials import TrialRecord, finished_trial, ranked, read_trials
from search.text import counted, wrapped
from search.workers.estimate import work_of_training
from search.workers.pool import Task, carry_out
from search.workers.progress import Progress, Subject, print_line
from search.workers.recovery import requeue_abandoned
from search.workers.remaining import RepeatsRemaining


@dataclass(frozen=True)
class Retrainer:
    """Retrainer that runs the repeats of one study.

    location     location of the study whose trials are repeated
    engine       as in search.engine.train.engine_for
    n_workers    number of networks that are trained in parallel
    every_epoch  as in Retraining
    grace        as in search.storage.open.open_storage
    may_change   as in search.cli.job.Job
    """

    location: StudyLocation
    config: SearchConfig
    engine: str
    n_workers: int
    every_epoch: bool = False
    grace: int = GRACE_SECONDS
    may_change: bool = False

    def open(self, name: str, settings: Mapping[str, Any]) -> optuna.Study:
        """Return the study of repeats, created if it is missing, with interrupted trials queued again."""
        storage = open_storage(self.location.url)
        with study_lock(storage, name):
            study = open_study(storage, name, settings)
            join_results(study, may_differ=self.may_change)
            requeue_abandoned(study, running_are_abandoned=not self.location.is_shared)
        return study

    def train(
        self,
        study: optuna.Study,
        repeats: Sequence[Repeat],
        seconds: Mapping[int, float] | None = None,
        later: Sequence[Repeat] = (),
    ) -> list[RepeatResult]:
        """Train the repeats that are not yet in the study, and all queued ones; return all finished repeats.

        seconds  seconds that each trial of the search was trained for, by number, for the estimate of the time
        later    trainings that follow these, for the same purpose

        Raises KeyboardInterrupt after a message about the finished repeats, which are kept.
        """
        with study_lock(storage_of(study), study.study_name):
            queue(study, repeats)
        # A training that is interrupted last is queued again, on a server also by other processes.
        while left := n_left(study):
            weights_dir = self.location.folder / "repeats"
            options: dict[str, Any] = {"every_epoch": self.every_epoch, "metric": self.config.metric}
            objective = Retraining(self.config.data, weights_dir, self.engine, **options)
            task = Task(self.location.url, study.study_name, objective, self.config, QueueEmpty(), grace=self.grace)
            total = n_trained(study.get_trials(deepcopy=False)) + left
            n_workers = min(self.n_workers, left)
            if n_workers > 1:
                objective.share_data(study)
            with Progress(study, self._subject(total, seconds or {}, later)) as progress:
                carry_out(task, n_workers, progress, progress.report)
        return read_results(study.get_trials(deepcopy=False))

    def _subject(self, total: int, seconds: Mapping[int, float], later: Sequence[Repeat]) -> Subject:
        """Return the description of the trainings for the display of their progress."""

        def work_of(trial: FrozenTrial) -> float | None:
            repeat = repeat_of(trial)
            return None if repeat is None else _work(repeat, seconds)

        def name(trial: FrozenTrial) -> str:
            repeat = repeat_of(trial)
            return repeat.name if repeat else f"training {trial.number}"

        def label(trial: FrozenTrial) -> str:
            repeat = repeat_of(trial)
            return str(repeat.trial) if repeat and repeat.trial is not None else repeat.network if repeat else "?"

        works = [_work(repeat, seconds) for repeat in later]
        # The unit of work is then the second.
        default_rate = 1.0 if seconds else None
        return Subject(total, RepeatsRemaining(work_of, self.n_workers, works, default_rate), name, label, "trainings")


def _work(repeat: Repeat, seconds: Mapping[int, float]) -> float:
    """Return the seconds of a training in the search, or its multiply-adds if no time is known."""
    if seconds:
        return seconds.get(-1 if repeat.trial is None else repeat.trial) or fmean(seconds.values())
    return work_of_training(compute_cost(repeat.arch).macs, math.prod(repeat.arch.input_shape), repeat.recipe.epochs)


def _seconds_by_trial(records: Sequence[TrialRecord]) -> dict[int, float]:
    return {record.number: record.seconds for record in ranked(records) if record.seconds}


@dataclass(frozen=True)
class Trainer:
    """Settings of a retrainer that do not depend on the study; see Retrainer."""

    engine: str
    n_workers: int
    may_change: bool = False

    def at(self, location: StudyLocation, config: SearchConfig) -> Retrainer:
        """Return the retrainer of the study at `location`."""
        return Retrainer(location, config, self.engine, self.n_workers, may_change=self.may_change)


def _open_repeats(trainer: Retrainer) -> optuna.Study:
    """Return the study of repeats, with the settings of the search that it belongs to."""
    location = trainer.location
    settings = load_study(open_storage(location.url), str(location.name)).user_attrs[SETTINGS]
    return trainer.open(repeats_name(location), settings)


def confirm(trainer: Retrainer, search_study: optuna.Study, settings: ConfirmConfig, n_scored: int) -> None:
    """Run the trainings of both rounds of a confirmation that are not done yet.

    n_scored is the number of images that the search is scored on. Raises InputError if every candidate, or the winner
    in the second round, diverged.
    """
    records = read_trials(search_study.get_trials(deepcopy=False))
    ranked_records = ranked(records)
    if not ranked_records:
        return
    config = trainer.config
    study = _open_repeats(trainer)
    plan = make_plan(
        ranked_records, settings, _sd(ranked_records, read_results(study.get_trials(deepcopy=False)), n_scored)
    )
    study.set_user_attr(PLAN, plan.to_dict())
    first_round = choosing(plan, records, config)
    print_line(f"confirm  {_round_words(plan)}")
    seconds = _seconds_by_trial(records)
    expected = reporting(plan, plan.candidates[0], records, config)
    winner = choose(plan, records, trainer.train(study, first_round, seconds, expected), config)
    if winner is None:
        raise InputError("every candidate diverged on a fresh seed; search on with more --trials")
    second_round = reporting(plan, winner, records, config)
    seeds = "further fresh seeds" if first_round else "fresh seeds"
    print_line(f"report   trial {winner}, {counted(len(second_round), 'training')} on {seeds}")
    if confirmation(plan, records, trainer.train(study, second_round, seconds), config) is None:
        raise InputError(f"trial {winner} diverged on a further seed, so it is no winner; search on with more --trials")


def _round_words(plan: ConfirmPlan) -> str:
    """Return what the first round of a confirmation trains, in words."""
    n_candidates = len(plan.candidates)
    if n_candidates == 1:
        return "1 trial, the only candidate"
    return f"{n_candidates} trials, {counted(plan.n_seeds, 'fresh seed')} each"


def confirmation_size(settings: ConfirmConfig | None, trials: Iterable[FrozenTrial], n_trials: int) -> str:
    """Return the lines of a search's plan that say how many trainings its confirmation takes.

    trials    trials of the search, with the queued ones; the best hand-designed network is trained again
    n_trials  number of trials that the search is to have
    """
    if settings is None:
        return "confirm  nothing"
    has_baseline = any(BASELINE in trial.user_attrs for trial in trials)
    n_candidates, further = min(settings.top, n_trials), settings.further or settings.seeds
    first = n_candidates * settings.seeds if n_candidates > 1 else 0
    total = counted(first + (1 + has_baseline) * further, "training")
    rounds = [f"{n_candidates} trials from {counted(settings.seeds, 'fresh seed')} each"] if first else []
    rounds.append(f"the winner{' and a hand-designed network' if has_baseline else ''} from {further}")
    # The winner may be the hand-designed network itself.
    line = f"confirm  {'at most ' if has_baseline else ''}{total}: {', then '.join(rounds)}"
    return wrapped(line, hanging=" " * len("confirm  "))


def measure_noise(trainer: Retrainer, search_study: optuna.Study, number: int | None, n: int) -> int:
    """Train one trial `n` times, each time from another seed, and return its number.

    The trial is `number` if that is set, else the best hand-designed network, else the best trial.
    """
    records = read_trials(search_study.get_trials(deepcopy=False))
    if number is None:
        number = next((record.number for record in ranked(records) if record.baseline), None)
    chosen_number = finished_trial(records, number).number
    repeats = measuring(chosen_number, n, records, trainer.config)
    trainer.train(_open_repeats(trainer), repeats, _seconds_by_trial(records))
    return chosen_number


def _sd(ranked_records: Sequence[TrialRecord], results: Sequence[RepeatResult], n_scored: int) -> float:
    """Return the standard deviation of the accuracy across seeds, measured if possible, else the expected one."""
    noise = noise_floor(results, len(ranked_records))
    return (noise and noise.accuracy.sd) or expected_sd(ranked_records[0].value or 0.0, n_scored)
