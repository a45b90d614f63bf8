"""Tasks of the comparison: a data set, a budget of parameters, and the sizes of images, trainings and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from models.record import Record
from search.config import FOLDER, DataConfig, SearchConfig
from search.data.dataset import Dataset, Split, channel_statistics
from search.data.load import definition, load_dataset
from search.data.own.copies import first_copies, is_first_copy
from search.errors import InputError
from search.study.seeds import derived_seed


@dataclass(frozen=True)
class Task(Record):
    """Row of the table of tasks.

    budget    largest number of parameters
    n_train   training images of a study
    n_scored  other training images, on which the study scores its networks
    n_unseen  test images, on which leaders are scored
    epochs    epochs of a complete training
    seconds   processor seconds of trainings that a study may use
    n_fresh   fresh seeds from which a leader is trained to be scored
    """

    name: str
    dataset: str
    budget: int
    n_train: int
    n_scored: int
    n_unseen: int
    epochs: int
    seconds: float
    n_fresh: int = 2


TASKS = {
    task.name: task
    for task in (
        Task("mnist-1000", "mnist", 1000, 4000, 2000, 5000, epochs=9, seconds=35.0),
        Task("mnist-8000", "mnist", 8000, 4000, 2000, 5000, epochs=9, seconds=110.0),
        Task("cifar10-8000", "cifar10", 8000, 4000, 2000, 5000, epochs=9, seconds=210.0),
    )
}
# Shares of the time of a study after which its leader is scored.
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
N_SEEDS = 10


@dataclass(frozen=True)
class Sources:
    """Places of the data sets.

    directory  as in search.config.DataConfig
    cifar10    folder of CIFAR-10's pictures with the folders train and test; None: read from `directory`
    """

    directory: str
    cifar10: Path | None = None

    def config_of(self, dataset: str) -> DataConfig:
        """Return how a data set of a task is read, with all of its training images."""
        if dataset == "cifar10" and self.cifar10 is not None:
            return DataConfig(FOLDER, str(self.cifar10.absolute()))
        return DataConfig(dataset, self.directory)


def search_config(task: Task, data: Dataset, seed: int) -> SearchConfig:
    """Return the settings of a study, which begins without any network that is known before.

    data: the images of the study, whose form the settings contain
    """
    return SearchConfig(
        DataConfig(task.dataset, "", "val", form=data.form),
        task.budget,
        epochs=task.epochs,
        seed=seed,
        augmentations=definition(task.dataset).augmentations,
        starts="none",
    )


def images_of(task: Task, sources: Sources, seed: int) -> Dataset:
    """Return the images of the studies with one seed, the same for all arms.

    `train` and `val`, on which networks are scored, are drawn from the training images by the seed of the study; `test`
    is a fixed part of the test images. All keep the shares of the classes, and none has an image of another. Raises
    InputError as load_dataset does, and if the data set has too few images.
    """
    data = load_dataset(sources.config_of(task.dataset))
    n_seen = task.n_train + task.n_scored
    # No two of these have the same pixels. Copies of test images among the pictures of a folder are left out already.
    distinct = data.train.take(is_first_copy(first_copies(data.train.images)))
    images_seed = derived_seed(seed, "images", task.name)
    seen = _drawn(distinct, n_seen, images_seed, task)
    rows, scored_rows = train_test_split(
        range(n_seen), train_size=task.n_train, stratify=seen.labels.numpy(), random_state=images_seed
    )
    train, scored = seen.take(_sorted(rows)), seen.take(_sorted(scored_rows))
    unseen = _drawn(data.test, task.n_unseen, 0, task)
    mean, std = channel_statistics(train.images)
    return replace(data, train=train, val=scored, test=unseen, mean=mean, std=std)


def without_scored(data: Dataset) -> Dataset:
    """Return the data set whose trainings are scored on the images that no search has seen."""
    return replace(data, val=None)


def _drawn(split: Split, n_images: int, seed: int, task: Task) -> Split:
    """Return `n_images` of a split, stratified by class. Raises InputError if there are not so many."""
    if len(split) < n_images:
        raise InputError(
            f"{task.name} needs {n_images:,} different images of {task.dataset}, and there are {len(split):,}; name a "
            "folder with all of them"
        )
    if len(split) == n_images:
        return split
    rows, _ = train_test_split(range(len(split)), train_size=n_images, stratify=split.labels.numpy(), random_state=seed)
    return split.take(_sorted(rows))


def _sorted(rows: list[int]) -> Tensor:
    return torch.tensor(sorted(rows))
