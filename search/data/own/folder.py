"""Read a folder of images as a data set: list its files, decode the images and split them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.config import FOLDER, MIN_SIDE
from search.data.dataset import Split
from search.data.own.copies import first_copies
from search.data.own.copy_rules import kept_copies, leave_out_copies
from search.data.own.decode import LONGEST_SIDE, DecodedImages, decode_files
from search.data.own.folder_files import FolderFiles, ImageFile, list_files
from search.data.own.folder_remarks import folder_remarks, unreadable_text
from search.data.own.folder_rules import MOST_UNREADABLE, TEST, VAL, choose_test_images, left_out_text, shorten_names
from search.data.own.pictures import INTEGER, shown
from search.errors import InputError

TERMS = "They are the images of a folder; on what terms they may be used, only those who have them can say."


@dataclass(frozen=True, eq=False)
class FolderData:
    """Images and labels read from a folder.

    train         all images to train with, including those of a folder `val`
    is_val        mask of the training images that come from a folder `val`, bool (N,)
    files         image file of every image that was read, in the order of `list_files`
    has_test      whether the test images come from a folder `test`
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


def read_folder(
    folder: Path, size: tuple[int, ...] = (), order: Sequence[str] = (), *, keeps_copies: bool = False
) -> FolderData:
    """Read all images of a folder and split them into training and test images.

    Images are rotated as their cameras recorded it. Transparency is filled with black or white. Levels of more than
    eight bits are scaled to eight, by one range for all images. The images have one channel (grey) where none of them
    has a colour, else three. They are cropped in the middle to the aspect ratio of `size` (height, width) and scaled to
    it; without `size` they get the size that `decode_files` chooses. `choose_test_images` chooses the test images, and
    `leave_out_copies` leaves out training images.
    `order` is as in `list_files`. With `keeps_copies`, copies are treated as different images, as in earlier versions.

    Raises InputError as `list_files` does, if more than MOST_UNREADABLE of the files are unreadable, if the images have
    a side below MIN_SIDE or no contrast, and if a class has no image left to train with or the data set has none to
    test with.
    """
    folder_files = list_files(folder, order)
    decoded = decode_files(tuple(file.path for file in folder_files.files), size)
    _check_readable(folder, folder_files, decoded)
    _check_size(folder, *decoded.images.shape[2:])
    files = tuple(file for file in folder_files.files if file.path not in decoded.errors)
    all_images = Split(decoded.images, torch.tensor([file.label for file in files], dtype=torch.int64))
    labels = all_images.labels
    firsts = torch.arange(len(files)) if keeps_copies else first_copies(all_images.images)
    is_test = choose_test_images([file.split for file in files], labels, firsts)
    is_train, copy_remarks = leave_out_copies(folder, files, labels, firsts, is_test)
    if keeps_copies:
        copy_remarks = kept_copies(all_images.images, is_test)
    is_val = torch.tensor([file.split == VAL for file in files])
    train, test = all_images.take(is_train), all_images.take(is_test)
    _check_complete(folder, folder_files, files, train)
    _check_splits(folder, train, test, decoded)
    remarks = (*folder_remarks(folder, folder_files, decoded, train, test), *copy_remarks)
    # Resolved, because the path may be a link or end in "..". A link may lead to a name that is no text.
    name = f"{FOLDER}:{shown(folder.resolve().name)}"
    facts = (files, folder_files.has_test, decoded.level_ranges, remarks)
    return FolderData(name, folder_files.classes, train, is_val[is_train], test, *facts, keeps_copies)


def _check_readable(folder: Path, folder_files: FolderFiles, decoded: DecodedImages) -> None:
    """Raise InputError if more than MOST_UNREADABLE of the image files could not be read."""
    if len(decoded.errors) > MOST_UNREADABLE * len(folder_files.files):
        others = f" (beside them: {left_out_text(folder_files.left_out)})" if folder_files.left_out.total() else ""
        raise InputError(
            unreadable_text(folder, folder_files, decoded, f" in {folder}, more than {MOST_UNREADABLE:.0%}")
            + f"{others}; repair or remove them"
        )


def _check_size(folder: Path, height: int, width: int) -> None:
    """Raise InputError if the images are too small for any network. A requested size never is."""
    if min(height, width) < MIN_SIDE:
        raise InputError(
            f"the images of {folder} would be {height}x{width} pixels (height x width), their commonest size up to "
            f"{LONGEST_SIDE}; a side needs {MIN_SIDE} at least: name a size, for example --image-size "
            f"{max(height, 2 * MIN_SIDE)}x{max(width, 2 * MIN_SIDE)}"
        )


def _check_complete(folder: Path, folder_files: FolderFiles, files: Sequence[ImageFile], train: Split) -> None:
    """Raise InputError if a class has no training image, or the folder of test images none that can be read."""
    readable = {file.label for file in files if file.split != TEST}
    names = [name for label, name in enumerate(folder_files.classes) if label not in readable]
    if names:
        raise InputError(f"no image of {shorten_names(names)} in {folder} can be read; repair or remove these classes")
    if folder_files.has_test and all(file.split != TEST for file in files):
        raise InputError(f"no image of the folder {TEST} in {folder} can be read; repair or remove that folder")
    names = [name for label, name in enumerate(folder_files.classes) if not (train.labels == label).any()]
    if names:
        raise InputError(
            f"all images of {shorten_names(names)} to train with in {folder} are copies of test images; add others"
        )


def _check_splits(folder: Path, train: Split, test: Split, decoded: DecodedImages) -> None:
    """Raise InputError if there is no test image, or the training images show nothing."""
    if not len(test):
        # A defective pixel stretches the range of levels, so that the others become one level.
        ranges = " and ".join(
            f"{low:g} to {end - (kind == INTEGER):g}" for kind, (low, end) in decoded.level_ranges.items()
        )
        scaled = f" once levels from {ranges} have become 0 to 255" if ranges else ""
        raise InputError(
            f"{folder} has no class with two different images{scaled}, so none is left to test with; "
            + ("check how the files were written" if ranges else "add images")
        )
    if bool((train.images == train.images[:1, :, :1, :1]).all()):
        raise InputError(
            f"all training images in {folder} have one level everywhere "
            f"({', '.join(map(str, train.images[0, :, 0, 0].tolist()))} of 255), so there is nothing to learn; check "
            "how the files were written"
        )
