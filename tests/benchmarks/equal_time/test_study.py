from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest

from benchmarks.equal_time import study
from benchmarks.equal_time.arms import fitting_candidates
from benchmarks.equal_time.study import StudyPlan, run_study, score_leader
from benchmarks.equal_time.tasks import TASKS, images_of, search_config
from benchmarks.equal_time.trainer import Leader
from search.engine.train import TrainingDivergedError
from search.study.training import Training
from tests.benchmarks.equal_time.test_tasks import DIGITS, SOURCES

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = replace(DIGITS, n_train=100, n_scored=100)


def search_with(monkeypatch, *leaders):
    """Let the search of a study end with these leaders."""

    searched = SimpleNamespace(n_begun=3, n_complete=2, clock=SimpleNamespace(spent=2.0), leaders=leaders)
    monkeypatch.setattr(study, "run_search", lambda *_arguments: searched)
    monkeypatch.setitem(TASKS, "digits", replace(TINY, seconds=8.0))


def candidates(n):
    data = images_of(TINY, SOURCES, 0)
    return list(islice(fitting_candidates(search_config(TINY, data, 0)), n))


def test_each_leader_is_scored_once_on_unseen_images(monkeypatch):
    first, second, never = candidates(3)
    leaders = [Leader(first, 1.5, 1, 0.3), Leader(never, 2.1, 1, 0.4), Leader(second, 3.9, 3, 0.5)]
    search_with(monkeypatch, *leaders, Leader(first, 7.0, 3, 0.6))
    trained = []

    def run(training, data, **_options):
        trained.append((training.arch, training.seed, training.every_epoch, len(data.scored), data.scored is data.test))
        return len(trained)

    monkeypatch.setattr(Training, "run", run)
    monkeypatch.setattr(Training, "value", lambda _training, result: result / 10)
    result = run_study(StudyPlan("digits", "random", 0, SOURCES))
    assert result.leader_rows == (-1, 0, 1, 0)  # after 1, 2, 4 and 8 s
    assert [arch for arch, *_ in trained] == [first.arch] * 2 + [second.arch] * 2
    assert {row[2:] for row in trained} == {(False, TINY.n_unseen, True)}
    assert len({seed for _, seed, *_ in trained}) == TINY.n_fresh
    assert result.accuracies == pytest.approx((0.1, 0.15, 0.35, 0.15))
    assert (result.spent, result.n_begun, result.n_complete) == (2.0, 3, 2)


def test_a_leader_that_diverges_scores_chance(monkeypatch):
    def diverge(*_arguments, **_options):
        raise TrainingDivergedError("nan")

    monkeypatch.setattr(Training, "run", diverge)
    data = images_of(TINY, SOURCES, 0)
    (candidate,) = candidates(1)
    assert score_leader(Leader(candidate, 1.0, 3, 0.5), TINY, data, 0).fresh == (0.1, 0.1)


@pytest.mark.slow
def test_a_study_as_a_whole(monkeypatch):
    monkeypatch.setitem(TASKS, "digits", replace(DIGITS, seconds=3.0))
    result = run_study(StudyPlan("digits", "one-epoch", 1, SOURCES))
    assert 3.0 <= result.spent < result.all_seconds
    assert result.accuracies[-1] > 0.3
    assert all(leader.n_params <= DIGITS.budget and len(leader.fresh) == DIGITS.n_fresh for leader in result.leaders)
