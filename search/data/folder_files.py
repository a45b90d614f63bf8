"""Find the image files of a folder and their classes and splits."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from search.errors import InputError

# Files with other suffixes are ignored.
IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
TRAIN, VAL, TEST = "train", "val", "test"
# Names that the folder of a split may have, in upper or lower case.
_SPLITS = {TRAIN: TRAIN, "training": TRAIN, VAL: VAL, "valid": VAL, "validation": VAL, TEST: TEST, "testing": TEST}
_USAGE = "--dataset folder:PATH takes a folder with a folder of images for every class"
# Number of names that a message lists.
N_NAMED = 3


@dataclass(frozen=True)
class FolderFiles:
    """Image files of a folder, with their classes and splits.

    classes  names of the classes, in the order of the labels
    files    (file, label) of every split that has images, in the order of the classes and file names
    remarks  sentences on the classes that were left out
    """

    classes: tuple[str, ...]
    files: Mapping[str, tuple[tuple[Path, int], ...]]
    remarks: tuple[str, ...]


def list_files(folder: Path) -> FolderFiles:
    """List the image files below `folder` without opening them.

    Every folder in it is a class, with all images in and below that folder. If there is a folder `train`, the classes
    are the folders in it, and in `val` and `test` where these exist. Names that begin with a dot are ignored; links are
    followed. Raises InputError if there are fewer than two classes, or if `val` or `test` has a class that `train`
    lacks.
    """
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "is not there"
        raise InputError(f"{folder} {state}; {_USAGE}")
    split_folders = _split_folders(folder)
    files_by_split = {split: _files_by_class(root) for split, root in split_folders.items()}
    empty_classes = [name for name, files in files_by_split[TRAIN].items() if not files]
    classes = tuple(sorted(name for name, files in files_by_split[TRAIN].items() if files))
    if len(classes) < 2:
        content = f"images of one class alone, {classes[0]!r}" if classes else "no images in folders of classes"
        raise InputError(f"{split_folders[TRAIN]} holds {content}; {_USAGE}, of two classes at least")
    for split in (VAL, TEST):
        by_class = files_by_split.get(split, {})
        unknown_classes = sorted(name for name, files in by_class.items() if files and name not in classes)
        if unknown_classes:
            raise InputError(
                f"{split_folders[split]} has images of {shorten_names(unknown_classes)}, of which "
                f"{split_folders[TRAIN]} has none; a network can only learn classes that it is shown"
            )
    labels = {name: label for label, name in enumerate(classes)}
    files = {
        split: tuple((file, labels[name]) for name in classes for file in by_class.get(name, ()))
        for split, by_class in files_by_split.items()
        if any(by_class.values())
    }
    remarks = (f"Left out, as there are no images of it: {shorten_names(empty_classes)}.",) if empty_classes else ()
    return FolderFiles(classes, files, remarks)


def shorten_names(names: list[str]) -> str:
    """Return a list of names as text, shortened as in 'a, b, c and 9 more'."""
    more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
    return f"{', '.join(names[:N_NAMED])}{more}"


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of every split, or of TRAIN alone if the classes are in `folder` itself."""
    split_folders: dict[str, Path] = {}
    for path in _subfolders(folder):
        split = _SPLITS.get(path.name.lower())
        if split in split_folders:
            raise InputError(
                f"{folder} has both {split_folders[split].name} and {path.name}, which mean the same; keep one"
            )
        if split:
            split_folders[split] = path
    if TRAIN in split_folders:
        return split_folders
    # Without a folder train, a folder that is called like a split is a class, unless it contains folders itself.
    for path in split_folders.values():
        if _subfolders(path):
            raise InputError(f"{folder} has a folder {path.name} but no folder train beside it; add that or rename it")
    return {TRAIN: folder}


def _files_by_class(root: Path) -> dict[str, list[Path]]:
    """Return the image files of every folder in `root`, by the class that the folder's name states."""
    files_by_class: dict[str, list[Path]] = {}
    for path in _subfolders(root):
        # Unicode has several forms of one name, and a line break in a name would break every table.
        name = " ".join(unicodedata.normalize("NFC", path.name).split())
        files_by_class.setdefault(name, []).extend(_images_below(path))
    return {name: sorted(files, key=lambda file: _sort_key(file, root)) for name, files in files_by_class.items()}


def _sort_key(file: Path, root: Path) -> str:
    """Return a sort key that does not depend on the location of `root`."""
    return unicodedata.normalize("NFC", file.relative_to(root).as_posix())


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))
    except OSError as error:
        _raise_cannot_list(error)


def _images_below(folder: Path) -> list[Path]:
    images: list[Path] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_raise_cannot_list, followlinks=True):
        real_path = os.path.realpath(parent)
        if real_path in visited:  # a link to a folder that was visited already
            folders.clear()
            continue
        visited.add(real_path)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        images += [
            Path(parent, name)
            for name in names
            if not _is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        ]
    return images


def _is_hidden(name: str) -> bool:
    # Archives that were made on a Mac contain a folder __MACOSX without images.
    return name.startswith(".") or name == "__MACOSX"


def _raise_cannot_list(error: OSError) -> NoReturn:
    raise InputError(f"cannot list {error.filename}: {error.strerror}; see to its permissions") from error
