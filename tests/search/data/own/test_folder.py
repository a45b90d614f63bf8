"""A folder of images as a data set: every layout, every kind of image, and what cannot be used."""

from __future__ import annotations

import os
import re
import shutil
import struct
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import form_of, is_available, load_dataset
from search.data.own.folder import read_folder
from search.errors import InputError

COLOURS = {"amber": (255, 190, 0), "blue": (10, 20, 230), "green": (0, 200, 40)}


def picture(path: Path, level: int = 0, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    """A picture of the colour that its class is named after, or grey; size: width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = COLOURS.get(path.parent.name, (90, 90, 90))
    Image.new("RGB", size, tuple(min(255, part + level) for part in colour)).convert(mode).save(path)
    return path


def write(root: Path, counts: Mapping[str, int], mode: str = "RGB") -> Path:
    """Folders by their path below `root`, with so many pictures, no two of a class alike."""
    for name, n in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(n):
            picture(root / name / f"{number:03d}.png", number, mode=mode)
    return root


def load(folder: Path, select_on: str = "test", size: tuple[int, ...] = ()) -> Dataset:
    return load_dataset(DataConfig.named(f"folder:{folder}", "unused", select_on, size))


def counts(data: Dataset) -> list[list[int] | None]:
    """Images of each class in training, validation and test images."""
    return [
        None if split is None else split.labels.bincount(minlength=data.n_classes).tolist()
        for split in (data.train, data.val, data.test)
    ]


FLAT = {"amber": 10, "blue": 5}
SPLITS = {"train/amber": 6, "train/blue": 4, "test/amber": 3, "test/blue": 2}
VAL = {"val/amber": 2, "val/blue": 1}


@pytest.mark.parametrize(
    ("folders", "select_on", "expected", "held_out"),
    [
        (FLAT, "test", [[8, 4], None, [2, 1]], ""),
        (FLAT, "val", [[7, 3], [1, 1], [2, 1]], "stratified"),
        (SPLITS, "test", [[6, 4], None, [3, 2]], ""),
        (SPLITS, "val", [[5, 3], [1, 1], [3, 2]], "stratified"),
        # A folder of validation images is one to train with, until something is selected on it.
        (SPLITS | VAL, "test", [[8, 5], None, [3, 2]], ""),
        (SPLITS | VAL, "val", [[6, 4], [2, 1], [3, 2]], "the folder's own"),
        ({name: n for name, n in (SPLITS | VAL).items() if "test" not in name}, "val", [[5, 3], [2, 1], [1, 1]], "the"),
        ({name.replace("train", "Training"): n for name, n in SPLITS.items()}, "test", [[6, 4], None, [3, 2]], ""),
        # Folders of these names are classes where there are no folders in them.
        ({"test": 5, "val": 10}, "test", [[4, 8], None, [1, 2]], ""),
        ({"amber": 10, "blue": 1}, "val", [[7, 1], [1, 0], [2, 0]], "stratified"),
        (SPLITS | {"test/blue": 0}, "test", [[6, 4], None, [3, 0]], ""),
        (SPLITS | {"test/amber": 0, "test/blue": 0}, "test", [[5, 3], None, [1, 1]], ""),
    ],
    ids=str,
)
def test_layouts(
    folders: dict[str, int], select_on: str, expected: list[list[int] | None], held_out: str, tmp_path: Path
) -> None:
    data = load(write(tmp_path / "signs", folders), select_on)
    assert counts(data) == expected
    assert data.held_out.startswith(held_out)
    assert bool(data.held_out) == bool(held_out)
    assert (data.name, data.input_shape[1:], data.is_own) == ("folder:signs", (6, 8), True)
    assert data.checksum == load(tmp_path / "signs").checksum


def test_a_split_is_always_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    before = load(write(tmp_path / "signs", FLAT), "val")
    shutil.copytree(tmp_path / "signs", tmp_path / "elsewhere" / "renamed")
    after = load(tmp_path / "elsewhere" / "renamed", "val")
    assert (after.checksum, after.name) == (before.checksum, "folder:renamed")
    assert before.val is not None
    assert after.val is not None
    assert torch.equal(after.val.images, before.val.images)


def test_a_study_keeps_its_order_of_classes(tmp_path: Path) -> None:
    """Studies of earlier versions have the order 1, 10, 2."""
    folder = write(tmp_path, {"1": 6, "2": 7, "10": 8})
    assert load(folder).classes == ("1", "2", "10")
    earlier = read_folder(folder, order=("1", "10", "2"))
    assert earlier.train.labels.bincount().tolist() == [5, 6, 6]
    form = replace(load(folder).form, classes=earlier.classes, checksum="")
    assert load_dataset(DataConfig("folder", str(folder), form=form)).classes == ("1", "10", "2")


@pytest.mark.parametrize("change", ["image", "name of a class"])
def test_the_checksum_tells_other_data(change: str, tmp_path: Path) -> None:
    folder = write(tmp_path, FLAT)
    known = load(folder)
    if change == "image":
        picture(folder / "blue" / "000.png", 77)
    else:
        (folder / "blue").rename(folder / "cyan")
    assert load(folder).checksum != known.checksum
    config = DataConfig("folder", str(folder), form=known.form)
    with pytest.raises(InputError, match=r"holds other images than folder:.* had: their checksum begins"):
        load_dataset(config)


def test_what_is_no_image_is_passed_over_and_links_are_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "signs", FLAT)
    for name in ("notes.txt", ".hidden.png", "blue/Thumbs.db", "blue/._000.png", ".git/x/000.png", "__MACOSX/b/0.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no image")
    picture(folder / "blue" / "from a" / "trip" / "ÄÖ.PNG")
    outside = write(tmp_path / "outside", {"more": 2})
    (folder / "amber" / "more").symlink_to(outside / "more")
    (folder / "amber" / "one.png").symlink_to(outside / "more" / "000.png")
    (folder / "amber" / "again").symlink_to(folder / "amber")  # leads back
    (folder / "empty").mkdir()
    data = load(folder)
    assert data.classes == ("amber", "blue")
    assert [sum(column) for column in zip(*(part for part in counts(data) if part), strict=True)] == [13, 6]
    assert "Left out, as there are no images of it: empty." in data.remarks


def test_names_of_classes_in_any_alphabet_are_one_however_they_are_written(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD"))
    folder = write(tmp_path, {f"train/{composed}": 3, "train/日本": 3, f"test/{decomposed}": 2, "test/日本": 1})
    data = load(folder)
    assert (data.classes, counts(data)) == ((composed, "日本"), [[3, 3], None, [2, 1]])


# --- images of every kind -------------------------------------------------------------------------------------------


def levels(folder: Path, size: tuple[int, ...] = (4, 4)) -> torch.Tensor:
    """The one image of class "odd", (C, H, W), beside grey ones of class "usual"."""
    write(folder, {"usual": 3}, mode="L")
    picture(folder / "odd" / "b.png", mode="L")
    found = read_folder(folder, size)
    everything = torch.cat([found.train.images, found.test.images])
    labels = torch.cat([found.train.labels, found.test.labels])
    # The other one of the class is grey 90 all over.
    return next(image for image, label in zip(everything, labels, strict=True) if label == 0 and (image != 90).any())


def halves(mode: str, left: object, right: object) -> Image.Image:
    """8 x 4 pixels, the left half of one colour, the right half of another."""
    image = Image.new(mode, (8, 4), left)  # type: ignore[arg-type]
    image.paste(right, (4, 0, 8, 4))  # type: ignore[arg-type]
    return image


def sixteen_bits() -> Image.Image:
    return Image.frombytes("I;16", (8, 4), b"".join(v.to_bytes(2, "little") for v in ([0x1234] * 4 + [0xFF00] * 4) * 4))


@pytest.mark.parametrize(
    ("name", "make", "left", "right"),
    [
        ("a.png", lambda: halves("RGB", (200, 10, 10), (10, 200, 10)), (200, 10, 10), (10, 200, 10)),
        ("a.png", lambda: halves("L", 0, 255), (0,), (255,)),
        ("a.png", lambda: halves("1", 0, 1), (0,), (255,)),
        ("a.png", lambda: halves("RGB", (250, 0, 0), (0, 0, 250)).quantize(4), (250, 0, 0), (0, 0, 250)),
        ("a.gif", lambda: halves("P", 3, 9), None, None),
        # What is painted dark lies on white, what is painted bright on black.
        ("a.png", lambda: halves("RGBA", (0, 0, 0, 0), (20, 20, 20, 255)), (255,), (20,)),
        ("a.png", lambda: halves("RGBA", (9, 9, 9, 0), (230, 230, 230, 255)), (0,), (230,)),
        ("a.png", sixteen_bits, (0x12,), (0xFF,)),
        ("a.tiff", sixteen_bits, (0x12,), (0xFF,)),
        ("a.bmp", lambda: halves("RGB", (1, 2, 3), (4, 5, 6)), (1, 2, 3), (4, 5, 6)),
        ("a.WEBP", lambda: halves("L", 0, 255), None, None),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_kinds_of_images(
    name: str,
    make: Callable[[], Image.Image],
    left: tuple[int, ...] | None,
    right: tuple[int, ...] | None,
    tmp_path: Path,
) -> None:
    (tmp_path / "odd").mkdir()
    options = {"format": "WEBP", "lossless": True} if name.endswith("WEBP") else {}
    make().save(tmp_path / "odd" / name, **options)
    found = levels(tmp_path, (4, 8))
    for column, expected in ((0, left), (7, right)):
        if expected is not None:
            assert tuple(found[:, 0, column].tolist()) == expected


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = halves("L", 0, 255)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    (tmp_path / "odd").mkdir()
    image.save(tmp_path / "odd" / "a.png", exif=exif)
    found = levels(tmp_path, (8, 4))
    assert (found[0, 0].tolist(), found[0, -1].tolist()) == ([0] * 4, [255] * 4)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_the_size_of_turned_pictures_is_that_after_turning(suffix: str, tmp_path: Path) -> None:
    for number in range(8):
        image = halves("L", 0, 255 - number)
        exif = image.getexif()
        exif[0x0112] = 6
        path = tmp_path / "ab"[number % 2] / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        image.save(path, exif=exif, lossless=True)
    data = load(tmp_path)
    assert data.input_shape == (1, 8, 4)
    assert "All images are grey and 8x4 (height x width)." in data.remarks


def test_a_link_leads_to_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        write(folder, FLAT)
    except OSError:
        pytest.skip("this disk has no such names")
    (tmp_path / "link").symlink_to(folder)
    assert load(tmp_path / "link").name == "folder:caf\\xe9"


@pytest.mark.parametrize(
    ("sizes", "asked", "shape"),
    [
        ([(8, 6)] * 3 + [(20, 20)], (), (6, 8)),
        ([(8, 6), (5, 5)], (), (5, 5)),  # of equals the smaller one
        ([(200, 100)] * 3 + [(8, 6)], (), (32, 64)),
        ([(3000, 190)], (), (4, 64)),
        ([(8, 6), (5, 5)], (12, 10), (12, 10)),
    ],
    ids=str,
)
def test_images_are_brought_to_the_commonest_size_or_the_one_asked_for(
    sizes: list[tuple[int, int]], asked: tuple[int, ...], shape: tuple[int, int], tmp_path: Path
) -> None:
    for name in ("amber", "blue"):
        for number, size in enumerate(sizes * 2):
            picture(tmp_path / name / f"{number}.png", number, size)
    data = load(tmp_path, size=asked)
    assert data.input_shape == (3, *shape)
    assert form_of(DataConfig.named(f"folder:{tmp_path}", "", image_size=asked)).input_shape == (3, *shape)


def test_an_image_of_another_shape_is_cut_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    wide = Image.new("L", (12, 4), 0)
    wide.paste(255, (4, 0, 8, 4))
    wide.save(tmp_path / "odd" / "a.png")
    assert levels(tmp_path, (4, 4)).unique().tolist() == [255]


def test_grey_pictures_stored_in_colour_have_one_channel(tmp_path: Path) -> None:
    data = load(write(tmp_path, {"one": 5, "two": 5}))
    assert (data.input_shape[0], data.std) == (1, pytest.approx(data.std))
    assert "All images are grey and 6x8 (height x width)." in data.remarks


def test_a_channel_without_contrast_divides_nothing_by_zero(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 200)):
        for number in range(5):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (4, 4), (level, 7, level)).save(path)
    assert load(tmp_path).std[1] == 1


# --- what cannot be used --------------------------------------------------------------------------------------------


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def test_a_few_unreadable_images_are_listed_and_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, {"amber": 60, "blue": 40})
    damaged(folder / "blue" / "007.png")
    (folder / "amber" / "001.png").write_text("no image")
    (folder / "amber" / "002.png").unlink()
    (folder / "amber" / "002.png").symlink_to("nowhere")
    (folder / "amber" / "003.png").unlink()
    os.mkfifo(folder / "amber" / "003.png")
    data = load(folder)
    assert len(data.train) + len(data.test) == 96
    remark = next(remark for remark in data.remarks if "cannot be read" in remark)
    assert remark.startswith(
        "Left out, as 4 of 100 image files cannot be read: amber/001.png (no picture that Pillow can read), amber/002."
    )
    assert remark.endswith("and 1 more.")


def too_many_unreadable(folder: Path) -> None:
    write(folder, FLAT)
    damaged(folder / "blue" / "001.png")


def no_readable_one(folder: Path) -> None:
    write(folder, {"amber": 60, "blue": 1})
    damaged(folder / "blue" / "000.png")


def no_readable_test_image(folder: Path) -> None:
    write(folder, {"train/amber": 30, "train/blue": 30, "test/blue": 1})
    damaged(folder / "test" / "blue" / "000.png")


def defective(folder: Path) -> None:
    """Sixteen bits, of which all pixels but one use eight."""
    for name in ("amber", "blue"):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            levels = [65535, *range(number, number + 63)]
            image = Image.frombytes("I;16", (8, 8), struct.pack("<64H", *levels))
            image.save(folder / name / f"{number}.png")


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda _: None, "is not there; --dataset folder:PATH takes a folder with a folder of images for every"),
    "a file": (lambda folder: folder.write_text(""), "is not a folder; --dataset folder:PATH takes"),
    "empty": (lambda folder: folder.mkdir(), "holds no images in folders of classes; --dataset folder:PATH"),
    "images without folders": (lambda folder: picture(folder / "a.png"), "holds no images in folders of classes"),
    "one class": (lambda folder: write(folder, {"amber": 9}), "holds images of one class alone, 'amber'"),
    "classes one folder further in": (
        lambda folder: write(folder, {"data/amber": 9, "data/blue": 9}),
        "'data'; if the classes are the folders in data, give its path; --dataset",
    ),
    "one class with images": (lambda folder: write(folder, {"amber": 9, "blue": 0}), "one class alone, 'amber'"),
    "only a test folder": (
        lambda folder: write(folder, {"test/a": 2, "test/b": 2}),
        "a folder test but no folder train",
    ),
    "two of a kind": (
        lambda folder: write(folder, SPLITS | {"valid/amber": 1, "val/amber": 1}),
        "has both val and valid, which mean the same; keep one",
    ),
    "another class in test": (
        lambda folder: write(folder, SPLITS | {"test/zebra": 1}),
        "/train has none; add training images of them, or move test out of ",
    ),
    "one image a class": (lambda folder: write(folder, {"amber": 1, "blue": 1}), "none is left to test with"),
    "defective pixels": (
        defective,
        "has no class with two different images once levels from 0 to 65535 have become 0 to 255, so none is left to "
        "test with; check how",
    ),
    "too many unreadable": (too_many_unreadable, "1 of 15 image files cannot be read in "),
    "test images unreadable": (no_readable_test_image, "no image of the folder test in "),
    "a class unreadable": (no_readable_one, "no image of blue in "),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_what_cannot_be_used_is_one_line(name: str, tmp_path: Path) -> None:
    make, words = BAD_FOLDERS[name]
    make(tmp_path / "signs")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "signs")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_validation_images_need_a_class_with_two(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train/amber": 1, "train/blue": 1, "test/amber": 1})
    assert counts(load(folder)) == [[1, 1], None, [1, 0]]
    with pytest.raises(InputError, match="no class with two images to hold one out of; use --select-on test"):
        load(folder, "val")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in: permissions do not bind the superuser, as whom tests may run."""
    folder = write(tmp_path, FLAT)

    def denied(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputError, match=r"cannot list .*: Permission denied; see to its permissions"):
        load(folder)


@pytest.mark.parametrize("option", ["folder", "folder:", "folder: "])
def test_the_option_needs_a_path(option: str) -> None:
    with pytest.raises(InputError, match="--dataset folder needs the path of a folder of images: folder:PATH"):
        DataConfig.named(option, "data")


def test_where_a_folder_lies_does_not_depend_on_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "signs", FLAT)
    monkeypatch.chdir(tmp_path)
    config = DataConfig.named("folder:signs", "data")
    monkeypatch.chdir("/")
    assert is_available(config)
    assert load_dataset(config).name == "folder:signs"
    assert not is_available(DataConfig.named(f"folder:{tmp_path}/nowhere", "data"))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((1, 1), "would be 1x1 pixels (height x width), their commonest size up to 64; a side needs 4 at least"),
        ((3, 5), "would be 5x3 pixels (height x width)"),
        ((200, 6), "would be 2x64 pixels (height x width)"),
    ],
)
def test_images_without_four_pixels_a_side_need_a_size(size: tuple[int, int], words: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for level in range(5):
            Image.new("L", size, 50 * level).save(tmp_path / name / f"{level}.png")
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        load(tmp_path)
    height, width = map(int, re.search(r"example --image-size (\d+)x(\d+)$", str(caught.value)).groups())
    assert load(tmp_path, size=(height, width)).input_shape == (1, height, width)
