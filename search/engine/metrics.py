"""Metrics of a training: figures of every epoch, balanced accuracy, the value of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.record import Record
from search.config import METRICS

# Of the images that the search is scored on, the largest class by the smallest: from here on they count as imbalanced.
# MNIST's test set has 1.27.
IMBALANCE = 1.5


@dataclass(frozen=True)
class EpochMetrics(Record):
    """Figures of one epoch. Accuracies are in [0, 1]; `accuracy` is that on the scored split, after the epoch.

    The training figures are taken while the weights move, with augmentation and dropout on. balanced_accuracy: of the
    scored split, too; None where its classes are balanced and nobody asked for it.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    accuracy: float
    lr: float
    seconds: float
    balanced_accuracy: float | None = None

    def value(self, metric: str) -> float:
        """One of search.config.METRICS. Raises ValueError where it was not taken."""
        value: float | None = getattr(self, metric)
        if value is None:
            raise ValueError(f"the {metric} of epoch {self.epoch} was not taken")
        return value


def is_imbalanced(labels: Tensor) -> bool:
    """Return whether the classes that have images, by labels (N,), differ in size by IMBALANCE or more."""
    counts = labels.bincount()
    counts = counts[counts > 0]
    return len(counts) > 0 and bool(counts.max() >= IMBALANCE * counts.min())


def balanced_accuracy(answers: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of their images with the right answer; answers, labels: (N,)."""
    n_images = labels.bincount()
    n_right = torch.bincount(labels[answers == labels], minlength=len(n_images))
    present = n_images > 0
    return float((n_right[present].double() / n_images[present]).mean())


def score(curve: Sequence[EpochMetrics], rule: str, metric: str = "accuracy") -> float:
    """The value of a trial: the metric after the last epoch, of the best epoch, or the mean of the last three."""
    values = [metrics.value(metric) for metrics in curve]
    if rule == "best":
        return max(values)
    last = values[-3:] if rule == "last3" else values[-1:]
    return sum(last) / len(last)


def beside(metric: str) -> str:
    """The metric that is shown beside this one, where both were taken."""
    return next(name for name in METRICS if name != metric)


def value_beside(curve: Sequence[Mapping[str, Any]], rule: str, metric: str) -> float | None:
    """The other metric of the epochs that a trial's value is of; curve: as TrialRecord keeps it. None: not taken."""
    other = beside(metric)
    if not curve or any(epoch.get(other) is None or epoch.get(metric) is None for epoch in curve):
        return None
    if rule == "best":
        return float(max(curve, key=lambda epoch: float(epoch[metric]))[other])
    last = [float(epoch[other]) for epoch in (curve[-3:] if rule == "last3" else curve[-1:])]
    return sum(last) / len(last)
