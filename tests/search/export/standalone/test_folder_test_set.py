"""Test that an exported file reads a folder of images as the search did, and scores its test images alone."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from models.build import build_model
from models.spec import ArchSpec, Head
from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from tests.search.export.standalone.test_source import source_of, write_module


def picture(path: Path, level: int, mode: str = "L") -> None:
    """A square of 8 x 8 pixels, no two alike, in levels that use the range of the mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = [(level * 37 + i * i) % 256 for i in range(64)]
    factor = {"I;16": 16, "I;16B": 16, "F": 1 / 255}.get(mode, 1)
    image = Image.new(mode[0], (8, 8))
    image.putdata([value * factor for value in levels])
    image.convert(mode).save(path)


def write(folder: Path, *names: str, n: int = 10, mode: str = "L") -> Path:
    for label, name in enumerate(names):
        for number in range(n):
            suffix = ".tif" if mode in ("F", "I;16B") else ".png"
            picture(folder / name / f"{number}{suffix}", 20 * label + number, mode)
    return folder


def junk(folder: Path) -> None:
    for name in ("a/Thumbs.db", "a/.hidden.png", "notes.txt", "b/sub/more.txt", "loose.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no image")
    picture(folder / "b" / "sub" / "deep.png", 77)
    (folder / "empty").mkdir()
    with_latin1 = os.fsdecode(os.fsencode(folder / "a") + b"/caf\xe9.png")
    try:
        picture(Path(with_latin1), 99)
    except OSError:  # a disk without such names
        picture(folder / "a" / "cafe.png", 99)


# Folders as they are searched.
SEARCHED: dict[str, Callable[[Path], object]] = {
    "plain": lambda folder: write(folder, "a", "b"),
    "junk": lambda folder: (write(folder, "a", "b"), junk(folder)),
    "names": lambda folder: write(folder, unicodedata.normalize("NFD", "Käse"), "two  spaces", " begins", "日本"),
    "numbers": lambda folder: write(folder, *map(str, range(12)), n=3),
    "a class called train": lambda folder: write(folder, "bus", "car", "train"),
    "train and val": lambda folder: write(folder, "train/a", "train/b", "val/a", "val/b"),
    "train and test": lambda folder: write(folder, "train/a", "train/b", "test/a", "test/b"),
    "twelve bits": lambda folder: write(folder, "a", "b", mode="I;16"),
    "floats": lambda folder: write(folder, "a", "b", mode="F"),
    "another size": lambda folder: (
        write(folder, "a", "b"),
        Image.effect_noise((90, 70), 60).save(folder / "a" / "x.jpg"),
    ),
    "big-endian": lambda folder: write(folder, "a", "b", mode="I;16B"),
    "a pipe": lambda folder: (write(folder, "a", "b", n=20), os.mkfifo(folder / "a" / "x.png")),
    # They are 5 % of all images, and 10 % of the test images.
    "train and test, two unreadable": lambda folder: (
        write(folder, "train/a", "train/b", "test/a", "test/b"),
        [(folder / "test" / name / "3.png").write_bytes(b"no image") for name in ("a", "b")],
    ),
    "unreadable": lambda folder: (write(folder, "a", "b", n=20), (folder / "a" / "3.png").write_bytes(b"no image")),
}


def export(data: Dataset, folder: Path) -> ModuleType:
    """Return the module of an exported file for a network with random weights."""
    spec = ArchSpec(data.input_shape, data.n_classes, (), Head("flatten_linear"))
    folder.mkdir()
    torch.save(build_model(spec).state_dict(), folder / "weights.pt")
    return write_module(folder, source_of(spec), data)


def searched(name: str, folder: Path) -> tuple[Dataset, ModuleType]:
    SEARCHED[name](folder / "pictures")
    data = load_dataset(DataConfig.named(f"folder:{folder / 'pictures'}", ""))
    return data, export(data, folder / "winner")


@pytest.mark.parametrize("name", SEARCHED)
def test_the_searched_folder_is_scored_on_the_test_images_of_the_search(name: str, tmp_path: Path) -> None:
    data, module = searched(name, tmp_path)
    images, labels, which_images = module.read_test_set(tmp_path / "pictures")
    assert data.classes == module.CLASSES
    assert torch.equal(images, data.test.images)
    assert torch.equal(labels, data.test.labels)
    if name.startswith("train and test"):
        assert which_images.startswith(f"test images: all images of the folder test in {tmp_path / 'pictures'}")
    else:
        words = f"{len(data.train) + len(data.test)} images in {tmp_path / 'pictures'}, "
        if name == "train and val":
            words = f"20 images in {tmp_path / 'pictures'} outside the folder val, "
        assert which_images.startswith(f"test images: one in 5 of the {words}")


def test_a_moved_folder_is_recognised(tmp_path: Path) -> None:
    data, module = searched("names", tmp_path)
    (tmp_path / "pictures").rename(tmp_path / "moved")
    for path in list((tmp_path / "moved").iterdir()):
        path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))
    assert torch.equal(module.read_test_set(tmp_path / "moved")[0], data.test.images)


def new(folder: Path) -> Path:
    return write(folder, "b", "a", n=3)


def test_another_folder_is_scored_on_all_its_images(tmp_path: Path) -> None:
    _, module = searched("plain", tmp_path)
    folder = new(tmp_path / "new")
    images, labels, which_images = module.read_test_set(folder)
    assert (len(images), labels.tolist()) == (6, [0, 0, 0, 1, 1, 1])
    assert which_images == (
        f"images: all images in {folder} (not the folder of the search, or changed since: its training images may be "
        "among them)"
    )


def test_one_class_is_enough_and_unknown_ones_are_said(tmp_path: Path) -> None:
    _, module = searched("plain", tmp_path)
    shutil.rmtree(new(tmp_path / "new") / "b")
    write(tmp_path / "new", "zebra", n=2)
    images, _, which_images = module.read_test_set(tmp_path / "new")
    assert len(images) == 3
    assert which_images.endswith("\nleft out, as the network does not know these classes: zebra")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    _, module = searched("junk", tmp_path)
    assert module.read_test_set(tmp_path / "pictures")[2].endswith(
        "\nleft out: 2 .txt, 1 .db, 1 hidden, 1 images in no folder of a class"
    )


def test_levels_are_scaled_by_the_range_of_the_training_images(tmp_path: Path) -> None:
    data, module = searched("twelve bits", tmp_path)
    assert data.level_ranges == module.LEVEL_RANGES == {"I": (0, 4096)}
    Image.new("I;16", (8, 8), 160).save(tmp_path / "dark.png")
    assert module.read_picture(tmp_path / "dark.png").unique().tolist() == [10]


def test_the_file_tells_which_images_it_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, module = searched("unreadable", tmp_path)
    assert module.main(["--test", str(tmp_path / "pictures")]) == 0
    out, err = capsys.readouterr()
    expected = module.accuracy(module.load(), data.test.images, data.test.labels)
    assert out == (
        f"{expected:.2%} of 8 test images: one in 5 of the 39 images in {tmp_path / 'pictures'}, class by class, as "
        "the search chose them; the others are training images\n"
        f"left out, as 1 of 40 image files cannot be read: {tmp_path / 'pictures' / 'a' / '3.png'}: cannot identify "
        "image file\n"
    )
    assert err == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda folder: write(folder, "train/a", "holdout/a", n=1),
            "beside train, and folders of the same",
        ),
        (lambda folder: (folder / "a" / "0.png").write_text("no image"), "1 of 3 image files cannot be read: "),
        (lambda folder: shutil.rmtree(folder), "No such file or directory"),
        (lambda folder: shutil.rmtree(folder / "a"), "has no folder of pictures that is named after a class: a, b"),
    ],
    ids=["ambiguous", "unreadable", "absent", "empty"],
)
def test_folders_that_cannot_be_scored(
    change: Callable[[Path], object], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, module = searched("plain", tmp_path)
    change(write(tmp_path / "new", "a", n=3))
    assert module.main(["--test", str(tmp_path / "new")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
