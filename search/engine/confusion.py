"""Confusion of a network, which counts the answers to every class and lists misread images."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from models.build import build_model
from models.record import Record, RecordError
from models.spec import ArchSpec
from search.data.dataset import Dataset
from search.engine.train import predict, training_device

# Number of misread images that are kept: a page of examples, as an untrained network misreads most images.
MAX_KEPT = 100


@dataclass(frozen=True)
class Misread(Record):
    """Image with a wrong answer, given by its index in the split, its class and the class that was answered."""

    index: int
    label: int
    answer: int


@dataclass(frozen=True)
class Confusion(Record):
    """Answers of a network on one split, counted by class.

    confusion  table of the number of images of each class (row) with each answer (column)
    misread    the first MAX_KEPT images with a wrong answer
    """

    confusion: tuple[tuple[int, ...], ...]
    misread: tuple[Misread, ...]

    def __post_init__(self) -> None:
        n = len(self.confusion)
        numbers = [
            *itertools.chain(*self.confusion),
            *(value for image in self.misread for value in vars(image).values()),
        ]
        if any(len(row) != n for row in self.confusion) or min(numbers, default=0) < 0:
            raise RecordError("a confusion needs a square table of counts, and indices of at least 0")
        if any(max(image.label, image.answer) >= n for image in self.misread):
            raise RecordError(f"misread images must be of the {n} classes of the table")

    @property
    def n_wrong(self) -> int:
        """Return the number of images with a wrong answer, kept or not."""
        return sum(map(sum, self.confusion)) - sum(row[i] for i, row in enumerate(self.confusion))

    @property
    def class_accuracies(self) -> tuple[float, ...]:
        """Return the accuracy of each class in [0, 1], or nan for a class without images."""
        return tuple(row[i] / sum(row) if sum(row) else float("nan") for i, row in enumerate(self.confusion))


def confusion_of(answers: Tensor, labels: Tensor, n_classes: int) -> Confusion:
    """Count the answers of a network; `answers` and `labels` are (N,) whole numbers below `n_classes`."""
    pairs = labels.cpu() * n_classes + answers.cpu()
    confusion = pairs.bincount(minlength=n_classes**2).view(n_classes, n_classes).tolist()
    wrong_indices = (answers.cpu() != labels.cpu()).nonzero().flatten().tolist()[:MAX_KEPT]
    misread = tuple(Misread(index, int(labels[index]), int(answers[index])) for index in wrong_indices)
    return Confusion(tuple(map(tuple, confusion)), misread)


def confusion_of_state(arch: ArchSpec, state: Mapping[str, Tensor], data: Dataset) -> Confusion:
    """Run a network with the weights `state` on the scored images and count its answers."""
    model = build_model(arch).to(training_device())
    model.load_state_dict(state)
    answers = predict(model, data.scored, data).argmax(1)
    return confusion_of(answers, data.scored.labels, data.n_classes)
