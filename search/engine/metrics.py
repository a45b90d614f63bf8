"""Metrics that describe a training: figures of every epoch, balanced accuracy, the value of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.record import Record
from search.config import METRICS

if TYPE_CHECKING:
    from torch import Tensor

# Smallest ratio of the largest to the smallest class at which the scored images count as imbalanced. MNIST's test set
# has 1.27.
IMBALANCE = 1.5


@dataclass(frozen=True)
class EpochMetrics(Record):
    """Figures of one epoch of a training.

    Accuracies are in [0, 1]. `accuracy` and `balanced_accuracy` are measured on the scored split after the epoch; the
    latter is None where the classes are balanced and it was not requested. The training figures are measured while the
    weights change, with augmentation and dropout on.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    accuracy: float
    lr: float
    seconds: float
    balanced_accuracy: float | None = None

    def value(self, metric: str) -> float:
        """Return a metric, one of search.config.METRICS. Raises ValueError if it was not measured."""
        value: float | None = getattr(self, metric)
        if value is None:
            raise ValueError(f"the {metric} of epoch {self.epoch} was not taken")
        return value


def is_imbalanced(labels: Tensor) -> bool:
    """Return whether the classes in `labels`, (N,), differ in size by a factor of IMBALANCE or more."""
    counts = labels.bincount()
    counts = counts[counts > 0]
    return len(counts) > 0 and bool(counts.max() >= IMBALANCE * counts.min())


def balanced_accuracy(answers: Tensor, labels: Tensor) -> float:
    """Return the mean accuracy over the classes that have images; `answers` and `labels` are (N,)."""
    n_images = labels.bincount()
    import torch

    n_right = torch.bincount(labels[answers == labels], minlength=len(n_images))
    present = n_images > 0
    return float((n_right[present].double() / n_images[present]).mean())


def score(curve: Sequence[EpochMetrics], rule: str, metric: str = "accuracy") -> float:
    """Return the value of a trial by `rule`: "last", "best" or "last3".

    It is the metric after the last epoch, the metric of the best epoch, or the mean of the last three epochs.
    """
    values = [metrics.value(metric) for metrics in curve]
    if rule == "best":
        return max(values)
    last_values = values[-3:] if rule == "last3" else values[-1:]
    return sum(last_values) / len(last_values)


def other_metric(metric: str) -> str:
    """Return the metric that is shown beside `metric` if both were measured."""
    return next(name for name in METRICS if name != metric)


def other_value(curve: Sequence[Mapping[str, Any]], rule: str, metric: str) -> float | None:
    """Return the other metric of the epochs that determine a trial's value, or None if it was not measured.

    curve: the epochs as TrialRecord stores them.
    """
    second = other_metric(metric)
    if not curve or any(epoch.get(second) is None or epoch.get(metric) is None for epoch in curve):
        return None
    if rule == "best":
        return float(max(curve, key=lambda epoch: float(epoch[metric]))[second])
    last_values = [float(epoch[second]) for epoch in (curve[-3:] if rule == "last3" else curve[-1:])]
    return sum(last_values) / len(last_values)
