"""Describe images that were read from a folder or an archive, and refuse those that teach nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from search.data.dataset import (
    Split,
    checksum_of,
)
from search.data.own.folder_files import ImageFile
from search.data.own.naming import shorten_names
from search.errors import InputError


@dataclass(frozen=True, eq=False)
class OwnImages:
    """Images and labels read from a folder or an archive.

    train         all images to train with, including those held out beforehand, for example in a folder `val`
    is_val        mask of the training images that were held out beforehand, bool (N,)
    files         image file of every image of a folder, in the order of `list_files`; empty for an archive
    has_test      whether the test images were chosen beforehand, for example as a folder `test`
    level_ranges  ranges of levels that were scaled to eight bits, as in search.data.own.pictures.upright
    remarks       sentences that their user should know
    keeps_copies  whether training images may be copies of test images, as in studies of earlier versions
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    is_val: Tensor
    test: Split
    files: tuple[ImageFile, ...]
    has_test: bool
    level_ranges: Mapping[str, tuple[float, float]]
    remarks: tuple[str, ...]
    keeps_copies: bool

    @property
    def checksum(self) -> str:
        """Return the checksum of the images, labels and classes."""
        return checksum_of((self.train, self.test), self.classes)


def check_learnable(place: Path, classes: Sequence[str], train: Split) -> None:
    """Raise InputError if a class lost all its training images as copies, or if the training images show nothing."""
    names = [name for label, name in enumerate(classes) if not (train.labels == label).any()]
    if names:
        raise InputError(
            f"all images of {shorten_names(names)} to train with in {place} are copies of test images; add others"
        )
    if bool((train.images == train.images[:1, :, :1, :1]).all()):
        raise InputError(
            f"all training images in {place} have one level everywhere "
            f"({', '.join(map(str, train.images[0, :, 0, 0].tolist()))} of 255), so there is nothing to learn; check "
            "how the files were written"
        )
