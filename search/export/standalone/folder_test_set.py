"""Read the test images of a folder as the search read it; the exported model.py holds a copy of this source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from search.data.own.copies import first_copies
from search.data.own.folder_rules import (
    MOST_UNREADABLE,
    TEST,
    TEST_PARTS,
    VAL,
    choose_test_images,
    fingerprint,
    left_out_text,
    list_images,
)
from search.data.own.naming import shorten_names
from search.data.own.pictures import shown
from search.export.standalone.runtime import read_picture
from search.export.standalone.stand_ins import CLASSES, SEARCHED

# What --test takes.
TEST_SET = "DIR", "folder with a folder of pictures for each class"


def read_test_set(folder: str | Path) -> tuple[Tensor, Tensor, str]:
    """Return the test images, uint8 (N, C, H, W), their labels (N,), and which images these are.

    folder: one folder of pictures for each class, named after the class, or folders of splits with such folders. All
    its images are returned, unless it has a folder of test images, or is the folder of the search: then the test
    images alone.

    Raises OSError for a file that cannot be read, and ValueError for a folder that cannot be used.
    """
    root = Path(folder)
    left_out: Counter[str] = Counter()
    by_split = list_images(root, left_out)
    has_test = any(by_split.get(TEST, {}).values())
    all_files = [
        (split, label, path)
        for split, by_class in by_split.items()
        for label, name in enumerate(CLASSES)
        for path in by_class.get(name, ())
    ]
    files = [file for file in all_files if file[0] == TEST or not has_test]
    if not files:
        raise ValueError(f"{shown(folder)} has no folder of pictures that is named after a class: {', '.join(CLASSES)}")
    images, errors = [], {}
    for _, _, path in files:
        try:
            images.append(read_picture(path))
        except (OSError, ValueError) as error:
            errors[path] = str(error)
    unreadable = f"{len(errors):,} of {len(files):,} image files cannot be read: {shorten_names(list(errors.values()))}"
    # The search counted unreadable images among all images of the folder.
    if len(errors) > MOST_UNREADABLE * len(all_files) or not images:
        raise ValueError(f"{unreadable}; repair or remove them")
    files = [file for file in files if file[2] not in errors]
    labels = torch.tensor([label for _, label, _ in files])
    chosen = torch.ones(len(files), dtype=torch.bool)
    if has_test:
        text = f"test images: all images of the folder {TEST} in {shown(folder)}"
    elif SEARCHED and fingerprint((label, path) for _, label, path in files) == SEARCHED:
        chosen = choose_test_images([split for split, _, _ in files], labels, first_copies(torch.cat(images)))
        n_candidates = sum(split != VAL for split, _, _ in files)
        beside = f" outside the folder {VAL}" if n_candidates < len(files) else ""
        text = (
            f"test images: one in {TEST_PARTS} of the {n_candidates:,} images in {shown(folder)}{beside}, class by "
            "class, as the search chose them; the others are training images"
        )
    else:
        text = f"images: all images in {shown(folder)}"
        if SEARCHED:
            text += " (not the folder of the search, or changed since: its training images may be among them)"
    unknown = [name for by_class in by_split.values() for name, paths in by_class.items() if paths]
    unknown = [name for name in dict.fromkeys(unknown) if name not in CLASSES]
    notes = [f"left out: {left_out_text(left_out)}"] if left_out.total() else []
    notes += [f"left out, as {unreadable}"] if errors else []
    notes += [f"left out, as the network does not know these classes: {shorten_names(unknown)}"] if unknown else []
    return torch.cat(images)[chosen], labels[chosen], "\n".join([text, *notes])
