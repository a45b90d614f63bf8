"""Train the networks of one study until its time is up, and remember which of them leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import optuna

from benchmarks.equal_time.clock import TrainingClock
from search.config import DataConfig, SearchConfig
from search.data.dataset import Dataset
from search.engine.metrics import EpochMetrics
from search.engine.train import TrainingDivergedError, TrainResult
from search.search_space.encoding import Candidate
from search.study.seeds import derived_seed
from search.study.training import OnEpoch, RecordedTraining, Training


@dataclass(frozen=True)
class Leader:
    """Candidate that leads a study from some moment on.

    candidate  network with the recipe of a complete training
    seconds    training time that the study had spent at that moment
    epochs     epochs after which the candidate was scored
    accuracy   its accuracy on the scored images of the study, in [0, 1]
    """

    candidate: Candidate
    seconds: float
    epochs: int
    accuracy: float


class TimedTrainer(RecordedTraining):
    """Trainer of one study, whose trainings count for its clock.

    A candidate leads that was scored after more epochs than the others, or after as many with a higher accuracy.

    every_epoch  whether networks are scored after every epoch, which an arm needs that stops trainings
    leaders      leaders of the study in the order in which they began to lead
    n_begun      number of trainings that were begun
    n_complete   number of trainings that came to their last epoch in time, whatever their length
    """

    def __init__(self, config: SearchConfig, data: Dataset, clock: TrainingClock) -> None:
        super().__init__()
        self.clock = clock
        self.every_epoch = False
        self.leaders: list[Leader] = []
        self.n_begun = self.n_complete = 0
        # Called about twice a second, so that a training is cut soon after the time is up.
        self.on_report = lambda _report: clock.check()
        self.n_threads = lambda: 1
        self._config, self._images = config, data

    def data(self, _config: DataConfig) -> Dataset:
        """Return the images of the study."""
        return self._images

    def accuracy(self, candidate: Candidate, index: int, epochs: int | None = None) -> float:
        """Train candidate number `index` of the study; return its accuracy on the scored images, or 0 if it diverges.

        epochs: length of the training, whose schedule is then complete; None: that of the task

        Raises TimeUpError if the training would run over.
        """
        recipe = replace(candidate.recipe, epochs=epochs or self._config.epochs)
        training = Training(candidate.arch, recipe, derived_seed(self._config.seed, "training", index))
        try:
            result = self._timed(
                training,
                lambda training, on_epoch: training.run_with_reports(
                    self._images, index, self.on_report, on_epoch, self.n_threads
                ),
            )
        except TrainingDivergedError:
            return 0.0
        return training.value(result)

    def train(
        self, trial: optuna.Trial, training: Training, data: Dataset, on_epoch: OnEpoch | None = None
    ) -> TrainResult:
        """Train the candidate of a trial, as RecordedTraining does. Raises TimeUpError if it would run over."""
        train_recorded = super().train
        return self._timed(
            training, lambda training, on_epoch: train_recorded(trial, training, data, on_epoch), on_epoch
        )

    def _timed(
        self,
        training: Training,
        run: Callable[[Training, OnEpoch], TrainResult],
        on_epoch: OnEpoch | None = None,
    ) -> TrainResult:
        def note_epoch(epoch: int, metrics: EpochMetrics) -> None:
            self.clock.check()
            with self.clock.paused():
                self._note(training, epoch, metrics.accuracy)
                if on_epoch:
                    on_epoch(epoch, metrics)

        self.clock.check()
        self.n_begun += 1
        with self.clock.counting():
            result = run(replace(training, every_epoch=self.every_epoch), note_epoch)
        self.n_complete += 1
        return result

    def _note(self, training: Training, epoch: int, accuracy: float) -> None:
        best = self.leaders[-1] if self.leaders else None
        if best is None or (epoch, accuracy) > (best.epochs, best.accuracy):
            recipe = replace(training.recipe, epochs=self._config.epochs)
            self.leaders.append(Leader(Candidate(training.arch, recipe), self.clock.spent, epoch, accuracy))


def leader_at(leaders: Sequence[Leader], seconds: float) -> Leader | None:
    """Return the leader after so many seconds of training, or None if no network was scored by then."""
    return next((leader for leader in reversed(leaders) if leader.seconds <= seconds), None)
