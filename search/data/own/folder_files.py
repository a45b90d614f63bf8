"""List the image files of a folder with their splits and classes, or refuse a folder that has no usable ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from search.data.own.class_order import in_natural_order
from search.data.own.folder_rules import (
    TEST,
    TRAIN,
    VAL,
    class_name,
    left_out_text,
    list_images,
    split_folders,
    subfolders,
)
from search.data.own.naming import shorten_names
from search.data.own.pictures import shown
from search.errors import InputError

_USAGE = "--dataset folder:PATH takes a folder with a folder of images for every class"


class ImageFile(NamedTuple):
    """Image file with its split, TRAIN, VAL or TEST, and the number of its class."""

    split: str
    label: int
    path: Path


@dataclass(frozen=True)
class FolderFiles:
    """Image files of a folder, with its classes and what is left out.

    classes        names of the classes, in the order of the labels
    files          image files in the order of the splits, the classes and the file names
    empty_classes  names of folders without an image file
    merged         classes of several folders beside each other
    left_out       numbers of files that are not read, by reason
    has_splits     whether folders of splits were found
    """

    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    empty_classes: tuple[str, ...]
    merged: tuple[str, ...]
    left_out: Counter[str]
    has_splits: bool

    @property
    def has_test(self) -> bool:
        """Return whether a folder of test images was found."""
        return any(file.split == TEST for file in self.files)


def list_files(folder: Path, order: Sequence[str] = ()) -> FolderFiles:
    """List the image files below `folder`, as `list_images` finds them, without opening them.

    order: the classes in the order of a study, used if the folder has the same ones; otherwise their order is natural.
    Raises InputError for a folder that is missing, cannot be listed, has fewer than two classes or an ambiguous layout,
    if `val` or `test` has a class that `train` lacks, and for names that are not UTF-8.
    """
    if shown(folder) != str(folder):
        raise InputError(f"the path {shown(folder)} is not UTF-8 text; rename that folder, or give a link to it")
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "is not there"
        raise InputError(f"{folder} {state}; {_USAGE}")
    left_out: Counter[str] = Counter()
    try:
        by_split = list_images(folder, left_out)
        roots = split_folders(folder)
    except OSError as error:
        raise InputError(f"cannot list {shown(error.filename)}: {error.strerror}; see to its permissions") from error
    except ValueError as error:
        raise InputError(str(error)) from error
    classes = in_natural_order(name for name, files in by_split[TRAIN].items() if files)
    if set(order) == set(classes):
        classes = list(order)
    if len(classes) < 2:
        content = f"images of one class alone, {classes[0]!r}" if classes else "no images in folders of classes"
        others = f" (left out: {left_out_text(left_out)})" if left_out.total() else ""
        inner = [path.name for path in subfolders(roots[TRAIN]) if len(subfolders(path)) > 1]
        others += f"; if the classes are the folders in {inner[0]}, give its path" if len(inner) == 1 else ""
        raise InputError(f"{roots[TRAIN]} holds {content}{others}; {_USAGE}, of two classes at least")
    for split in (VAL, TEST):
        unknown = [name for name, files in by_split.get(split, {}).items() if files and name not in classes]
        if unknown:
            raise InputError(
                f"{roots[split]} has images of {shorten_names(in_natural_order(unknown))}, of which {roots[TRAIN]} has "
                f"none; add training images of them, or move {roots[split].name} out of {folder}"
            )
    files = tuple(
        ImageFile(split, label, path)
        for split, by_class in by_split.items()
        for label, name in enumerate(classes)
        for path in by_class.get(name, ())
    )
    empty = in_natural_order(name for name, paths in by_split[TRAIN].items() if not paths)
    names = Counter((root, class_name(path)) for root in roots.values() for path in subfolders(root))
    merged = in_natural_order({name for (_, name), n in names.items() if n > 1})
    has_splits = folder not in roots.values()
    return FolderFiles(tuple(classes), files, tuple(empty), tuple(merged), left_out, has_splits)
