"""Images with the same pixels: on one side of every split, and named."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.data.own.copies import first_copies
from search.errors import InputError

A, B = "train/a", "train/b"


def write(root: Path, files: Mapping[str, range | list[int]]) -> Path:
    """Write pictures of noise into folders; the same number is the same picture in every folder."""
    for folder, numbers in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for position, number in enumerate(numbers):
            levels = random.Random(number).randbytes(64)
            # The files differ, the pixels do not.
            suffix = "png" if position % 2 else "bmp"
            Image.frombytes("L", (8, 8), levels).save(root / folder / f"{position:02d}.{suffix}")
    return root


def load(root: Path, select_on: str = "test") -> Dataset:
    return load_dataset(DataConfig.named(f"folder:{root}", "", select_on))


def n_shared(first: torch.Tensor, second: torch.Tensor) -> int:
    return len({image.numpy().tobytes() for image in first} & {image.numpy().tobytes() for image in second})


def test_the_first_copy_of_each_image_is_found() -> None:
    images = torch.arange(4 * 3 * 2 * 2).reshape(4, 3, 2, 2).to(torch.uint8)[torch.tensor([0, 1, 0, 2, 1, 0])]
    assert first_copies(images).tolist() == [0, 1, 0, 3, 1, 0]
    assert first_copies(images.transpose(2, 3)).tolist() == [0, 1, 0, 3, 1, 0]
    assert first_copies(images[:0]).tolist() == []


def test_images_of_one_colour_are_not_compared() -> None:
    assert first_copies(torch.full((3, 1, 4, 4), 7, dtype=torch.uint8)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("select_on", ["test", "val"])
def test_copies_are_on_one_side_of_the_split_that_the_search_makes(tmp_path: Path, select_on: str) -> None:
    pictures = list(range(20))
    data = load(write(tmp_path, {"a": pictures * 5, "b": [number + 100 for number in pictures] * 5}), select_on)
    assert len(data.test) == 2 * 4 * 5
    assert n_shared(data.train.images, data.test.images) == 0
    if data.val is not None:
        assert n_shared(data.train.images, data.val.images) == n_shared(data.test.images, data.val.images) == 0
    n_val = 0 if data.val is None else len(data.val)
    assert len(data.train) + n_val + len(data.test) == 200
    assert (
        "Images with the same pixels as an earlier one: 160 of 200. Copies are either training or test images; 8 test "
        "images differ from each other."
    ) in data.remarks


def test_the_test_images_of_a_folder_stay_and_their_copies_leave_the_training_images(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            A: [*range(10), 51, 61],
            B: [*range(20, 30), 50],
            "val/a": [60, 61, 62],
            "val/b": [70, 71, 52],
            "test/a": [50, 51],
            "test/b": [52, 53],
        },
    )
    data = load(root)
    assert (len(data.train), len(data.test)) == (12 + 11 + 6 - 3, 4)
    assert (
        "Left out of the training images, as they are copies of test images: 3, train/a/10.bmp, train/b/10.bmp, "
        "val/b/02.bmp."
    ) in data.remarks
    data = load(root, "val")
    assert data.val is not None
    assert (len(data.train), len(data.val), len(data.test)) == (11 + 10 - 1, 5, 4)
    assert data.remarks[-1] == "Left out of the training images, as they are copies of validation images: 1."


def test_a_picture_in_two_classes_is_named(tmp_path: Path) -> None:
    data = load(write(tmp_path, {"a": range(10), "b": [*range(20, 30), 3]}))
    assert data.remarks[-1] == (
        "Pictures that lie in two classes, of which one must be wrong: 1, kept in both: a/03.png = b/10.bmp."
    )
    assert len(data.train) + len(data.test) == 21
    assert n_shared(data.train.images, data.test.images) == 0


def test_a_picture_in_two_classes_of_which_one_is_left_out_is_not_said_to_be_kept(tmp_path: Path) -> None:
    files = {A: range(10), B: [*range(20, 30), 3], "test/a": [50, 51, 22], "test/b": [52, 53]}
    data = load(write(tmp_path, files))
    assert data.remarks[-2:] == (
        "Left out of the training images, as they are copies of test images: 1, train/b/02.bmp.",
        "Pictures that lie in two classes, of which one must be wrong: 2: test/a/02.bmp = train/b/02.bmp "
        "(left out), train/a/03.png = train/b/10.bmp.",
    )


@pytest.mark.parametrize(("select_on", "sizes"), [("test", (29, 0, 8)), ("val", (25, 4, 8))])
def test_a_study_of_an_earlier_version_keeps_its_copies_and_its_order(
    select_on: str, sizes: tuple[int, int, int], tmp_path: Path
) -> None:
    """The checksum and the sizes are those that version 0.1 gave."""
    root = write(tmp_path, {"1": [*range(6)] * 3, "2": range(20, 30), "10": [*range(40, 48), 3]})
    config = DataConfig.named(f"folder:{root}", "", select_on)
    checksum = "5a787c733a5cb38141d4e577facb22c81dabd3f3b27a36d5b198e8225357e087"
    form = replace(load_dataset(config).form, classes=("1", "10", "2"), checksum=checksum)
    data = load_dataset(replace(config, form=form))
    assert (data.checksum, data.classes, data.files) == (checksum, ("1", "10", "2"), ())
    assert (len(data.train), len(data.val or ()), len(data.test)) == sizes
    assert data.remarks[-1] == (
        "This study is of an earlier version, which trained with copies of test images: 8. They stay, and its "
        "accuracies are too high; a new study leaves them out."
    )


def test_data_without_copies_have_no_such_remark(tmp_path: Path) -> None:
    data = load(write(tmp_path, {"a": range(10), "b": range(20, 30)}))
    assert (len(data.train), len(data.test)) == (16, 4)
    assert not [remark for remark in data.remarks if re.search("pixels|copies|two classes", remark)]


@pytest.mark.parametrize(
    ("files", "select_on", "message"),
    [
        (
            {A: [0, 1], B: [2, 3], "test/a": [0, 1], "test/b": [9]},
            "test",
            "all images of a to train with in .* test im",
        ),
        ({A: [0, 1], B: [2, 3], "val/a": [0, 1], "test/b": [9]}, "val", "all images of a to train with in .* validat"),
        # Picture 6 is chosen as a test image of class a.
        ({"a": range(10), "b": range(20, 30), "c": [6]}, "test", "all images of c to train with in .* test images"),
        ({"a": [0, 0], "b": [1, 1]}, "test", "has no class with two different images, so none is left to test with"),
    ],
)
def test_a_class_of_copies_alone_is_refused(
    files: Mapping[str, range | list[int]], select_on: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        load(write(tmp_path, files), select_on)
