from benchmarks.first_proposals import MAX_PROPOSALS, begin


def test_with_a_start_the_first_proposals_fit_and_without_few_do() -> None:
    with_start = begin(700, "tpe", 0, with_start=True)
    assert (with_start.first, with_start.n_fitting >= 10) == (1, True)
    without = begin(700, "tpe", 0, with_start=False)
    assert (without.first or MAX_PROPOSALS) > 1
    assert without.n_fitting < 5
