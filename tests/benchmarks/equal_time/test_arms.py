from dataclasses import replace
from itertools import islice

import pytest

from benchmarks.equal_time.arms import ARMS, CONTROLS, fitting_candidates
from benchmarks.equal_time.study import run_search
from benchmarks.equal_time.tasks import images_of, search_config
from models.cost import compute_cost
from search.study.training import Training
from tests.benchmarks.equal_time.test_clock import Hands
from tests.benchmarks.equal_time.test_tasks import DIGITS, SOURCES

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = replace(DIGITS, n_train=100, n_scored=100, seconds=12.0)


def recorded(monkeypatch, arm: str, task=TINY):
    """Run an arm, for which every epoch takes a second; return its trainer and a row for every training."""
    hands, trained = Hands(), []
    run = Training.run

    def timed(training, data, on_epoch, on_batch, n_threads):
        trained.append((training.arch, training.seed, training.recipe.epochs, training.every_epoch))

        def after(epoch, metrics):
            hands.seconds += 1 if training.every_epoch else training.recipe.epochs
            on_epoch(epoch, metrics)

        return run(training, data, after, on_batch, n_threads)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "run", timed)
        trainer = run_search(arm, task, images_of(task, SOURCES, 0), 0, hands)
    return trainer, trained


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_uses_its_time_on_networks_that_fit(monkeypatch, arm):
    trainer, trained = recorded(monkeypatch, arm)
    assert trainer.clock.limit < trainer.clock.spent <= trainer.clock.limit + TINY.epochs
    assert trainer.leaders
    assert all(compute_cost(arch).n_params <= TINY.budget for arch, *_ in trained)
    assert len(trained) == trainer.n_begun
    assert trainer.n_complete >= 1


@pytest.mark.slow
def test_only_arms_that_stop_trainings_score_after_every_epoch(monkeypatch):
    scored = {arm: {row[3] for row in recorded(monkeypatch, arm)[1]} for arm in ARMS}
    assert {arm for arm, values in scored.items() if values == {True}} == {"tpe-hyperband", "evolve", "evolve-halving"}
    assert {arm for arm, values in scored.items() if values == {False}} == {"random", "one-epoch", "tpe"}


@pytest.mark.slow
def test_hyperband_stops_trainings(monkeypatch):
    trainer, _ = recorded(monkeypatch, "tpe-hyperband", replace(TINY, seconds=20.0))
    assert trainer.n_complete < trainer.n_begun - 1  # the last one is cut by the time


def test_one_epoch_for_all_then_the_best_to_the_end(monkeypatch):
    trainer, trained = recorded(monkeypatch, "one-epoch", replace(TINY, seconds=12.0))
    epochs = [row[2] for row in trained]
    assert epochs == [1] * 6 + [TINY.epochs] * 3
    judged = [leader.candidate.arch for leader in trainer.leaders if leader.epochs == 1]
    assert trained[6][0] == judged[-1]  # the best comes first, from the seed of its first training
    assert trained[6][1] == next(seed for arch, seed, *_ in trained[:6] if arch == judged[-1])


def test_random_candidates_fit_differ_and_follow_from_the_seed():
    data = images_of(TINY, SOURCES, 0)
    config = search_config(TINY, data, 0)
    first, again = (list(islice(fitting_candidates(config), 20)) for _ in range(2))
    assert first == again
    assert len({candidate.key() for candidate in first}) == 20
    assert all(compute_cost(candidate.arch).n_params <= TINY.budget for candidate in first)
    assert {candidate.recipe.epochs for candidate in first} == {TINY.epochs}
    assert first != list(islice(fitting_candidates(search_config(TINY, data, 1)), 20))


def test_controls_are_arms():
    assert set(CONTROLS) <= set(ARMS)
