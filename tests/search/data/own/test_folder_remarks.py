"""Sentences on a folder of images: its classes, what is read, what is left out and why, and the form of the images."""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

from search.config import DataConfig
from search.data.load import load_dataset
from search.errors import InputError


def picture(path: Path, level: int, mode: str = "L", *, flat: bool = False) -> None:
    """A grey ramp that begins at a level, or a plain area."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", (8, 8), level)
    image.putdata([level + (0 if flat else i) for i in range(64)])
    image.convert(mode).save(path)


def write(folder: Path, classes: Iterable[str], n: int = 5, suffix: str = ".png", mode: str = "L") -> Path:
    for name in classes:
        for number in range(n):
            picture(folder / name / f"{number}{suffix}", number, mode)
    return folder


def remarks(folder: Path) -> str:
    return "\n".join(load_dataset(DataConfig.named(f"folder:{folder}", "")).remarks)


def sixteen_bits_a_channel(path: Path) -> None:
    """A PNG file of three channels, which Pillow does not write."""
    row = b"\0" + struct.pack(">8H", *range(0, 65536, 8192)) * 3
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row * 8)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text)) for kind, text in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def stack(path: Path) -> None:
    pages = [Image.new("L", (8, 8), level) for level in (10, 90, 200)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def add(name: str, write_file: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: write_file(folder / name)


# What is changed in a folder with the classes cup and jar, and the sentence about it.
CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "classes": (lambda _: None, "2 classes, with their numbers of images: cup (5), jar (5).\nRead: 10 .png.\n"),
    "natural order": (
        lambda folder: write(folder, ("10", "9"), 2),
        "4 classes, with their numbers of images: 9 (2), 10 (2), cup (5), jar (5).",
    ),
    "many classes": (
        lambda folder: write(folder, map(str, range(30)), 2),
        "32 classes, with their numbers of images: 0 (2), 1 (2), 2 (2), 3 (2), 4 (2), 5 (2), 6 (2), 7 (2), 8 (2), "
        "9 (2) and 22 more.",
    ),
    "like a split": (
        lambda folder: write(folder, ("train",)),
        "train: read as a class, not as a split, because of what lies beside it.",
    ),
    "merged": (
        lambda folder: write(folder, ("cup ",)),
        "Folders whose names differ only in spaces or in their Unicode form are one class: cup.",
    ),
    "splits in classes": (
        lambda folder: write(folder, ("cup/train", "cup/Test", "jar/more")),
        "Folders called Test and train inside the folder of a class are no splits: their images are read like the "
        "others of the class.",
    ),
    "other shapes": (
        lambda folder: [Image.new("L", size).save(folder / "cup" / f"{size}.png") for size in ((8, 5), (8, 3), (1, 8))],
        "Images are grey, and were brought to 8x8 (height x width) from 8x8, 8x1, 3x8 and 1 more. Cropping leaves less "
        "than half of 2 of them.",
    ),
    "damaged EXIF data": (
        lambda folder: [Image.new("L", (8, 8), 9).save(folder / "cup" / "x.png", exif=b"Exif\0\0damaged")],
        "cup (6), jar (5).\nRead: 11 .png.\n",
    ),
    "other suffixes": (
        lambda folder: (write(folder, ("cup",), 3, ".TIF"), write(folder, ("jar",), 2, ".jpe")),
        "Read: 10 .png, 3 .tif, 2 .jpe.",
    ),
    "HEIC": (
        add("cup/a.heic", lambda path: path.write_text("")),
        "Left out: 1 .heic (pictures that Pillow cannot read here; convert them to PNG or JPEG).",
    ),
    "pages": (
        add("cup/a.tif", stack),
        "Files with several pages or frames: 1; the first of each is read, and 2 are left out.",
    ),
    "GIF": (add("cup/a.gif", stack), "Files with several pages or frames: 1;"),
    "twelve bits": (
        lambda folder: [Image.new("I;16", (8, 8), level).save(folder / "cup" / f"{level}.png") for level in (0, 4000)],
        "Images with integer levels of more than eight bits: 2, from 0 to 4,000; 0 to 4,095 became 0 to 255.",
    ),
    "floats": (
        lambda folder: [Image.new("F", (8, 8), level).save(folder / "jar" / f"{level}.tif") for level in (0, 0.5)],
        "Images with floating-point levels: 2, from 0 to 0.5; 0 to 1 became 0 to 255.",
    ),
    "sixteen bits a channel": (
        add("cup/a.png", sixteen_bits_a_channel),
        "Images with sixteen bits a channel, of which Pillow reads the upper eight: 1.",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_start_says_what_is_read(name: str, tmp_path: Path) -> None:
    change, sentence = CHANGES[name]
    change(write(tmp_path, ("cup", "jar")))
    assert sentence in remarks(tmp_path)


def test_a_channel_without_contrast_is_named(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 200)):
        for number in range(5):
            picture(tmp_path / name / f"{number}.png", level + number, flat=True)
            Image.merge("RGB", [Image.new("L", (4, 4), value) for value in (level + number, 7, number)]).save(
                tmp_path / name / f"{number}.png"
            )
    text = remarks(tmp_path)
    assert "Channel green: the same level, 7, in all training images, so nothing is learned from it." in text
    assert "Channel blue: levels 0 to 4 of 0 to 255 alone, which is little contrast." in text
    assert "red" not in text


def test_little_contrast_beside_a_defective_pixel_is_named(tmp_path: Path) -> None:
    write(tmp_path, ("a", "b"), 20, suffix=".tif", mode="F")
    with Image.open(tmp_path / "a" / "0.tif") as image:
        image.putpixel((0, 0), 25_000)
        image.save(tmp_path / "a" / "0.tif")
    assert (
        "The images: 99.8% of the levels are 0 to 0 of 0 to 255, which is little contrast; defective pixels or other "
        "ranges of levels may be the reason.\n"
    ) in remarks(tmp_path)


def test_images_without_any_contrast_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(5):
            picture(tmp_path / name / f"{number}.png", 7, flat=True)
    with pytest.raises(InputError, match=r"all training images in .* have one level everywhere \(7 of 255\)"):
        remarks(tmp_path)


def test_decomposed_names_are_said_composed(tmp_path: Path) -> None:
    write(tmp_path, (unicodedata.normalize("NFD", "Käse"), "a  b"))
    assert remarks(tmp_path).startswith("2 classes, with their numbers of images: Käse (5), a b (5).")


def test_a_class_of_foreign_pictures_alone_is_explained(tmp_path: Path) -> None:
    write(tmp_path, ("cup",))
    (tmp_path / "jar").mkdir()
    (tmp_path / "jar" / "a.heic").touch()
    with pytest.raises(InputError, match=r"one class alone, 'cup' \(left out: 1 \.heic \(pictures that Pillow cannot"):
        remarks(tmp_path)


def test_reasons_are_whole(tmp_path: Path) -> None:
    write(tmp_path, ("cup", "jar"), 11)
    Image.new("L", (60, 60)).save(tmp_path / "cup" / "0.png")
    content = bytearray((tmp_path / "cup" / "0.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "cup" / "0.png").write_bytes(content)
    assert (
        "Left out, as 1 of 22 image files cannot be read: cup/0.png (3,600 megapixels, more than the 268 that are "
        "read; scale it down).\n"
    ) in remarks(tmp_path)
