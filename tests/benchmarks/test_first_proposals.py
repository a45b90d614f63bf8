from statistics import median

from benchmarks.first_proposals import MAX_PROPOSALS, begin

SEEDS = range(3)


def test_with_a_start_the_first_proposals_fit() -> None:
    begun = [begin(700, "tpe", seed, with_start=True) for seed in SEEDS]
    assert [one.first for one in begun] == [1, 1, 1]
    assert min(one.n_fitting for one in begun) >= 10


def test_without_a_start_few_do() -> None:
    begun = [begin(700, "tpe", seed, with_start=False) for seed in SEEDS]
    assert median(one.first or MAX_PROPOSALS for one in begun) > 1  # one lucky draw decides nothing
    assert max(one.n_fitting for one in begun) < 5
