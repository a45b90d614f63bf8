"""Images and labels in memory, and how some of them are held out, resized, counted and told from others."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
        """The same with images of another size, stretched where the shape differs; bilinear, with antialiasing."""
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
    """Which images make up one of `n_parts`, bool (N,); always the same for the same labels.

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
