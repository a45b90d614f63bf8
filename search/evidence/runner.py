"""Train what the evidence needs, in the study of repeats that goes with a search: confirmation and noise floor."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

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
from search.evidence.repeats import QueueEmpty, Repeat, RepeatResult, Retraining, n_left, queue, read_results
from search.evidence.statistics import expected_sd
from search.storage.open import GRACE_SECONDS, alone, open_storage
from search.study.attributes import PLAN, SETTINGS
from search.study.location import StudyLocation, repeats_name
from search.study.loop import n_trained
from search.study.results_version import join_results
from search.study.study import load_study, open_study
from search.study.trials import TrialRecord, finished_trial, ranked, read_trials
from search.workers.pool import Task, carry_out
from search.workers.progress import Progress
from search.workers.recovery import requeue_abandoned


@dataclass(frozen=True)
class Retrainer:
    """Who trains: where the study lies that it is for, with which engine, how many networks side by side.

    every_epoch as in Retraining, grace as in open_storage, may_change as in search.cli.job.Job
    """

    location: StudyLocation
    config: SearchConfig
    engine: str
    n_workers: int
    every_epoch: bool = False
    grace: int = GRACE_SECONDS
    may_change: bool = False

    def open(self, name: str, settings: Mapping[str, Any]) -> optuna.Study:
        """The study that trains, made if there is none; what an interrupted run had begun is queued again."""
        storage = open_storage(self.location.url)
        with alone(storage, name):
            study = open_study(storage, name, settings)
            join_results(study, may_differ=self.may_change)
            requeue_abandoned(study, running_are_abandoned=not self.location.is_shared)
        return study

    def train(self, study: optuna.Study, repeats: Sequence[Repeat]) -> list[RepeatResult]:
        """Train those of `repeats` that are not there yet, and what else is queued; all finished repeats."""
        with alone(study._storage, study.study_name):
            queue(study, repeats)
        # What is lost at the very end is queued again, and on a server others may do so.
        while left := n_left(study):
            weights_dir = self.location.folder / "repeats"
            options: dict[str, Any] = {"every_epoch": self.every_epoch, "metric": self.config.metric}
            objective = Retraining(self.config.data, weights_dir, self.engine, **options)
            task = Task(self.location.url, study.study_name, objective, self.config, QueueEmpty(), grace=self.grace)
            total = n_trained(study.get_trials(deepcopy=False)) + left
            with Progress(study, total) as progress:
                try:
                    carry_out(task, min(self.n_workers, left), progress)
                except KeyboardInterrupt:
                    done = n_trained(study.get_trials(deepcopy=False))
                    print(f"\n{done} of {total} repeats are done and kept.", file=sys.stderr)
                    raise
        return read_results(study.get_trials(deepcopy=False))


@dataclass(frozen=True)
class Trainer:
    """Settings of the training: engine, networks side by side, and whether versions may have changed."""

    engine: str
    n_workers: int
    may_change: bool = False

    def at(self, location: StudyLocation, config: SearchConfig) -> Retrainer:
        """Return the retrainer of the study at `location`."""
        return Retrainer(location, config, self.engine, self.n_workers, may_change=self.may_change)


def _open_repeats(trainer: Retrainer) -> optuna.Study:
    """The study of repeats, with the settings of the search it goes with."""
    location = trainer.location
    settings = load_study(open_storage(location.url), str(location.name)).user_attrs[SETTINGS]
    return trainer.open(repeats_name(location), settings)


def repeats_of(location: StudyLocation) -> tuple[list[RepeatResult], ConfirmPlan | None]:
    """Return the finished repeats of a study, and the plan of the last confirmation."""
    storage = open_storage(location.url)
    if repeats_name(location) not in optuna.get_all_study_names(storage):
        return [], None
    study = load_study(storage, repeats_name(location))
    plan = study.user_attrs.get(PLAN)
    return read_results(study.get_trials(deepcopy=False)), None if plan is None else ConfirmPlan.from_dict(plan)


def confirm(trainer: Retrainer, searched: optuna.Study, confirming: ConfirmConfig, n_scored: int) -> None:
    """Both rounds, as far as they are not done. n_scored: how many images the search is scored on."""
    records = read_trials(searched.get_trials(deepcopy=False))
    finished = ranked(records)
    if not finished:
        return
    config = trainer.config
    study = _open_repeats(trainer)
    plan = make_plan(finished, confirming, _sd(finished, read_results(study.get_trials(deepcopy=False)), n_scored))
    study.set_user_attr(PLAN, plan.to_dict())
    first = choosing(plan, records, config)
    _announce(f"confirm  {len(plan.candidates)} trials, {plan.n_seeds} fresh seeds each")
    chosen = choose(plan, records, trainer.train(study, first), config)
    if chosen is None:
        raise InputError("every candidate diverged on a fresh seed; search on with more --trials")
    second = reporting(plan, chosen, records, config)
    _announce(f"report   trial {chosen}, {len(second)} trainings on further seeds")
    if confirmation(plan, records, trainer.train(study, second), config) is None:
        raise InputError(f"trial {chosen} diverged on a further seed, so it is no winner; search on with more --trials")


def measure_noise(trainer: Retrainer, searched: optuna.Study, number: int | None, n: int) -> int:
    """Train one configuration `n` times: trial `number`, else the best hand-designed network, else the best trial."""
    records = read_trials(searched.get_trials(deepcopy=False))
    if number is None:
        number = next((record.number for record in ranked(records) if record.baseline), None)
    fixed = finished_trial(records, number).number
    trainer.train(_open_repeats(trainer), measuring(fixed, n, records, trainer.config))
    return fixed


def _sd(finished: Sequence[TrialRecord], results: Sequence[RepeatResult], n_scored: int) -> float:
    """Return the standard deviation of the accuracy across seeds: as measured, else as expected."""
    floor = noise_floor(results, len(finished))
    return (floor and floor.accuracy.sd) or expected_sd(finished[0].value or 0.0, n_scored)


def _announce(line: str) -> None:
    print(line, flush=True)
