"""Data sets: their images and labels in memory, how they are split, and their definition before they are read."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.config import AUGMENTATIONS, FOLDER, DataForm


@dataclass(frozen=True, eq=False)
class Dataset:
    """All images of a data set, with the facts that training needs.

    val         held out of the training images, or None where the search is scored on the test set
    mean, std   per channel, of `train.images` scaled to [0, 1]
    checksum    SHA-256 of all images and labels, whatever is held out
    held_out    how the validation images were chosen, as search.data.split names it; empty where there are none
    test_files  as in Definition, as is terms
    remarks     what its user should know, a sentence each
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split | None
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str
    held_out: str = ""
    test_files: tuple[str, ...] = ()
    terms: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def scored(self) -> Split:
        """The images that the search is scored on: validation images where there are any, else the test set."""
        return self.test if self.val is None else self.val

    @property
    def is_folder(self) -> bool:
        """Whether the images are those of a folder, and not of a published data set."""
        return self.name.startswith(f"{FOLDER}:")

    @property
    def form(self) -> DataForm:
        """Description of the data set without its images."""
        return DataForm(self.name, self.input_shape, self.classes, self.checksum, self.remarks)


# Part of the training images that is held out for `select_on == "val"`: about 10,000 of MNIST's 60,000.
VAL_PARTS = 6
# How they are chosen. Results on one kind of split do not compare with those on another.
STRATIFIED, WRITER_DISJOINT, OWN_FOLDER = "stratified", "stratified and writer-disjoint", "the folder's own"
# Of the fixed splits. Another seed makes other data sets: results before and after are not comparable.
SPLIT_SEED = 0
# Images that are resized at once, so that no copy in floating point of all is needed.
_RESIZED_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class Split:
    """images: uint8 (N, C, H, W); labels: int64 (N,), from 0."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        """The images and labels at `indices`, in that order, or where a mask, bool (N,), is true."""
        return Split(self.images[indices], self.labels[indices])

    def resized(self, height: int, width: int) -> Split:
        """Return the split with images of another size, stretched if the shape differs; bilinear, antialiased."""
        if tuple(self.images.shape[2:]) == (height, width):
            return self
        parts = [
            torch.nn.functional.interpolate(
                part.float(), size=(height, width), mode="bilinear", align_corners=False, antialias=True
            )
            .add(0.5)
            .clamp_(0, 255)
            .to(torch.uint8)
            for part in torch.split(self.images, _RESIZED_AT_ONCE)
        ]
        return Split(torch.cat(parts), self.labels)


def hold_out(split: Split, n_parts: int, writers: Tensor | None = None) -> tuple[Split, Split]:
    """Split off one of `n_parts`, stratified by class and always the same; both parts keep the original order.

    With `writers`, (N,), each has all images in one part; classes and size are then met as nearly as that allows. Every
    class needs as many images as there are parts; `chosen_by_class` takes smaller ones.
    """
    from sklearn.model_selection import StratifiedGroupKFold, train_test_split

    labels = split.labels.numpy()
    if writers is None:
        kept, held_out = train_test_split(
            range(len(split)), test_size=len(split) // n_parts, stratify=labels, random_state=SPLIT_SEED
        )
    else:
        folds = StratifiedGroupKFold(n_parts, shuffle=True, random_state=SPLIT_SEED)
        kept, held_out = next(folds.split(labels, labels, groups=writers.numpy()))
    return split.take(torch.tensor(sorted(kept))), split.take(torch.tensor(sorted(held_out)))


def chosen_by_class(labels: Tensor, n_parts: int) -> Tensor:
    """Choose the images that make up one of `n_parts`, bool (N,); always the same for the same labels.

    Of every class the same share, but at least one image, and never the only one.
    """
    rng = random.Random(SPLIT_SEED)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero().flatten().tolist()
        n_chosen = max(1, round(len(rows) / n_parts)) if len(rows) > 1 else 0
        chosen[rng.sample(rows, n_chosen)] = True
    return chosen


def checksum_of(splits: Sequence[Split], classes: Sequence[str] = ()) -> str:
    """SHA-256 of all images and labels, and of the names of the classes where they are no part of a definition."""
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().data)
    for name in classes:
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and (population) standard deviation per channel; by counting levels, which is exact and needs no copy.

    Of a channel that is the same everywhere the deviation is given as 1, as it is divided by.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.reshape(-1), minlength=256) for channel in images.unbind(1)])
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ levels
    std = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    return tuple(mean.tolist()), tuple(value or 1.0 for value in std.tolist())


# A mirrored character is another one, or none.
OF_CHARACTERS = tuple(name for name in AUGMENTATIONS if name != "mirror")


@dataclass(frozen=True)
class Definition:
    """Facts about a data set before it is read.

    load           takes the data directory and returns (train, test)
    writers        takes the data directory and the training labels, (N,), and returns who wrote each training image,
                   int64 (N,), or None where that is not known
    is_at          takes the data directory and returns whether the data is there, so that nothing would be downloaded
    test_files     files below the data directory with the test images and labels; none where they are not IDX files of
                   bytes, or hold the images in another form
    terms          where the images come from and on what terms, for those who publish a network trained on them
    augmentations  those that make sense for it, of search.config.AUGMENTATIONS
    """

    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    load: Callable[[Path], tuple[Split, Split]]
    writers: Callable[[Path, Tensor], Tensor | None] = lambda _root, _labels: None
    is_at: Callable[[Path], bool] = lambda _root: True
    test_files: tuple[str, ...] = ()
    terms: str = ""
    augmentations: tuple[str, ...] = OF_CHARACTERS

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)
