"""A NumPy archive as a data set: every layout and type of images and labels, and what cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import form_of, is_available, load_dataset
from search.errors import InputError

Arrays = dict[str, Any]


def arrays(n_val: int = 0) -> Arrays:
    """Colour images of 8 x 6 pixels, a row of which is bright, and labels that say which; no two images are alike."""
    generator = np.random.default_rng(3)
    labels = np.arange(48 + n_val) % 3
    images = generator.integers(0, 100, (len(labels), 8, 6, 3), dtype=np.uint8)
    images[np.arange(len(labels)), labels] += 150
    ends = {"train": slice(0, 30), "test": slice(30, 48), **({"val": slice(48, None)} if n_val else {})}
    found = {f"x_{split}": images[rows] for split, rows in ends.items()}
    return found | {f"y_{split}": labels[rows] for split, rows in ends.items()}


def images_as(change: Callable[[Any], Any], n_val: int = 0) -> Arrays:
    return {name: change(array) if name[0] == "x" else array for name, array in arrays(n_val).items()}


def load(path: Path, found: Arrays, select_on: str = "test", size: tuple[int, ...] = ()) -> Dataset:
    np.savez(path, **found)
    return load_dataset(DataConfig.named(f"npz:{path}", "unused", select_on, size))


def remarks(path: Path, found: Arrays) -> str:
    return "\n".join(load(path, found).remarks)


def test_images_as_keras_has_them(tmp_path: Path) -> None:
    found = arrays()
    data = load(tmp_path / "rows.npz", found)
    assert (data.name, data.classes, data.is_own) == ("npz:rows", ("0", "1", "2"), True)
    assert (data.input_shape, len(data.train), len(data.test), data.val) == ((3, 8, 6), 30, 18, None)
    assert torch.equal(data.train.images, torch.from_numpy(found["x_train"]).permute(0, 3, 1, 2))
    assert data.test.labels.tolist() == found["y_test"].tolist()
    assert data.train.images.is_contiguous()
    assert "3 classes, with their numbers of images: 0 (16), 1 (16), 2 (16)." in data.remarks
    assert "All images are colour and 8x6 (height x width)." in data.remarks
    config = DataConfig.named(f"npz:{tmp_path / 'rows.npz'}", "unused")
    assert form_of(config).n_classes == 3
    assert is_available(config)
    assert config.option == f"npz:{tmp_path / 'rows.npz'}"


SAME: dict[str, Callable[[Arrays], Arrays]] = {
    "channels first": lambda _: images_as(lambda images: images.transpose(0, 3, 1, 2)),
    "floats to 1": lambda _: images_as(lambda images: images / 255),
    "short floats to 1": lambda _: images_as(lambda images: images.astype(np.float32) / 255),
    "floats to 255": lambda _: images_as(lambda images: images.astype(np.float16)),
    "long integers": lambda _: images_as(lambda images: images.astype(np.int64)),
    "big-endian": lambda _: images_as(lambda images: images.astype(">u2")),
    "in Fortran's order": lambda _: images_as(np.asfortranarray),
    "a column of labels": lambda found: (
        found | {"y_train": found["y_train"][:, None], "y_test": found["y_test"][:, None]}
    ),
    "other labels": lambda found: found | {name: found[name].astype(np.uint8) for name in ("y_train", "y_test")},
}


@pytest.mark.parametrize("form", SAME)
def test_the_same_images_in_another_form(form: str, tmp_path: Path) -> None:
    expected, data = load(tmp_path / "a.npz", arrays()), load(tmp_path / "b.npz", SAME[form](arrays()))
    assert data.checksum == expected.checksum
    assert torch.equal(data.train.images, expected.train.images)


@pytest.mark.parametrize("change", [lambda x: x[..., 0], lambda x: x[..., :1], lambda x: x[..., :1].repeat(3, 3)])
def test_images_without_colour_have_one_channel(change: Callable[[Any], Any], tmp_path: Path) -> None:
    data = load(tmp_path / "a.npz", images_as(change))
    assert data.input_shape == (1, 8, 6)
    assert torch.equal(data.test.images[:, 0], torch.from_numpy(arrays()["x_test"][..., 0]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x / 255, "Levels of type float64, from 0 to 0.9765; 0 to 1 became 0 to 255."),
        (
            lambda x: x / 127.5 - 1,
            "Levels of type float64, from -1 to 0.9529; -1 to 0.9529 became 0 to 255.",
        ),
        (lambda x: x.astype(float), "Levels of type float64, from 0 to 249, are read as 0 to 255."),
        (lambda x: x.astype("u2") * 16, "Levels of type uint16, from 0 to 3,984; 0 to 4,095 became 0 to 255."),
        (
            lambda x: (x.astype(int) - 128).astype("i1"),
            "Levels of type int8, from -128 to 121; -128 to 121 became 0 to 255.",
        ),
    ],
)
def test_the_range_of_levels_is_said(change: Callable[[Any], Any], sentence: str, tmp_path: Path) -> None:
    assert sentence in remarks(tmp_path / "a.npz", images_as(change))


def test_validation_images_of_the_archive_are_held_out(tmp_path: Path) -> None:
    found = arrays(n_val=6)
    assert len(load(tmp_path / "a.npz", found).train) == 36
    data = load(tmp_path / "a.npz", found, "val")
    assert data.val is not None
    assert (len(data.train), len(data.val), data.held_out) == (30, 6, "the archive's own")
    assert torch.equal(data.val.images, torch.from_numpy(found["x_val"]).permute(0, 3, 1, 2))


def test_without_validation_images_a_sixth_is_held_out(tmp_path: Path) -> None:
    data = load(tmp_path / "a.npz", arrays(), "val")
    assert data.val is not None
    assert (len(data.train), len(data.val), data.held_out) == (24, 6, "stratified")


def test_names_of_classes_are_those_of_the_archive(tmp_path: Path) -> None:
    names = np.array(["fig", "two  words", "plum", "sloe"])
    data = load(tmp_path / "a.npz", arrays() | {"class_names": names, "extra": np.zeros(3)})
    assert data.classes == ("fig", "two words", "plum")
    assert "Left out, as there are no images of it: sloe." in data.remarks
    assert "Arrays that are not read: extra." in data.remarks
    assert load(tmp_path / "a.npz", arrays() | {"class_names": names.astype(bytes)}).classes == data.classes


def test_labels_need_not_begin_at_0_without_a_gap(tmp_path: Path) -> None:
    found = arrays()
    data = load(tmp_path / "a.npz", found | {name: found[name] * 5 + 1 for name in ("y_train", "y_test")})
    assert data.classes == ("1", "6", "11")
    assert data.train.labels.tolist() == found["y_train"].tolist()


def test_copies_of_test_images_are_left_out(tmp_path: Path) -> None:
    found = arrays()
    found["x_train"][[4, 7]] = found["x_test"][[1, 4]]
    data = load(tmp_path / "a.npz", found)
    assert len(data.train) == 28
    text = "Left out of the training images, as they are copies of test images: 2, x_train[4], x_train[7]."
    assert text in data.remarks


def test_images_of_another_size_are_cropped_and_scaled(tmp_path: Path) -> None:
    data = load(tmp_path / "a.npz", images_as(lambda x: x.repeat(2, 1).repeat(2, 2)), size=(8, 6))
    assert data.input_shape == (3, 8, 6)
    assert "Images are colour, and were brought to 8x6 (height x width) from 16x12." in data.remarks
    assert (data.test.images.float() - load(tmp_path / "b.npz", arrays()).test.images).abs().mean() < 12


def test_little_contrast_and_rare_classes_are_said(tmp_path: Path) -> None:
    found = images_as(lambda x: np.minimum(x, 9))
    found["y_train"] = np.array([0] * 27 + [1] * 3)
    found["y_test"] = np.zeros(18, int)
    text = remarks(tmp_path / "a.npz", found)
    assert "Channel red: levels 0 to 9 of 0 to 255 alone, which is little contrast." in text
    assert "The test set has no image of 1." in text
    assert "Very few images to train with: 1 (3)." in text


def test_other_images_than_those_of_the_study_are_refused(tmp_path: Path) -> None:
    form = load(tmp_path / "a.npz", arrays()).form
    load(tmp_path / "a.npz", images_as(lambda x: x[::-1]))
    with pytest.raises(InputError, match="holds other images than npz:a had: their checksum begins"):
        load_dataset(DataConfig("npz", str(tmp_path / "a.npz"), form=form))
    (tmp_path / "a.npz").unlink()
    with pytest.raises(InputError, match="say where they are now: --data-dir PATH, or for a search --dataset npz:FILE"):
        load_dataset(DataConfig("npz", str(tmp_path / "a.npz"), form=form))


class Trap:
    """An object that ends the test where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return pytest.fail, ("an archive was unpickled",)


def changed(**changes: Any) -> Callable[[Path], object]:
    found = arrays() | changes
    return lambda path: np.savez(path, **{name: array for name, array in found.items() if array is not None})


def damage(start: int, end: int | None = None) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        np.savez_compressed(path, **arrays())
        content = path.read_bytes()
        path.write_bytes(content[:start] + (b"" if end is None else bytes(end - start) + content[end:]))

    return write


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda _: None, "is not there; --dataset npz:FILE takes a NumPy archive"),
    "a folder": (lambda path: path.mkdir(), "is not a file; name an archive that np.savez wrote"),
    "a text": (
        lambda path: path.write_text("x,y"),
        "it is no NumPy archive; write one with np.savez(FILE, x_train, y_train",
    ),
    "one array": (one_array, "it is no NumPy archive; write one with np.savez"),
    "empty": (lambda path: path.write_bytes(b""), "it is no NumPy archive"),
    "cut off": (damage(900), "cannot be read: it is damaged or incomplete (File is not a zip file); copy it again"),
    "damaged": (damage(2000, 2100), "cannot be read: "),
    "other names": (
        lambda path: np.savez(path, images=np.zeros(3)),
        "it has no x_train, but images; it needs x_train, y_tr",
    ),
    "no test labels": (changed(y_test=None), "it has no y_test, but x_test, x_train, y_train; it needs"),
    "half a validation": (changed(x_val=arrays()["x_test"]), "has x_val, but no y_val; add it, or leave out both"),
    "pickled labels": (
        changed(y_train=np.array([Trap()] * 30)),
        "y_train holds Python objects, which are not unpickled",
    ),
    "flat": (changed(x_train=np.zeros((30, 144), np.uint8)), "x_train has the shape (30, 144); images have the shape"),
    "four channels": (
        changed(x_train=np.zeros((30, 8, 6, 4), np.uint8)),
        "neither the second nor the last axis is one channel or three; leave out other channels, as x_train[..., :3]",
    ),
    "either layout": (
        changed(x_train=np.zeros((30, 3, 8, 3), np.uint8)),
        "of which the second and the last axis may be",
    ),
    "small": (
        lambda path: np.savez(path, **images_as(lambda x: x[:, :2])),
        "2x6 pixels (height x width); a side needs 4",
    ),
    "another size": (changed(x_test=arrays()["x_test"][:, :5]), "3x8x6 (channels, height, width); give all images one"),
    "another type": (changed(x_test=arrays()["x_test"] / 255), "x_test in {} has the type float64, x_train uint8"),
    "truth values": (
        lambda path: np.savez(path, **images_as(lambda x: x > 9)),
        "x_train has the type bool; levels are unsigned bytes, other integers or floats, as x_train.astype(float)",
    ),
    "not finite": (
        lambda path: np.savez(path, **images_as(lambda x: np.where(x == 7, np.nan, x))),
        "that are not finite numbers; leave out these images, or set the values",
    ),
    "infinite": (
        lambda path: np.savez(path, **images_as(lambda x: np.where(x == 7, -np.inf, x))),
        "that are not finite numbers; leave out these images, or set the values",
    ),
    "no validation images": (
        changed(x_val=np.zeros((0, 8, 6, 3), np.uint8), y_val=np.zeros(0, int)),
        "x_val in {} is empty; add images, or leave it out",
    ),
    "no images": (changed(x_train=np.zeros((0, 8, 6, 3), np.uint8)), "x_train in {} is empty; add images"),
    "one hot": (changed(y_train=np.eye(3)[arrays()["y_train"]]), "one number an image, as y_train.argmax(1) makes"),
    "too few labels": (changed(y_train=arrays()["y_train"][:29]), "the shape (29,), but there are 30 images; labels"),
    "float labels": (
        changed(y_test=arrays()["y_test"] * 1.0),
        "the type float64; labels are integers, as y_test.astype",
    ),
    "texts as labels": (
        changed(y_train=np.array(["a", "b", "c"])[arrays()["y_train"]]),
        "the type <U1; labels are integers, as numpy.unique(y_train, return_inverse=True)[1] makes them",
    ),
    "negative labels": (changed(y_test=arrays()["y_test"] - 1), "y_test has the label -1; labels are counted from 0"),
    "unknown label": (
        changed(y_test=arrays()["y_test"] + 1),
        "y_test in {} has the label 3, of which y_train has none",
    ),
    "one class": (changed(y_train=np.ones(30, int)), "has training images of one class alone, '1'; add others"),
    "few names": (changed(class_names=np.array(["a", "b"])), "but 2 class_names, counted from 0; name every label"),
    "names alike": (changed(class_names=np.array(["a", "a ", "b"])), "class 1 in {} is the same as the name of 0"),
    "blank name": (
        changed(class_names=np.array(["a", " ", "b"])),
        "the name of class 1 in {} is blank; give every class",
    ),
    "numbers as names": (changed(class_names=np.arange(3)), "names are a row of texts"),
    "one level": (
        lambda path: np.savez(path, **images_as(lambda x: x * 0 + 5)),
        "have one level everywhere (5 of 255)",
    ),
    "all copies": (
        changed(x_train=arrays()["x_test"], y_train=arrays()["y_test"]),
        "all images of 0, 1, 2 to train with in {} are copies of test images",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_used_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    write, words = WRONG[kind]
    path = tmp_path / "a.npz"
    write(path)
    with pytest.raises(InputError) as caught:
        load_dataset(DataConfig.named(f"npz:{path}", "unused"))
    message = str(caught.value)
    assert words.replace("{}", str(path)) in message
    assert "\n" not in message
