"""The comparison of samplers: its figures from made-up trials, and one small study that is interrupted."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.sample_efficiency import StudyPlan, SubsetObjective, read_study, run_study
from benchmarks.sample_efficiency_report import (
    StudyResult,
    as_json,
    as_plot,
    as_text,
    differences,
    leader,
    rank_correlations,
)
from objective import Objective
from search.config import DataConfig, SearchConfig
from search.data.load import load_dataset
from search.study.training import Training
from search.study.trials import DIVERGED, REFUSED, REPEATED
from tests.search.made_up_trials import made_up

DIGITS = DataConfig("digits", "unused", "val")


def plan(out: Path, n_trials: int = 3) -> StudyPlan:
    config = SearchConfig(DIGITS, 8000, epochs=1, sampler="evolve", pruner="none")
    return StudyPlan(config, out, n_trials, images=200, starts=False)


def study(arm: str, seed: int, merit: float, *values: float) -> StudyResult:
    """A study of finished trials whose last leader has that merit."""
    curves = [({"accuracy": value**2}, {"accuracy": value}) for value in values]
    records = [made_up(i, value, seed=i, curve=curves[i]) for i, value in enumerate(values)]
    return StudyResult.of(arm, seed, records, {values.index(max(values)): [merit]}, len(values))


def test_figures_of_one_study():
    records = [
        made_up(0, outcome=REFUSED),
        made_up(1, outcome=DIVERGED),
        made_up(2, 0.90),
        made_up(3, 0.90, REPEATED),
        made_up(4, outcome="fail", index=4),
        made_up(5, 0.95),
        made_up(6, 0.93, index=4),
        made_up(7, outcome=REFUSED),
        made_up(8, 0.97),
        made_up(9, outcome=REFUSED),
        made_up(10, 0.99),
    ]
    found = StudyResult.of("tpe", 0, records, {5: (0.92, 0.94), 8: (0.96,)}, 5)
    assert found.best == (0.0, 0.90, 0.93, 0.95, 0.97)
    assert found.merits[1:] == pytest.approx((math.nan, 0.96), nan_ok=True)
    assert found.feasible == pytest.approx(1 - 2 / 9)
    assert len(found.curves) == 4


def test_the_leader_is_the_best_of_the_first_part():
    records = [made_up(number, value) for number, value in enumerate((0.93, 0.91, 0.95, 0.94, 0.92, 0.96))]
    assert [leader(records, share, 6).number for share in (1 / 3, 2 / 3, 1.0)] == [0, 2, 5]
    assert leader([made_up(0, outcome=DIVERGED)], 1.0, 1) is None


def test_a_training_made_in_two_arms_counts_once_in_the_correlation():
    a, b = study("tpe", 0, 0.9, 0.95, 0.97, 0.96), study("evolve", 0, 0.9, 0.95, 0.97, 0.96)
    assert rank_correlations([a, b]) == (3, pytest.approx([1.0, 1.0]))
    assert rank_correlations([study("tpe", 0, 0.9, 0.95, 0.97)]) == (2, [])


def test_equal_accuracies_have_no_rank_correlation():
    result = study("tpe", 0, 0.9, 0.95, 0.95, 0.95)
    assert rank_correlations([result]) == (3, [None, None])
    assert "(3 finished trainings), by epoch  1: -  2: -\n" in as_text([result], 3)
    assert json.loads(as_json([result]))["rank_correlation"]["by_epoch"] == [None, None]


def test_only_differences_beyond_the_spread_are_named():
    merits = {"random": (0.980, 0.981, 0.982), "tpe": (0.9805, 0.983, 0.9835), "evolve": (0.990, 0.991, 0.992)}
    results = [study(arm, seed, merit, 0.99) for arm, own in merits.items() for seed, merit in enumerate(own)]
    last = as_text(results, 1).splitlines()[-1]
    # scipy.stats.ttest_ind(random, evolve, equal_var=False).confidence_interval(): -1.2267 to -0.7733 points.
    assert "random - evolve -1.00 ± 0.23 points" in last
    assert "tpe - evolve -0.87" in last
    assert "random - tpe" not in last
    found = differences(results)
    assert [one[:2] for one in found] == [("random", "tpe"), ("random", "evolve"), ("tpe", "evolve")]


def test_one_study_seed_shows_no_difference():
    results = [study("random", 0, 0.1, 0.99), study("tpe", 0, 0.9, 0.99)]
    assert as_text(results, 1).endswith(": none")
    assert json.loads(as_json(results))["merit_differences"][0]["half_width"] is None


def test_a_part_of_the_training_images_keeps_the_shares_of_the_classes():
    data = SubsetObjective(plan(Path()).config, 200).data
    whole = load_dataset(DIGITS)
    assert len(data.train) == 200
    assert len(data.val) == len(whole.val)
    share = data.train.labels.bincount() / 200 - whole.train.labels.bincount() / len(whole.train)
    assert share.abs().max() < 0.01
    assert (SubsetObjective(plan(Path()).config, 200).data.train.images == data.train.images).all()


@pytest.mark.usefixtures("one_thread")
def test_an_interrupted_study_goes_on_and_makes_nothing_twice(tmp_path, monkeypatch):
    n_trainings = []

    def interrupted(self: Objective, trial, candidate):
        n_trainings.append(trial.number)
        if len(n_trainings) == 2:
            raise KeyboardInterrupt
        return train(self, trial, candidate)

    train = Objective._train
    monkeypatch.setattr(SubsetObjective, "_train", interrupted)
    merit_seeds = []
    monkeypatch.setattr(SubsetObjective, "train_again", lambda _self, _record, seed: merit_seeds.append(seed) or 0.5)
    with pytest.raises(KeyboardInterrupt):
        run_study(plan(tmp_path))
    run_study(plan(tmp_path))
    assert len(n_trainings) == 4
    assert len(merit_seeds) in (3, 6, 9)
    assert len(set(merit_seeds)) == len(merit_seeds)
    run_study(plan(tmp_path))
    assert len(n_trainings) == 4
    assert len(merit_seeds) in (3, 6, 9)
    found = read_study(plan(tmp_path))
    assert len(found.best) == 3
    assert found.merits == (0.5, 0.5, 0.5)
    assert "evolve" in as_text([found], 3)
    assert "evolve (n = 1)" in as_plot([found])


@pytest.mark.usefixtures("one_thread")
def test_a_leader_is_trained_again_on_the_same_images_and_scored_on_the_test_set(tmp_path, monkeypatch):
    seen = []
    run = Training.run
    monkeypatch.setattr(Training, "run", lambda training, data: seen.append(data) or run(training, data))
    objective = SubsetObjective(plan(tmp_path).config, 200)
    record = made_up(0, 0.9)
    first, again, other = (objective.train_again(record, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(data.scored is objective.data.test and len(data.train) == 200 for data in seen)
