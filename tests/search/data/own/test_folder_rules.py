"""Splits, classes, image files and test images of a folder, by the rules that the exported model.py shares."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from search.data.own.copies import first_copies
from search.data.own.folder_rules import (
    choose_test_images,
    left_out_text,
    list_images,
    split_folders,
)

Tree = Mapping[str, int]


def write(root: Path, tree: Tree) -> Path:
    """Write so many image files, which are empty, into folders of these names."""
    for name, n in tree.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(n):
            (root / name / f"{number}.png").touch()
    return root


def counts(folder: Path) -> dict[str, dict[str, int]]:
    return {
        split: {name: len(files) for name, files in by_class.items() if files}
        for split, by_class in list_images(folder, Counter()).items()
    }


BOTH = {"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (BOTH, {"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}}),
        ({"Training/a": 2, "VALID/a": 1}, {"train": {"a": 2}, "val": {"a": 1}}),
        ({"train/a": 2, "train/b": 2}, {"train": {"a": 2, "b": 2}}),
        # A folder without images beside the splits, or images that are in no folder of a class, change nothing.
        (BOTH | {"labels": 0}, {"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}}),
        ({"train/a": 2, "train/b": 2, "test": 5}, {"train": {"a": 2, "b": 2}, "test": {}}),
        # Classes that are called like splits.
        ({"bus": 2, "car": 3, "train": 4}, {"train": {"bus": 2, "car": 3, "train": 4}}),
        ({"bus": 2, "train/steam": 1, "train/electric": 2}, {"train": {"bus": 2, "train": 3}}),
        ({"bus": 2, "train/steam": 1, "train": 2}, {"train": {"bus": 2, "train": 3}}),
        ({"jog": 2, "Train": 1, "training": 3}, {"train": {"Train": 1, "jog": 2, "training": 3}}),
        ({"bus": 2, "test/x": 1, "val/y": 1}, {"train": {"bus": 2, "test": 1, "val": 1}}),
        ({"bus/x": 2, "car/x": 1, "test": 1}, {"train": {"bus": 2, "car": 1, "test": 1}}),
        ({"test": 2, "val": 3}, {"train": {"test": 2, "val": 3}}),
        ({"train": 2}, {"train": {"train": 2}}),
    ],
    ids=str,
)
def test_splits_are_found_where_the_layout_is_unambiguous(
    tree: Tree, expected: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    assert counts(write(tmp_path, tree)) == expected


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            {"train/a": 2, "train/b": 2, "holdout/a": 1, "holdout/b": 1, "c": 3},
            "has c and holdout beside train, and folders of the same names lie in several of them: they may be splits",
        ),
        (BOTH | {"c": 3}, "has c beside test and train, and folders of the same names"),
        (BOTH | {"c/x": 3}, "or rename test and train if classes are meant"),
        ({"test/a": 2, "val/a": 1}, "has a folder test and val but no folder train beside it"),
        ({"train": 2, "test": 1}, "train holds images, but no folders of classes; sort them into a folder for every"),
        ({"train": 2, "test/a": 1}, "train holds images, but no folders of classes"),
        ({"train/a": 2, "Train/a": 2}, "has both Train and train, which mean the same; keep one"),
        ({" /x": 1, "a": 1}, "the name of the folder '"),
    ],
    ids=str,
)
def test_ambiguous_layouts_are_refused_with_the_reason(tree: Tree, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        list_images(write(tmp_path, tree), Counter())


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (unicodedata.normalize("NFD", "Käse"), "Käse"),
        ("a  b", "a b"),
        (" a", "a"),
        ("a ", "a"),
        ("a\nb", "a b"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\u202egnp\u2066\u2028b", "a gnp b"),
        ("日本", "日本"),
        ('it\'s "so"', 'it\'s "so"'),
    ],
)
def test_class_names_are_composed_and_have_single_spaces(folder: str, name: str, tmp_path: Path) -> None:
    assert counts(write(tmp_path, {folder: 2, "z": 1})) == {"train": {name: 2, "z": 1}}


def latin1(parent: Path, name: bytes = b"caf\xe9") -> Path:
    return Path(os.fsdecode(os.fsencode(parent) + b"/" + name))


def test_a_class_that_is_not_utf8_is_refused_with_advice(tmp_path: Path) -> None:
    write(tmp_path, {"a": 1})
    try:
        latin1(tmp_path).mkdir()
    except OSError:
        pytest.skip("this disk has no such names")
    with pytest.raises(
        ValueError, match=r"folder .*/caf\\xe9 is not UTF-8, .*; rename it, .* convmv -f latin1 -t utf8"
    ):
        list_images(tmp_path, Counter())


def test_what_is_not_read_is_counted_by_the_reason(tmp_path: Path) -> None:
    write(tmp_path, {"a": 2, "b/c": 1})
    others = ["a/x.HEIC", "b/c/y.heic", "a/Thumbs.db", "notes.txt", "loose.png", "b/LICENSE", "a/levels.npy"]
    others += ["a/.DS_Store", "b/.git/z.png", "__MACOSX/a/0.png", "a/v.svg", "a/doc.pdf", "a/film.mpg", "a/x.eps"]
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    left_out: Counter[str] = Counter()
    by_split = list_images(tmp_path, left_out)
    assert {name: len(files) for name, files in by_split["train"].items()} == {"a": 2, "b": 1}
    advice = " (pictures that Pillow cannot read here; convert them to PNG or JPEG)"
    assert left_out_text(left_out) == (
        f"3 hidden, 2 .heic{advice}, 1 .db, 1 .eps, 1 .mpg, 1 .npy{advice}, 1 .pdf, 1 .svg, 3 of other kinds"
    )


@pytest.mark.parametrize("suffix", [".PNG", ".jpe", ".dib", ".avif", ".jp2", ".tif", ".webp", ".apng", ".ppm", ".mpo"])
def test_every_suffix_that_pillow_decodes_is_read(suffix: str, tmp_path: Path) -> None:
    if suffix.lower() not in Image.registered_extensions():
        pytest.skip("Pillow lacks it here")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"x{suffix}").touch()
    assert counts(tmp_path) == {"train": {"a": 1}}


def test_links_are_followed_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a": 1})
    (folder / "a" / "again").symlink_to(folder / "a")
    (folder / "b").symlink_to(write(tmp_path / "out", {"x": 2}))
    assert counts(folder) == {"train": {"a": 1, "b": 2}}


def test_images_beside_the_classes_of_a_split_are_counted(tmp_path: Path) -> None:
    write(tmp_path, BOTH | {"train": 3, "extra/notes": 0})
    (tmp_path / "extra" / "notes" / "a.txt").touch()
    (tmp_path / "loose.png").touch()
    left_out: Counter[str] = Counter()
    list_images(tmp_path, left_out)
    assert left_out_text(left_out) == (
        "3 images in no folder of a class in train, 1 .txt, 1 images in no folder of a class"
    )


@pytest.mark.parametrize(
    ("splits", "labels", "pictures", "expected"),
    [
        (["train"] * 4 + ["test"] * 2, [0, 0, 1, 1, 0, 1], range(6), [4, 5]),
        (["train"] * 10, [0] * 5 + [1] * 5, range(10), [3, 8]),
        (["val"] * 5 + ["train"] * 5, [0] * 10, range(10), [8]),
        # A copy beside the ninth picture, beside the fourth one, and in the other class than the fourth one.
        (["train"] * 10, [0] * 5 + [1] * 5, [0, 1, 2, 3, 4, 5, 6, 7, 8, 8], [3, 8, 9]),
        (["train"] * 11, [0] * 6 + [1] * 5, [0, 1, 2, 3, 4, 3, 5, 6, 7, 8, 9], [3, 5, 9]),
        (["train"] * 10, [0] * 5 + [1] * 5, [0, 1, 2, 3, 4, 5, 6, 7, 8, 3], [3, 8, 9]),
    ],
    ids=["folder", "chosen", "not of the validation images", "a copy", "another copy", "a copy in two classes"],
)
def test_test_images(splits: list[str], labels: list[int], pictures: Sequence[int], expected: list[int]) -> None:
    images = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor(pictures) + 1
    is_test = choose_test_images(splits, torch.tensor(labels), first_copies(images))
    assert is_test.nonzero().flatten().tolist() == expected


def test_a_folder_without_names_of_splits_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a": 1, "b": 1})
    walk: Callable[..., object] = os.walk
    walked: list[object] = []
    monkeypatch.setattr(os, "walk", lambda folder, **options: walked.append(folder) or walk(folder, **options))
    assert split_folders(tmp_path) == {"train": tmp_path}
    assert walked == []
