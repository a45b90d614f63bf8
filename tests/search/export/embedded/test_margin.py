"""Test which margin is doubtful, and how many errors have a smaller one."""

from __future__ import annotations

import numpy as np
import pytest

from search.export.embedded.margin import doubtful_margin


@pytest.mark.parametrize(
    ("margins", "wrong", "expected"),
    [
        (range(1, 101), [1, 50], (3, 2, 2, 1)),
        (range(1, 101), [0, 1], (3, 2, 2, 2)),
        ([7] * 60, [3], (8, 60, 1, 1)),
        ([5], [0], (6, 1, 1, 1)),
        ([2**32 - 1, 4], [0], (5, 1, 1, 0)),
    ],
    ids=["one of two errors", "both errors", "equal margins", "one image", "largest margin"],
)
def test_the_smallest_margins_are_doubtful(
    margins: list[int], wrong: list[int], expected: tuple[int, int, int, int]
) -> None:
    logits = np.array([[-(2**31), -(2**31) + margin] for margin in margins], np.int32)
    labels = [0 if i in wrong else 1 for i in range(len(logits))]
    facts = doubtful_margin(logits, labels)
    assert facts.pop("n_answers") == len(logits)
    assert tuple(facts.values()) == expected


def test_without_an_error_there_is_no_threshold() -> None:
    assert doubtful_margin(np.array([[3, 5]], np.int32), [1]) == {}
