"""Read a folder of images as a data set: list its files, decode the images and split them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from search.config import FOLDER, MIN_SIDE
from search.data.dataset import Split
from search.data.own.copies import first_copies
from search.data.own.copy_rules import kept_copies, leave_out_copies
from search.data.own.decode import LONGEST_SIDE, DecodedImages, decode_files
from search.data.own.folder_files import FolderFiles, ImageFile, list_files
from search.data.own.folder_remarks import folder_remarks, unreadable_text
from search.data.own.folder_rules import MOST_UNREADABLE, TEST, VAL, choose_test_images, left_out_text
from search.data.own.naming import shorten_names
from search.data.own.own_images import OwnImages, check_learnable
from search.data.own.pictures import INTEGER, shown
from search.errors import InputError


def read_folder(
    folder: Path, size: tuple[int, ...] = (), order: Sequence[str] = (), *, keeps_copies: bool = False
) -> OwnImages:
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

    def name_of(row: int) -> str:
        return shown(files[row].path.relative_to(folder))

    is_train, copy_remarks = leave_out_copies(name_of, labels, firsts, is_test)
    if keeps_copies:
        copy_remarks = kept_copies(all_images.images, is_test)
    is_val = torch.tensor([file.split == VAL for file in files])
    train, test = all_images.take(is_train), all_images.take(is_test)
    _check_complete(folder, folder_files, files)
    _check_test_images(folder, test, decoded)
    check_learnable(folder, folder_files.classes, train)
    remarks = (*folder_remarks(folder, folder_files, decoded, train, test), *copy_remarks)
    # Resolved, because the path may be a link or end in "..". A link may lead to a name that is no text.
    name = f"{FOLDER}:{shown(folder.resolve().name)}"
    facts = (files, folder_files.has_test, decoded.level_ranges, remarks)
    return OwnImages(name, folder_files.classes, train, is_val[is_train], test, *facts, keeps_copies)


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


def _check_complete(folder: Path, folder_files: FolderFiles, files: Sequence[ImageFile]) -> None:
    """Raise InputError if a class has no training image, or the folder of test images none that can be read."""
    readable = {file.label for file in files if file.split != TEST}
    names = [name for label, name in enumerate(folder_files.classes) if label not in readable]
    if names:
        raise InputError(f"no image of {shorten_names(names)} in {folder} can be read; repair or remove these classes")
    if folder_files.has_test and all(file.split != TEST for file in files):
        raise InputError(f"no image of the folder {TEST} in {folder} can be read; repair or remove that folder")


def _check_test_images(folder: Path, test: Split, decoded: DecodedImages) -> None:
    """Raise InputError if there is no test image."""
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
