from xml.etree import ElementTree

import pytest

from benchmarks.equal_time.report import as_svg, as_text
from benchmarks.equal_time.tasks import TASKS
from tests.benchmarks.equal_time.made_up_results import made_up_result

RESULTS = [
    made_up_result(arm, seed, task, (-1, 0.90 + 0.01 * seed, 0.95, end + 0.001 * seed))
    for task in ("mnist-1000", "mnist-8000")
    for arm, end in (("random", 0.96), ("tpe", 0.97))
    for seed in range(3)
]


def test_the_tables_show_means_intervals_and_differences():
    text = as_text(RESULTS)
    assert f"mnist-1000: % of {TASKS['mnist-1000'].n_unseen:,} unseen images" in text
    assert "cifar10-8000: %" not in text
    rows = [line.split() for line in text.splitlines() if line.startswith("random")]
    # 10 % is chance, where no study had a leader; sd 0.1 points, t(2) 4.303: half of the interval 0.25
    assert rows[0][1:] == [
        "10.00",
        "±",
        "0.00",
        "91.00",
        "±",
        "2.48",
        "95.00",
        "±",
        "0.00",
        "96.10",
        "±",
        "0.25",
        "30",
        "3",
    ]
    (row,) = [line.split() for line in text.splitlines() if line.startswith("mnist-8000  tpe ")]
    assert row[2] == "+1.00"
    assert row[-1] == "better"
    assert "12 studies of 180 planned, 0.5 processor hours" in text
    assert "tpe: not decided, results are missing" in text


def test_the_curve_is_an_svg_with_the_number_of_studies():
    picture = as_svg(RESULTS, "mnist-8000")
    ElementTree.fromstring(picture)
    assert "random (n = 3)" in picture
    assert "evolve" not in picture
    assert as_svg(RESULTS, "mnist-8000") == picture


@pytest.mark.parametrize("accuracy", [0.1, 1.0])
def test_curves_of_extreme_accuracies_are_drawn(accuracy):
    as_svg([made_up_result(seed=seed, accuracies=(accuracy,) * 4) for seed in range(2)], "mnist-8000")
