"""Measure what trainings of random candidates cost, and whether networks differ by more than the noise."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean, stdev

from benchmarks.equal_time.arms import fitting_candidates
from benchmarks.equal_time.tasks import Sources, Task, images_of, search_config
from search.data.dataset import Dataset
from search.engine.process import prepare_process
from search.engine.train import TrainingDivergedError
from search.evidence.statistics import rank_correlation
from search.search_space.encoding import Candidate
from search.study.training import Training
from search.text import text_table


@dataclass(frozen=True)
class CandidateCost:
    """Processor seconds and accuracies, in [0, 1], of trainings of one candidate.

    one_epoch      training of one epoch
    first, second  complete trainings from two seeds; the second is scored after every epoch, as arms need that stop
                   trainings
    """

    one_epoch_seconds: float
    first_seconds: float
    second_seconds: float
    one_epoch: float
    first: float
    second: float


def measure(task: Task, sources: Sources, n_candidates: int) -> list[CandidateCost]:
    """Train random candidates of a task for one epoch and, from two seeds, to the end."""
    prepare_process()
    data = images_of(task, sources, seed=0)
    config = search_config(task, data, seed=0)
    candidates = list(islice(fitting_candidates(config), n_candidates))
    _trained(candidates[0], data, 1, seed=0)  # the first training of a process takes longer than others
    measured = []
    for candidate in candidates:
        one_epoch_seconds, one_epoch = _trained(candidate, data, 1, seed=0)
        first_seconds, first = _trained(candidate, data, task.epochs, seed=1)
        second_seconds, second = _trained(candidate, data, task.epochs, seed=2, every_epoch=True)
        measured.append(CandidateCost(one_epoch_seconds, first_seconds, second_seconds, one_epoch, first, second))
    return measured


def _trained(
    candidate: Candidate, data: Dataset, epochs: int, seed: int, *, every_epoch: bool = False
) -> tuple[float, float]:
    """Return the processor seconds of a training with its scoring, and its accuracy."""
    started = time.process_time()
    training = Training(candidate.arch, replace(candidate.recipe, epochs=epochs), seed, every_epoch=every_epoch)
    try:
        accuracy = training.value(training.run(data, n_threads=lambda: 1))
    except TrainingDivergedError:
        accuracy = 1 / data.n_classes
    return time.process_time() - started, accuracy


def cost_table(costs: dict[Task, list[CandidateCost]]) -> str:
    """Return a table with one row a task."""
    header = [
        "task",
        "n",
        "epoch",
        "one epoch",
        "to the end",
        "each scored",
        "in a study",
        "mean",
        "sd",
        "seed sd",
        "rank 1",
        "rank",
    ]
    rows = []
    for task, measured in costs.items():
        one_epoch, seconds = (fmean(m.one_epoch_seconds for m in measured), fmean(m.first_seconds for m in measured))
        means = [(m.first + m.second) / 2 for m in measured]
        # The variance of a difference of two values is twice that of one.
        seed_sd = (fmean((m.first - m.second) ** 2 for m in measured) / 2) ** 0.5
        rows.append(
            [
                task.name,
                str(len(measured)),
                f"{(seconds - one_epoch) / max(1, task.epochs - 1):.2f}",
                f"{one_epoch:.2f}",
                f"{seconds:.2f}",
                f"{fmean(m.second_seconds for m in measured):.2f}",
                f"{task.seconds / seconds:.0f}",
                f"{100 * fmean(means):.1f}",
                f"{100 * stdev(means):.1f}" if len(means) > 1 else "-",
                f"{100 * seed_sd:.1f}",
                _rank([m.one_epoch for m in measured], means),
                _rank([m.first for m in measured], [m.second for m in measured]),
            ]
        )
    return (
        f"{text_table(header, rows, '<' + '>' * (len(header) - 1))}\n\n"
        "Processor seconds: of an epoch, of a training of one epoch with its scoring, of a complete one, and of one\n"
        "that is scored after every epoch; number of complete ones in the time of a study. Accuracies of complete\n"
        "trainings in %: mean and sd over candidates, sd over seeds of one candidate. Spearman's rank correlations:\n"
        "of one epoch with the mean of two complete trainings, and of one complete training with another."
    )


def _rank(first: list[float], second: list[float]) -> str:
    rho = rank_correlation(first, second) if len(first) > 2 else None
    return "-" if rho is None else f"{rho:.2f}"
