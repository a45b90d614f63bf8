"""Find the images of a folder: class by class, in folders train, val and test or all together."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from search.errors import InputError

# Files with other endings are passed over.
IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
TRAIN, VAL, TEST = "train", "val", "test"
# What the folders of a split may be called, in upper or lower case.
_SPLITS = {TRAIN: TRAIN, "training": TRAIN, VAL: VAL, "valid": VAL, "validation": VAL, TEST: TEST, "testing": TEST}
_WAY_OUT = "--dataset folder:PATH takes a folder with a folder of images for every class"
# Of a long list of names.
N_NAMED = 3


@dataclass(frozen=True)
class FolderFiles:
    """The image files of a folder.

    classes  their names, in the order of the labels
    files    by split, TRAIN and those that have a folder of their own: (file, label), in the order of their names
    remarks  what was left out, a sentence each
    """

    classes: tuple[str, ...]
    files: Mapping[str, tuple[tuple[Path, int], ...]]
    remarks: tuple[str, ...]


def list_files(folder: Path) -> FolderFiles:
    """List the images below `folder`; nothing is opened.

    Every folder in it is a class, with all images in and below it. Where there is a folder `train`, the classes are in
    that, and in `val` and `test` if they are there. Names that begin with a dot are passed over; links are followed.
    Raises InputError where there are no two classes, or another split has a class that `train` lacks.
    """
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "is not there"
        raise InputError(f"{folder} {state}; {_WAY_OUT}")
    roots = _split_folders(folder)
    found = {split: _by_class(root) for split, root in roots.items()}
    empty = [name for name, files in found[TRAIN].items() if not files]
    classes = tuple(sorted(name for name, files in found[TRAIN].items() if files))
    if len(classes) < 2:
        held = f"images of one class alone, {classes[0]!r}" if classes else "no images in folders of classes"
        raise InputError(f"{roots[TRAIN]} holds {held}; {_WAY_OUT}, of two classes at least")
    for split in (VAL, TEST):
        unknown = [name for name, files in found.get(split, {}).items() if files and name not in classes]
        if unknown:
            raise InputError(
                f"{roots[split]} has images of {named(sorted(unknown))}, of which {roots[TRAIN]} has none; a network "
                "can only learn classes that it is shown"
            )
    labels = {name: label for label, name in enumerate(classes)}
    files = {
        split: tuple((file, labels[name]) for name in classes for file in by_class.get(name, ()))
        for split, by_class in found.items()
        if any(by_class.values())
    }
    return FolderFiles(classes, files, (f"Left out, as there are no images of it: {named(empty)}.",) if empty else ())


def named(names: list[str]) -> str:
    """A list of names, cut short: 'a, b, c and 9 more'."""
    more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
    return f"{', '.join(names[:N_NAMED])}{more}"


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders by split; TRAIN alone where the classes lie in the folder itself."""
    found: dict[str, Path] = {}
    for path in _folders(folder):
        split = _SPLITS.get(path.name.lower())
        if split in found:
            raise InputError(f"{folder} has both {found[split].name} and {path.name}, which mean the same; keep one")
        if split:
            found[split] = path
    if TRAIN in found:
        return found
    # Beside classes of their own these are classes, too; with folders of classes in them they are not.
    for path in found.values():
        if _folders(path):
            raise InputError(f"{folder} has a folder {path.name} but no folder train beside it; add that or rename it")
    return {TRAIN: folder}


def _by_class(root: Path) -> dict[str, list[Path]]:
    """The files of every folder in `root`, by the class that it is named after."""
    found: dict[str, list[Path]] = {}
    for path in _folders(root):
        # One name may be written in several ways; a line break in it would break every table.
        name = " ".join(unicodedata.normalize("NFC", path.name).split())
        found.setdefault(name, []).extend(_images_below(path))
    return {name: sorted(files, key=lambda file: _order(file, root)) for name, files in found.items()}


def _order(file: Path, root: Path) -> str:
    """Return a sort key that is the same wherever the folder lies."""
    return unicodedata.normalize("NFC", file.relative_to(root).as_posix())


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))
    except OSError as error:
        _cannot_list(error)


def _images_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_cannot_list, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        found += [
            Path(parent, name)
            for name in names
            if not _is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        ]
    return found


def _is_hidden(name: str) -> bool:
    # The second is what an archive made on a Mac leaves behind.
    return name.startswith(".") or name == "__MACOSX"


def _cannot_list(error: OSError) -> NoReturn:
    raise InputError(f"cannot list {error.filename}: {error.strerror}; see to its permissions") from error
