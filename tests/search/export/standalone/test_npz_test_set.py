"""Test that an exported file reads the test images of a NumPy archive as the search did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from tests.search.data.own.test_npz import SAME, Arrays, arrays, images_as
from tests.search.export.standalone.test_folder_test_set import export


def searched(found: Arrays, folder: Path, size: tuple[int, ...] = ()) -> tuple[Dataset, ModuleType]:
    np.savez(folder / "images.npz", **found)
    data = load_dataset(DataConfig.named(f"npz:{folder / 'images.npz'}", "", image_size=size))
    return data, export(data, folder / "winner")


@pytest.mark.parametrize("form", SAME)
def test_the_searched_archive_is_read_as_the_search_read_it(form: str, tmp_path: Path) -> None:
    data, module = searched(SAME[form](arrays()), tmp_path)
    images, labels, which_images = module.read_test_set(tmp_path / "images.npz")
    assert torch.equal(images, data.test.images)
    assert torch.equal(labels, data.test.labels)
    assert which_images == f"test images: x_test in {tmp_path / 'images.npz'}"


@pytest.mark.parametrize("size", [(), (7, 5), (20, 20)])
@pytest.mark.parametrize("change", [lambda x: x, lambda x: x[..., 1], lambda x: x[..., :1].repeat(3, 3)])
def test_channels_and_size_are_those_of_the_search(
    change: Callable[[Arrays], Arrays], size: tuple[int, ...], tmp_path: Path
) -> None:
    data, module = searched(images_as(change), tmp_path, size)
    assert torch.equal(module.read_test_set(tmp_path / "images.npz")[0], data.test.images)


def test_levels_are_scaled_by_the_range_of_the_search(tmp_path: Path) -> None:
    _, module = searched(images_as(lambda x: x / 100 - 1), tmp_path)
    np.savez(tmp_path / "dark.npz", x_test=np.full((1, 8, 6, 3), -1.0), y_test=[2])
    assert module.read_test_set(tmp_path / "dark.npz")[0].unique().tolist() == [0]


def test_levels_beyond_the_range_of_the_search_are_said(tmp_path: Path) -> None:
    _, module = searched(images_as(lambda x: x / 255), tmp_path)
    np.savez(tmp_path / "bright.npz", x_test=np.full((1, 8, 6, 3), 99.0), y_test=[2])
    images, _, which_images = module.read_test_set(tmp_path / "bright.npz")
    assert images.unique().tolist() == [255]
    assert which_images.endswith("\nlevels from 99 to 99 are cut to the range of the search, 0 to 1")


def test_classes_are_told_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = np.array(["fig", "plum", "sloe"])
    data, module = searched(arrays() | {"class_names": names}, tmp_path)
    others = np.array(["sloe", "quince", " fig"])
    x_test = arrays()["x_test"]
    np.savez(tmp_path / "new.npz", x_test=x_test, y_test=np.arange(18) % 3, class_names=others)
    images, labels, which_images = module.read_test_set(tmp_path / "new.npz")
    assert (len(images), labels.tolist()) == (12, [2, 0] * 6)
    assert which_images.endswith("\nleft out, as the network does not know these classes: quince")
    assert module.main(["--test", str(tmp_path / "images.npz")]) == 0
    accuracy = module.accuracy(module.load(), data.test.images, data.test.labels)
    text = f"{accuracy:.2%} of 18 test images: x_test in {tmp_path / 'images.npz'}\n"
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_test": arrays()["x_test"] / 255}, "has the type float64; the network was trained on uint8 levels"),
        ({"y_test": [5, 5]}, "y_test has the shape (2,), but there are 18 images"),
        ({"y_test": [5] * 18}, "has no test image of a class of the network: 0, 1, 2"),
        ({"x_test": None}, "has no x_test, but y_test; it needs x_test, y_test"),
        ({"x_test": np.array([None] * 18)}, "x_test holds Python objects, which are not unpickled"),
        ({"x_test": np.zeros((0, 8, 6, 3), np.uint8)}, "x_test in {} is empty; add images"),
        (None, "No such file or directory"),
    ],
)
def test_archives_that_cannot_be_scored(
    changes: Arrays | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, module = searched(arrays(), tmp_path)
    path = tmp_path / "new.npz"
    if changes is not None:
        found = {"x_test": arrays()["x_test"], "y_test": arrays()["y_test"]} | changes
        np.savez(path, **{name: array for name, array in found.items() if array is not None})
    assert module.main(["--test", str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words.replace("{}", str(path)) in err
