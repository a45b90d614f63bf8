import pytest

from benchmarks.equal_time.comparison import curve, decision, differences, holm, paired_p
from benchmarks.equal_time.tasks import TASKS
from tests.benchmarks.equal_time.made_up_results import made_up_result


def studies(arm, task, *ends):
    return [made_up_result(arm, seed, task, (0.1, 0.2, 0.3, end)) for seed, end in enumerate(ends)]


def test_the_curve_has_means_over_studies():
    found = curve(studies("random", "mnist-8000", 0.8, 0.9), "mnist-8000", "random")
    assert [point.mean for point in found] == pytest.approx([0.1, 0.2, 0.3, 0.85])
    assert found[-1].n == 2
    assert curve([], "mnist-8000", "random") == []


def test_differences_are_paired_by_study_seed():
    # The seeds differ far more than the arms: only a paired test can see the difference.
    results = studies("random", "mnist-8000", 0.50, 0.70, 0.90) + studies("tpe", "mnist-8000", 0.52, 0.71, 0.93)
    (row,) = differences(results, "random")
    assert (row.task, row.arm, row.control) == ("mnist-8000", "tpe", "random")
    # scipy.stats.ttest_rel([.52, .71, .93], [.5, .7, .9]): p 0.07418, interval -0.00484 to 0.04484
    assert row.difference.mean == pytest.approx(0.02)
    assert (row.difference.low, row.difference.high) == pytest.approx((-0.00484, 0.04484), abs=1e-5)
    assert row.p == row.holm == pytest.approx(0.07418, abs=1e-5)
    assert not row.is_better
    assert not row.is_worse


def test_seeds_that_only_one_arm_has_are_left_out():
    results = studies("random", "mnist-8000", 0.5, 0.6, 0.7) + studies("tpe", "mnist-8000", 0.6, 0.7)
    (row,) = differences(results, "random")
    assert row.difference.n == 2
    assert differences(studies("tpe", "mnist-8000", 0.6), "random") == []


def test_one_pair_and_equal_pairs_prove_nothing():
    assert paired_p([0.1]) is None
    assert paired_p([0.0, 0.0]) == 1.0
    results = studies("random", "mnist-8000", 0.5) + studies("tpe", "mnist-8000", 0.9)
    (row,) = differences(results, "random")
    assert row.p is row.holm is None
    assert not row.is_better


def test_holm_corrects_for_the_number_of_comparisons():
    # statsmodels.stats.multitest.multipletests([.01, .04, .03, .005], method="holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]


def test_an_arm_wins_that_is_better_on_two_tasks_and_worse_on_none():
    def results(*gains):
        found = []
        for task, gain in zip(TASKS, gains, strict=True):
            for control in ("random", "tpe-hyperband"):
                found += studies(control, task, 0.5, 0.6, 0.7)
            found += studies(
                "tpe", task, *(base + gain * (1 + jitter) for base, jitter in ((0.5, 0), (0.6, 0.1), (0.7, -0.1)))
            )
        return found

    assert decision(results(0.1, 0.1, 0.0), "tpe").startswith("tpe: wins; better than random on 2 and worse on 0 of 3")
    assert decision(results(0.1, 0.0, 0.0), "tpe").startswith("tpe: does not win; better than random on 1")
    assert decision(results(0.1, 0.1, -0.1), "tpe").startswith(
        "tpe: does not win; better than random on 2 and worse on 1"
    )
    incomplete = [result for result in results(0.1, 0.1, 0.1) if result.task.name != "mnist-1000"]
    assert decision(incomplete, "tpe") == "tpe: not decided, results are missing"


def test_a_control_is_not_compared_with_itself():
    results = [result for task in TASKS for result in studies("random", task, 0.5, 0.6)]
    assert differences(results, "random") == []
    assert decision(results, "random") == "random: not decided, results are missing"
