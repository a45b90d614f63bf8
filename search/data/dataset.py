"""Data sets in memory, the rules that split them, and the definitions that are known before they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from search.config import AFFINE_AUGMENTATIONS, OWN_KINDS, DataForm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data set in memory, with the facts that training needs.

    val                images held out of the training images, or None where the search is scored on the test set
    mean, std          per channel, of `train.images` scaled to [0, 1]
    checksum           SHA-256 of all images and labels, independent of what is held out
    held_out           way of choosing the validation images: STRATIFIED, WRITER_DISJOINT, OWN_FOLDER or OWN_IMAGES;
                       empty where there are none
    test_files, terms  as in Definition
    remarks            sentences that its user should know
    files              label and image file of every image of a folder without a folder of test images, in the order of
                       reading; empty for other data
    level_ranges       ranges of levels that were scaled to 8 bits, as in search.data.own.pictures.upright
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
    files: tuple[tuple[int, Path], ...] = ()
    level_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return the shape of an image, (C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def n_classes(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    @property
    def scored(self) -> Split:
        """Return the images that the search is scored on: the validation images if there are any, else the test set."""
        return self.test if self.val is None else self.val

    @property
    def is_own(self) -> bool:
        """Return whether the images are those of a user, and not of a published data set."""
        return self.name.partition(":")[0] in OWN_KINDS

    @property
    def form(self) -> DataForm:
        """Return the description of the data set without its images."""
        return DataForm(self.name, self.input_shape, self.classes, self.checksum, self.remarks)


# For `select_on == "val"`, one of VAL_PARTS parts of the training images is held out: 10,000 of MNIST's 60,000.
VAL_PARTS = 6
# Ways of choosing these images. Results on different kinds of split are not comparable.
STRATIFIED, WRITER_DISJOINT = "stratified", "stratified and writer-disjoint"
OWN_FOLDER, OWN_IMAGES = "the folder's own", "the archive's own"
# Number of images resized at once. Resizing all at once would need a floating-point copy of all of them.
_RESIZED_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 (N, C, H, W), with their labels, int64 (N,), counted from 0."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        """Return the images and labels that `indices` selects: positions, kept in their order, or a mask, bool (N,).

        A mask of images that lie together gives a view, which takes no memory.
        """
        import torch

        if indices.dtype == torch.bool and indices.any():
            rows = indices.nonzero().flatten()
            first, end = int(rows[0]), int(rows[-1]) + 1
            if end - first == len(rows):
                return Split(self.images[first:end], self.labels[first:end])
        return Split(self.images[indices], self.labels[indices])

    def resized(self, height: int, width: int) -> Split:
        """Return the split with images of height x width, resized bilinearly with antialiasing.

        Images of another aspect ratio are stretched.
        """
        import torch

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
    """Split off one of `n_parts` parts, stratified by class and always the same.

    Both results keep the original order. With `writers`, (N,), all images of a writer are in one result; the shares of
    the classes and the size are then met as nearly as possible. Every class needs at least `n_parts` images;
    `choose_by_class` accepts smaller classes.
    """
    import torch
    from sklearn.model_selection import StratifiedGroupKFold, train_test_split

    from search.data.own.folder_rules import SPLIT_SEED

    labels = split.labels.numpy()
    if writers is None:
        kept, held_out = train_test_split(
            range(len(split)), test_size=len(split) // n_parts, stratify=labels, random_state=SPLIT_SEED
        )
    else:
        folds = StratifiedGroupKFold(n_parts, shuffle=True, random_state=SPLIT_SEED)
        kept, held_out = next(folds.split(labels, labels, groups=writers.numpy()))
    return split.take(torch.tensor(sorted(kept))), split.take(torch.tensor(sorted(held_out)))


def checksum_of(splits: Sequence[Split], classes: Sequence[str] = ()) -> str:
    """Return the SHA-256 of all images, labels and `classes`.

    Callers pass `classes` where no definition contains them.
    """
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().data)
    for name in classes:
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the (population) standard deviation of every channel, scaled to [0, 1].

    They are computed from counts of the 256 levels, which is exact and needs no copy. A constant channel gets a
    deviation of 1, because images are divided by it.
    """
    import torch

    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.reshape(-1), minlength=256) for channel in images.unbind(1)])
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ levels
    std = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    return tuple(mean.tolist()), tuple(value or 1.0 for value in std.tolist())


@dataclass(frozen=True)
class Definition:
    """Facts about a data set that are known before it is read.

    load           function of the data directory that returns (train, test)
    writers        function of the data directory and the training labels, (N,), that returns the writer of each image,
                   int64 (N,), or None where the writers are unknown
    is_present     function of the data directory that returns whether `load` would read it without a download
    files          paths of all files below the data directory; empty where there are none
    test_files     files below the data directory with the test images and labels; empty where they are not IDX files of
                   bytes, or hold the images in another form
    terms          origin and terms of use of the images, for those who publish a network trained on them
    augmentations  members of search.config.AUGMENTATIONS that a search has by default. Without "mirror" it cannot have
                   that either: a mirrored character is another character or none
    """

    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    load: Callable[[Path], tuple[Split, Split]]
    writers: Callable[[Path, Tensor], Tensor | None] = lambda _root, _labels: None
    is_present: Callable[[Path], bool] = lambda _root: True
    files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    terms: str = ""
    augmentations: tuple[str, ...] = AFFINE_AUGMENTATIONS

    @property
    def n_classes(self) -> int:
        """Return the number of classes."""
        return len(self.classes)
