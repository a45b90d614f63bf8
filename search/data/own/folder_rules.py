"""Rules by which a folder of images is read: its splits, its classes, its image files and its test images.

An exported model.py holds a copy of this source, so that it reads a folder as the search did. Therefore it uses only
the standard library, torch and Pillow.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from search.data.own.copies import copies_of, is_first_copy
from search.data.own.naming import composed_name, join_names
from search.data.own.pictures import shown

# Formats that Pillow only writes, or identifies but leaves to other programs to decode.
UNDECODED_FORMATS = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PALM", "PDF", "WMF")
# Suffixes of pictures that many expect to be read, although Pillow reads them nowhere or not everywhere.
FOREIGN_PICTURES = frozenset(
    (".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".heic", ".heif", ".hif", ".jp2", ".jxl", ".nef", ".npy")
)
TRAIN, VAL, TEST = "train", "val", "test"
# Names that the folder of a split may have, in upper or lower case.
SPLIT_FOLDERS = {TRAIN: TRAIN, "training": TRAIN, VAL: VAL, "valid": VAL, "validation": VAL, TEST: TEST}
SPLIT_FOLDERS["testing"] = TEST
# One in so many images is a test image, where there is no folder of test images.
TEST_PARTS = 5
# Seed of the fixed splits. With another seed, results before and after are not comparable.
SPLIT_SEED = 0
# Largest share of the image files that may be unreadable.
MOST_UNREADABLE = 0.05
# Number of kinds of files that a message lists.
N_KINDS = 8


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes, in lower case, of the image files that the installed Pillow decodes."""
    from PIL import Image

    Image.preinit()  # the commonest formats are then the first that an opened file is compared with
    formats = Image.registered_extensions()
    return frozenset(suffix for suffix, name in formats.items() if name not in UNDECODED_FORMATS)


def list_images(folder: Path, left_out: Counter[str]) -> dict[str, dict[str, list[Path]]]:
    """Return the image files of a folder by split and class, in the order of the names of splits and files.

    Every folder in it is a class, with all images in and below that folder; the split is then TRAIN. Where
    `split_folders` finds splits, the classes are the folders in these. Links are followed. Files that are not read are
    counted in `left_out` by the reason. Raises OSError for a folder that cannot be listed, and ValueError for an
    ambiguous layout and for the name of a class that is no text.
    """
    splits = split_folders(folder)
    if folder not in splits.values():
        count_others(folder, left_out)
        for path in subfolders(folder):
            if path not in splits.values():
                list(images_below(path, left_out))  # counts what is left out
    return {split: images_by_class(root, left_out) for split, root in splits.items()}


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of every split, or `folder` itself as TRAIN where its folders are classes.

    A name alone makes no split, because a class may be called train. There are splits where all folders with images are
    called like splits, and `train` has folders with images in it. Where other folders lie beside them, all are classes.
    But if folders of the same names lie in one that is called like a split and in another, neither reading is certain.
    Raises ValueError then, and for splits that cannot be used.
    """
    if not any(is_called_split(path) for path in subfolders(folder)):
        return {TRAIN: folder}
    filled = [path for path in subfolders(folder) if holds_images(path)]
    inner = {path: {class_name(sub) for sub in subfolders(path) if holds_images(sub)} for path in filled}
    splits, others = ([path for path in filled if is_called_split(path) == expected] for expected in (True, False))
    if not others:
        return check_splits(folder, splits, inner)
    if any(inner[split] & inner[path] for split in splits for path in filled if path != split):
        names, beside = join_names(map(shown_name, splits)), join_names(map(shown_name, others))
        raise ValueError(
            f"{shown(folder)} has {beside} beside {names}, and folders of the same names lie in several of them: they "
            f"may be splits or classes; move {beside} out of {shown(folder)}, or rename {names} if classes are meant"
        )
    return {TRAIN: folder}


def check_splits(folder: Path, splits: Sequence[Path], inner: Mapping[Path, set[str]]) -> dict[str, Path]:
    """Return the folder of every split if all folders with images are called like one; `inner` has the names in each.

    Without folders in them they are classes, unless they are called train and test or the like. Raises ValueError for
    splits that cannot be used.
    """
    by_split: dict[str, Path] = {}
    for path in splits:
        split = SPLIT_FOLDERS[path.name.lower()]
        if split in by_split:
            raise ValueError(
                f"{shown(folder)} has both {by_split[split].name} and {path.name}, which mean the same; keep one"
            )
        by_split[split] = path
    names = join_names(path.name for path in splits)
    if not any(inner.values()) and (TRAIN not in by_split or len(splits) == 1):
        return {TRAIN: folder}
    if TRAIN not in by_split:
        raise ValueError(
            f"{shown(folder)} has a folder {names} but no folder train beside it; add that, rename it, or give the "
            "path of the folder that holds the classes"
        )
    if not inner[by_split[TRAIN]]:
        raise ValueError(
            f"{shown(by_split[TRAIN])} holds images, but no folders of classes; sort them into a folder for every "
            f"class, or rename {names} if classes are meant"
        )
    return by_split


def is_called_split(folder: Path) -> bool:
    """Return whether a folder has the name of a split."""
    return folder.name.lower() in SPLIT_FOLDERS


def images_by_class(root: Path, left_out: Counter[str]) -> dict[str, list[Path]]:
    """Return the image files in and below every folder in `root`, by the class that the folder's name states."""
    count_others(root, left_out)
    by_class: dict[str, list[Path]] = {}
    for path in subfolders(root):
        by_class.setdefault(class_name(path), []).extend(images_below(path, left_out))
    # The order depends neither on the location of `root` nor on the form of the names.
    start = len(str(root))
    return {
        name: sorted(files, key=lambda file: unicodedata.normalize("NFC", str(file)[start:]))
        for name, files in by_class.items()
    }


def holds_images(folder: Path) -> bool:
    """Return whether there are image files in or below a folder."""
    return next(images_below(folder, Counter()), None) is not None


def images_below(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Yield the image files in and below a folder, and count all other files in `left_out`."""
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=raise_error, followlinks=True):
        real_path = os.path.realpath(parent)
        if real_path in visited:  # a link to a folder that was visited already
            folders.clear()
            continue
        visited.add(real_path)
        left_out["hidden"] += sum(map(is_hidden, folders))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in names:
            if reason := reason_to_leave_out(name):
                left_out[reason] += 1
            else:
                yield Path(parent, name)


def count_others(root: Path, left_out: Counter[str]) -> None:
    """Count the files in `root` that lie in no folder of a class, and its hidden folders, in `left_out`."""
    images = "images in no folder of a class" + (f" in {root.name}" if is_called_split(root) else "")
    for path in root.iterdir():
        if is_hidden(path.name):
            left_out["hidden"] += 1
        elif not path.is_dir():
            left_out[reason_to_leave_out(path.name) or images] += 1


def reason_to_leave_out(name: str) -> str:
    """Return why a file is not read, by its name: "hidden" or its suffix; an empty text for an image file."""
    suffix = os.path.splitext(name)[1].lower()
    if is_hidden(name):
        return "hidden"
    return "" if suffix in image_suffixes() else shown(suffix) or "without a suffix"


def left_out_text(left_out: Counter[str]) -> str:
    """Return the counts of files that are not read as text: "20 .heic (convert them to PNG or JPEG), 1 .db"."""
    kinds = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    advice = " (pictures that Pillow cannot read here; convert them to PNG or JPEG)"
    texts = [f"{n:,} {kind}{advice if kind in FOREIGN_PICTURES else ''}" for kind, n in kinds if n]
    n_more = sum(n for _, n in kinds[N_KINDS:])
    return ", ".join(texts[:N_KINDS] + ([f"{n_more:,} of other kinds"] if n_more else []))


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is passed over: archives made on a Mac hold a folder __MACOSX without images."""
    return name.startswith(".") or name == "__MACOSX"


def raise_error(error: OSError) -> None:
    """Raise the error that `os.walk` met, which it would ignore."""
    raise error


def class_name(folder: Path) -> str:
    """Return the class that the name of a folder states, as `composed_name` writes it.

    Raises ValueError for a name that is not UTF-8 or is blank.
    """
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the name of the folder {shown(folder)} is not UTF-8, as a class must be; rename it, or all such names "
            f"at once, for example with: convmv -f latin1 -t utf8 -r --notest {shown(folder.parent)}"
        ) from error
    name = composed_name(folder.name)
    if not name:
        raise ValueError(f"the name of the folder {str(folder)!r} is blank, so its class has no name; rename it")
    return name


def choose_test_images(splits: Sequence[str], labels: Tensor, firsts: Tensor) -> Tensor:
    """Return which images are test images, bool (N,): those of the split TEST, else one in TEST_PARTS of each class.

    splits, labels: split and class of every readable image, in the order of `list_images`. Validation images stay out
    of the test set. `firsts` is from `first_copies`; images with the same pixels are chosen together.
    """
    is_test = torch.tensor([split == TEST for split in splits])
    if not is_test.any():
        is_candidate = torch.tensor([split != VAL for split in splits])
        is_test = is_candidate & choose_pictures(labels, firsts, is_candidate, TEST_PARTS)
    return is_test


def choose_pictures(labels: Tensor, firsts: Tensor, is_candidate: Tensor, n_parts: int) -> Tensor:
    """Choose one of `n_parts` parts of the candidates as a mask, bool (N,), with all copies of the chosen ones.

    Copies count as one image. `firsts` is from `first_copies`, and `is_candidate` a mask, bool (N,).
    """
    rows = (is_candidate & is_first_copy(firsts)).nonzero().flatten()
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[rows[choose_by_class(labels[rows], n_parts)]] = True
    return copies_of(firsts, chosen)


def choose_by_class(labels: Tensor, n_parts: int) -> Tensor:
    """Choose one of `n_parts` parts of the images as a mask, bool (N,); the same labels give the same mask.

    Every class contributes the same share, but at least one image. The only image of a class is never chosen.
    """
    rng = random.Random(SPLIT_SEED)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero().flatten().tolist()
        n_chosen = max(1, round(len(rows) / n_parts)) if len(rows) > 1 else 0
        chosen[rng.sample(rows, n_chosen)] = True
    return chosen


def fingerprint(files: Iterable[tuple[int, Path]]) -> str:
    """Return the SHA-256 of image files with their labels, which identifies a folder wherever it lies."""
    digest = hashlib.sha256()
    for label, file in files:
        digest.update(f"{label} ".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def shown_name(path: Path) -> str:
    """Return the name of a file or folder, as `shown` does."""
    return shown(path.name)
