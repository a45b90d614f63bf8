"""Train fixed networks with fixed recipes from given seeds, as the trials of a second Optuna study.

The second study lets these trainings be queued, resumed and run in parallel like the trials of the search. Network,
recipe, seed and purpose of a training are in the user attribute "repeat" of its trial.
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
from search.study.trials import FINISHED, outcome_of

# Purposes of a repeat: to choose the winner, to report its accuracy, to measure the noise between equal trainings.
CHOOSE, REPORT, NOISE = "choose", "report", "noise"
# Purposes for hand-designed networks: to train with the recipe of their authors, or with one recipe for all.
OWN, COMMON = "own recipe", "common recipe"


# States of the trials whose repeat is not done.
_LEFT = (TrialState.WAITING, TrialState.RUNNING)


@dataclass(frozen=True)
class Repeat(Record):
    """Training to be done: a network, its recipe and a seed.

    purpose      one of the constants above
    trial        number of the trial of the search that it repeats; None for a hand-designed network
    network      id of the hand-designed network; empty for a trial of the search
    recipe_name  name of the recipe that the hand-designed network is trained with
    select_on    as in DataConfig: "val" trains without the held-out images and scores on them, "test" trains on all
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
    def name(self) -> str:
        """Return a name for people, for example "trial 12 from seed 2810756678"."""
        subject = f"{self.network} with {self.recipe_name}" if self.trial is None else f"trial {self.trial}"
        return f"{subject} from seed {self.seed}"

    @property
    def identity(self) -> tuple[object, ...]:
        """Return a key that is equal for repeats that are the same training for the same purpose."""
        return self.purpose, self.trial, self.network, self.recipe_name, self.seed, self.select_on


@dataclass(frozen=True)
class RepeatResult:
    """Result of a finished repeat.

    number   number of its trial in the study of repeats
    value    metric of the search in [0, 1] after the last epoch
    misread  indices of the scored images that the network misread
    curve    one dict per scored epoch, with the fields of search.engine.metrics.EpochMetrics
    engine   engine that it was trained on
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
    """Objective for `study.optimize` that trains the repeat in the user attributes of a queued trial.

    weights_dir  folder for the trained weights; None to keep none
    every_epoch  score after every epoch and keep the curve, instead of scoring after the last epoch only
    metric       metric that becomes the value of the trial, one of search.config.METRICS
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
        from search.study.training import RecordedTraining

        self.data = data
        self.options: dict[str, Any] = {"every_epoch": every_epoch, "metric": metric, "engine": engine}
        self.training = RecordedTraining(weights_dir)

    def share_data(self, study: optuna.Study) -> None:
        """Load the data of the repeats that are left in a study, in memory that worker processes map."""
        repeats = filter(None, map(repeat_of, study.get_trials(deepcopy=False, states=_LEFT)))
        for select_on in sorted({repeat.select_on for repeat in repeats}):
            self.training.share(replace(self.data, select_on=select_on))

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the metric in [0, 1].

        Raises TrialPruned if nothing was queued, and TrialFailedError if the training diverged.
        """
        from search.engine.process import prepare_process
        from search.study.training import Training

        if REPEAT not in trial.user_attrs:
            # Two workers can see the last trial of the queue; only one of them gets it.
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
    """Stop rule that ends the study when nothing is queued any more."""

    def is_reached(self, study: optuna.Study) -> bool:
        """See StopRule."""
        return not study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def queue(study: optuna.Study, repeats: Iterable[Repeat]) -> None:
    """Queue the repeats that are not yet trials of the study."""
    identities = {repeat.identity for repeat in map(repeat_of, study.get_trials(deepcopy=False)) if repeat}
    for repeat in repeats:
        if repeat.identity not in identities:
            study.enqueue_trial({}, user_attrs={REPEAT: repeat.to_dict()})


def n_left(study: optuna.Study) -> int:
    """Return how many repeats are queued or running."""
    return len(study.get_trials(deepcopy=False, states=_LEFT))


def read_results(trials: Iterable[FrozenTrial]) -> list[RepeatResult]:
    """Return the finished repeats, in the order of their trials' numbers."""
    results = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        repeat, attrs = repeat_of(trial), trial.user_attrs
        if repeat is not None and outcome_of(trial) == FINISHED and trial.value is not None:
            facts = (
                tuple(attrs[MISREAD]),
                tuple(attrs[CURVE]),
                attrs[SECONDS],
                attrs[PRECISION],
                attrs.get(ENGINE, "auto"),
            )
            results.append(RepeatResult(trial.number, repeat, trial.value, *facts))
    return results


def repeat_of(trial: FrozenTrial) -> Repeat | None:
    """Return the repeat that a trial was queued for, or None."""
    return Repeat.from_dict(trial.user_attrs[REPEAT]) if REPEAT in trial.user_attrs else None


def of_trial(results: Sequence[RepeatResult], purpose: str, trial: int, select_on: str) -> list[RepeatResult]:
    """Return the results that belong to one purpose and one trial of the search."""
    key = (purpose, trial, select_on)
    return [
        result for result in results if (result.repeat.purpose, result.repeat.trial, result.repeat.select_on) == key
    ]
