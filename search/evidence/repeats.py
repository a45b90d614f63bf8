"""Trainings beside the search: a network and recipe, fixed beforehand, trained from a seed of its own.

They are the trials of an Optuna study of their own, so that they are queued, resumed and run side by side as the search
is. What a training is of lies in its trial's user attribute "repeat".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.record import Record
from models.spec import ArchSpec
from search.config import DataConfig
from search.engine.process import prepare_process
from search.study.attributes import (
    CURVE,
    ENGINE,
    MISREAD,
    PRECISION,
    REPEAT,
    SECONDS,
    record_finished,
    record_n_params,
    record_refused,
)
from search.study.training import RecordedTraining, Training
from search.study.trials import FINISHED, outcome_of

# What a repeat is for: to choose the winner, to report on it, to measure how far equal trainings differ.
CHOOSE, REPORT, NOISE = "choose", "report", "noise"
# The same of hand-designed networks: with the recipe of their authors, or with one for all.
OWN, COMMON = "own recipe", "common recipe"


@dataclass(frozen=True)
class Repeat(Record):
    """One training to be done.

    purpose    one of the constants above
    trial      number of the search's trial that it repeats; None of a hand-designed network
    network    id of the hand-designed network, and recipe_name which recipe it gets
    select_on  as in DataConfig: "val" trains without the held-out images and scores on them, "test" trains on all
               training images and scores on the test set
    """

    purpose: str
    trial: int | None
    seed: int
    select_on: str
    arch: ArchSpec
    recipe: RecipeConfig
    network: str = ""
    recipe_name: str = ""

    @property
    def identity(self) -> tuple[object, ...]:
        """Two repeats with equal ones are the same training for the same purpose."""
        return self.purpose, self.trial, self.network, self.recipe_name, self.seed, self.select_on


@dataclass(frozen=True)
class RepeatResult:
    """One finished repeat.

    number     of its trial in the study of repeats
    value      the search's metric in [0, 1] after the last epoch
    misread    indices of the scored images that it misread
    engine     that it was trained on
    """

    number: int
    repeat: Repeat
    value: float
    misread: tuple[int, ...]
    curve: tuple[dict[str, float], ...]
    seconds: float
    precision: str
    engine: str = "auto"


class Retraining:
    """Callable for `study.optimize`: trains the repeat that a trial was queued with. See RecordedTraining.

    every_epoch: score after every epoch and keep the curve, instead of after the last one only. metric: what a repeat's
    value is, of search.config.METRICS.
    """

    def __init__(
        self,
        data: DataConfig,
        weights_dir: Path | None = None,
        engine: str = "auto",
        *,
        every_epoch: bool = False,
        metric: str = "accuracy",
    ) -> None:
        self.data = data
        self.options: dict[str, Any] = {"every_epoch": every_epoch, "metric": metric, "engine": engine}
        self.training = RecordedTraining(weights_dir)

    def __call__(self, trial: optuna.Trial) -> float:
        """The metric in [0, 1]. Raises TrialPruned where nothing was queued, TrialFailedError if it diverged."""
        if REPEAT not in trial.user_attrs:
            # Of two workers that saw one trial left in the queue, one gets nothing.
            record_refused(trial, "nothing was queued any more")
            raise optuna.TrialPruned("nothing was queued any more")
        repeat = Repeat.from_dict(trial.user_attrs[REPEAT])
        record_n_params(trial, compute_cost(repeat.arch).n_params)
        prepare_process()
        data = self.training.data(replace(self.data, select_on=repeat.select_on))
        training = Training(repeat.arch, repeat.recipe, repeat.seed, **self.options)
        result = self.training.train(trial, training, data)
        self.training.keep_weights(trial.number, training.state(result))
        misread = [int(index) for index in (result.last_answers != data.scored.labels).nonzero()]
        record_finished(trial, result.seconds, misread=misread)
        return training.value(result)


@dataclass(frozen=True)
class QueueEmpty:
    """Stops the study when nothing is queued any more."""

    def is_reached(self, study: optuna.Study) -> bool:
        """See StopRule."""
        return not study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def queue(study: optuna.Study, repeats: Iterable[Repeat]) -> None:
    """Queue the repeats that this study has not met before."""
    known = {repeat.identity for repeat in map(_repeat_of, study.get_trials(deepcopy=False)) if repeat}
    for repeat in repeats:
        if repeat.identity not in known:
            study.enqueue_trial({}, user_attrs={REPEAT: repeat.to_dict()})


def n_left(study: optuna.Study) -> int:
    """Return how many repeats are queued or running."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING)))


def read_results(trials: Iterable[FrozenTrial]) -> list[RepeatResult]:
    """The finished repeats, in order of their trials' numbers."""
    found = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        repeat, attrs = _repeat_of(trial), trial.user_attrs
        if repeat is not None and outcome_of(trial) == FINISHED and trial.value is not None:
            facts = (
                tuple(attrs[MISREAD]),
                tuple(attrs[CURVE]),
                attrs[SECONDS],
                attrs[PRECISION],
                attrs.get(ENGINE, "auto"),
            )
            found.append(RepeatResult(trial.number, repeat, trial.value, *facts))
    return found


def _repeat_of(trial: FrozenTrial) -> Repeat | None:
    return Repeat.from_dict(trial.user_attrs[REPEAT]) if REPEAT in trial.user_attrs else None


def of_trial(results: Sequence[RepeatResult], purpose: str, trial: int, select_on: str) -> list[RepeatResult]:
    """The results for one purpose of one trial of the search."""
    wanted = (purpose, trial, select_on)
    return [one for one in results if (one.repeat.purpose, one.repeat.trial, one.repeat.select_on) == wanted]
