"""Folders of images that cannot be searched: nothing is written, and the line says what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.bad_input.refusals import RUN, Refuses

FOLDER_RUN = [option if option != "digits" else "folder:pictures" for option in RUN]


def write(folder: Path, *classes: str, level: int | None = None) -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (8, 8), 20 * number if level is None else level).save(folder / name / f"{number}.png")


def latin1(folder: Path) -> None:
    write(folder, "a", "b")
    try:
        (folder / "b").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))
    except OSError:
        pytest.skip("this disk has no such names")


def unreadable(folder: Path) -> None:
    write(folder, "a", "b")
    (folder / "a" / "1.png").write_text("no image")


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda _: None, "is not there; --dataset folder:PATH takes a folder with a folder of images for every"),
    "not UTF-8": (latin1, "/caf\\xe9 is not UTF-8, as a class must be; rename it"),
    "ambiguous": (
        lambda folder: write(folder, "train/a", "train/b", "holdout/a", "c"),
        "has c and holdout beside train",
    ),
    "train and test without classes": (lambda folder: write(folder, "train", "test"), "but no folders of classes"),
    "one class": (lambda folder: write(folder, "a"), "holds images of one class alone, 'a'"),
    "black": (lambda folder: write(folder, "a", "b", level=0), "have one level everywhere (0 of 255)"),
    "unreadable": (unreadable, "1 of 10 image files cannot be read in "),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_that_cannot_be_searched(refuses: Refuses, kind: str) -> None:
    make, words = FOLDERS[kind]
    make(refuses.folder / "pictures")
    refuses(FOLDER_RUN, words)
