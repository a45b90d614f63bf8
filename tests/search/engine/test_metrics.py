"""What a training is worth: balanced accuracy, when it counts, and the value of a trial by either metric."""

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from search.engine.metrics import EpochMetrics, balanced_accuracy, is_imbalanced, other_metric, other_value, score


@pytest.mark.parametrize("seed", range(5))
def test_balanced_accuracy_is_scikit_learn_s(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    labels = (torch.rand(200, generator=source) ** 2 * 7).long()
    answers = torch.where(torch.rand(200, generator=source) < 0.6, labels, (labels + 3) % 7)
    assert balanced_accuracy(answers, labels) == pytest.approx(balanced_accuracy_score(labels, answers))


@pytest.mark.parametrize(
    ("answers", "labels", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 1], 0.5),
        ([0, 0, 9, 1], [0, 0, 0, 1], (2 / 3 + 1) / 2),
        ([0, 4], [0, 4], 1.0),  # classes that no image shows do not count
        ([5], [0], 0.0),
    ],
)
def test_every_class_weighs_the_same(answers: list[int], labels: list[int], expected: float) -> None:
    assert balanced_accuracy(torch.tensor(answers), torch.tensor(labels)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counts", "expected"), [([10, 14], False), ([10, 15], True), ([0, 10, 10], False), ([7], False), ([1, 0, 2], True)]
)
def test_imbalanced_is_half_as_many_again(counts: list[int], expected: bool) -> None:
    assert is_imbalanced(torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))) == expected


CURVE = [
    EpochMetrics(i, 0.1, 0.9, accuracy, 0.1, 1.0, balanced)
    for i, (accuracy, balanced) in enumerate([(0.5, 0.9), (0.8, 0.2), (0.6, 0.4), (0.7, 0.6)], start=1)
]


@pytest.mark.parametrize(
    ("rule", "metric", "value", "other"),
    [
        ("last", "accuracy", 0.7, 0.6),
        ("last", "balanced_accuracy", 0.6, 0.7),
        ("best", "accuracy", 0.8, 0.2),
        ("best", "balanced_accuracy", 0.9, 0.5),
        ("last3", "accuracy", 0.7, 0.4),
        ("last3", "balanced_accuracy", 0.4, 0.7),
    ],
)
def test_value_of_a_trial_and_the_other_metric_of_the_same_epochs(
    rule: str, metric: str, value: float, other: float
) -> None:
    assert score(CURVE, rule, metric) == pytest.approx(value)
    assert other_value([epoch.to_dict() for epoch in CURVE], rule, metric) == pytest.approx(other)


def test_what_was_not_taken_is_neither_kept_nor_shown() -> None:
    epoch = EpochMetrics(1, 0.1, 0.9, 0.5, 0.1, 1.0)
    assert "balanced_accuracy" not in epoch.to_dict()
    assert other_value([epoch.to_dict()], "last", "accuracy") is None
    assert other_value([], "last", "accuracy") is None
    with pytest.raises(ValueError, match="balanced_accuracy of epoch 1 was not taken"):
        score([epoch], "last", other_metric("accuracy"))
