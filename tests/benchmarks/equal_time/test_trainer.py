from dataclasses import replace

import pytest

from benchmarks.equal_time.arms import fitting_candidates
from benchmarks.equal_time.clock import TimeUpError, TrainingClock
from benchmarks.equal_time.tasks import images_of, search_config
from benchmarks.equal_time.trainer import Leader, TimedTrainer, leader_at
from search.engine.train import TrainingDivergedError
from search.study.training import Training
from tests.benchmarks.equal_time.test_clock import Hands
from tests.benchmarks.equal_time.test_tasks import DIGITS, SOURCES

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = replace(DIGITS, n_train=200, n_scored=100)


class Trainings:
    """A trainer whose clock moves by a second with every epoch, and what its candidates score."""

    def __init__(self, monkeypatch, limit: float, accuracies=None) -> None:
        self.hands = Hands()
        data = images_of(SMALL, SOURCES, 0)
        self.config = search_config(SMALL, data, 0)
        self.trainer = TimedTrainer(self.config, data, TrainingClock(limit, self.hands))
        self.candidates = fitting_candidates(self.config)
        run = Training.run

        def slow(training, data, on_epoch=None, on_batch=None, n_threads=None):
            def after(epoch, metrics):
                self.hands.seconds += 1 if training.every_epoch else training.recipe.epochs
                accuracy = metrics.accuracy if accuracies is None else accuracies.pop(0)
                on_epoch(epoch, replace(metrics, accuracy=accuracy))

            return run(training, data, after, on_batch, n_threads)

        monkeypatch.setattr(Training, "run", slow)


def test_a_training_that_would_run_over_is_cut_and_does_not_lead(monkeypatch):
    trainings = Trainings(monkeypatch, limit=5.0, accuracies=[0.2, 0.9])
    trainer = trainings.trainer
    first, second = next(trainings.candidates), next(trainings.candidates)
    trainer.accuracy(first, 0)
    with pytest.raises(TimeUpError):
        trainer.accuracy(second, 1)
    assert [leader.candidate for leader in trainer.leaders] == [first]
    assert (trainer.n_begun, trainer.n_complete) == (2, 1)
    assert trainer.clock.spent == 6
    with pytest.raises(TimeUpError):
        trainer.accuracy(second, 2)
    assert trainer.n_begun == 2


def test_a_training_that_ends_with_the_time_counts(monkeypatch):
    trainings = Trainings(monkeypatch, limit=6.0)
    for index in range(2):
        trainings.trainer.accuracy(next(trainings.candidates), index)
    assert trainings.trainer.n_complete == 2


def test_a_long_epoch_is_cut_between_its_steps(monkeypatch):
    trainings = Trainings(monkeypatch, limit=1.0)
    trainings.hands.seconds = 0.0
    monkeypatch.setattr("search.study.training_report.REPORT_SECONDS", 0.0)
    hands, n_batches = trainings.hands, []
    report = trainings.trainer.on_report

    def after_step(state):
        n_batches.append(state)
        hands.seconds += 0.4
        report(state)

    trainings.trainer.on_report = after_step
    with pytest.raises(TimeUpError):
        trainings.trainer.accuracy(next(trainings.candidates), 0)
    assert len(n_batches) == 3
    assert trainings.trainer.n_complete == 0


def test_more_epochs_lead_before_higher_accuracies(monkeypatch):
    trainings = Trainings(monkeypatch, limit=100.0, accuracies=[0.5, 0.6, 0.55, 0.4, 0.3, 0.45])
    trainer = trainings.trainer
    candidates = [next(trainings.candidates) for _ in range(3)]
    for index, candidate in enumerate(candidates):
        trainer.accuracy(candidate, index, epochs=1)
    for index, candidate in enumerate(candidates):
        trainer.accuracy(candidate, index)
    found = [(leader.candidate, leader.epochs, leader.accuracy, leader.seconds) for leader in trainer.leaders]
    assert found == [
        (candidates[0], 1, 0.5, 1),
        (candidates[1], 1, 0.6, 2),
        (candidates[0], 3, 0.4, 6),
        (candidates[2], 3, 0.45, 12),
    ]


def test_a_leader_has_the_recipe_of_a_complete_training(monkeypatch):
    trainings = Trainings(monkeypatch, limit=100.0)
    trainings.trainer.accuracy(next(trainings.candidates), 0, epochs=1)
    assert trainings.trainer.leaders[0].candidate.recipe.epochs == SMALL.epochs


def test_a_training_that_diverges_costs_its_time_and_scores_nothing(monkeypatch):
    trainings = Trainings(monkeypatch, limit=5.0)

    def diverge(*_arguments):
        trainings.hands.seconds += 2
        raise TrainingDivergedError("nan")

    monkeypatch.setattr(Training, "run", diverge)
    assert trainings.trainer.accuracy(next(trainings.candidates), 0) == 0
    assert trainings.trainer.clock.spent == 2
    assert trainings.trainer.leaders == []


def test_the_leader_at_a_time_is_the_last_that_led_until_then():
    candidate = object()
    leaders = [Leader(candidate, seconds, 9, seconds / 100) for seconds in (2.0, 5.0, 8.0)]
    assert [leader_at(leaders, seconds) for seconds in (1.9, 2.0, 7.9, 100.0)] == [
        None,
        leaders[0],
        leaders[1],
        leaders[2],
    ]
