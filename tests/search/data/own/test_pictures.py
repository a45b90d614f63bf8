"""Pictures of more than eight bits, of many pixels and of odd modes."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data.own import pictures
from search.data.own.pictures import FLOAT, INTEGER, finite_extrema, level_range, opened, pixels, shown, upright


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        (INTEGER, 0, 255, (0, 256)),
        (INTEGER, 320, 3984, (0, 4096)),
        (INTEGER, 100, 65535, (0, 65536)),
        (INTEGER, 0, 2**31 - 1, (0, 2**31)),
        (INTEGER, 0, 1, (0, 2)),
        # Less than a quarter of the range, and levels below 0, get a range of their own.
        (INTEGER, 30_000, 30_500, (30_000, 30_501)),
        (INTEGER, -1024, 3071, (-1024, 3072)),
        (INTEGER, 7, 7, (7, 8)),
        (INTEGER, 0, 0, (0, 1)),
        (FLOAT, 0.0, 0.988, (0, 1)),
        (FLOAT, 0.4, 0.5, (0.4, 0.5)),
        (FLOAT, 0.0, 255.0, (0, 255)),
        (FLOAT, -1.0, 1.0, (-1, 1)),
        (FLOAT, 2.0, 2.0, (2, 3)),
    ],
)
def test_level_range(kind: str, low: float, high: float, expected: tuple[float, float]) -> None:
    assert level_range(kind, low, high) == pytest.approx(expected)


def grey(levels: np.ndarray, mode: str) -> Image.Image:
    kinds = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
    return Image.frombytes(mode, levels.shape[::-1], levels.astype(kinds[mode]).tobytes())


LEVELS = np.arange(256).reshape(16, 16)
# Name, mode, levels, the range of the data set, and the expected eight bits.
DEEP: dict[str, tuple[str, str, np.ndarray, dict[str, tuple[float, float]], np.ndarray]] = {
    "8 in 16": ("a.png", "I;16", LEVELS, {}, LEVELS),
    "12 in 16": ("a.png", "I;16", LEVELS * 16 + 5, {}, LEVELS),
    "16": ("a.tif", "I;16", LEVELS * 256 + 200, {}, LEVELS),
    "16, dark": ("a.png", "I;16", LEVELS, {INTEGER: (0, 65536)}, LEVELS * 0),
    "32": ("a.tif", "I", LEVELS * 2**23 + 99, {}, LEVELS),
    "signed": ("a.tif", "I", LEVELS * 4 - 512, {}, LEVELS),
    "PGM": ("a.pgm", "I", LEVELS * 256, {}, LEVELS),
    "float": ("a.tif", "F", LEVELS / 255, {}, LEVELS),
    "float of another range": ("a.tif", "F", LEVELS * 2.0 - 256, {}, np.minimum(LEVELS * 256 // 255, 255)),
    "PFM": ("a.pfm", "F", LEVELS / 255, {}, LEVELS),
    "beyond the range": ("a.tif", "F", LEVELS / 100, {FLOAT: (0, 1)}, np.minimum(LEVELS * 2.56, 255).astype(int)),
    "another kind than the data": ("a.png", "I;16", LEVELS, {FLOAT: (0, 1)}, LEVELS),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_eight_bits_are_scaled(name: str, tmp_path: Path) -> None:
    file, mode, levels, ranges, expected = DEEP[name]
    grey(levels, mode).save(tmp_path / file)
    picture = upright(tmp_path / file, ranges).convert("L")
    np.testing.assert_array_equal(pixels(picture)[0, 0].numpy(), expected)


def test_both_byte_orders_are_read(tmp_path: Path) -> None:
    for mode in ("I;16", "I;16B"):
        grey(LEVELS * 256, mode).save(tmp_path / "a.jp2")
        np.testing.assert_array_equal(pixels(upright(tmp_path / "a.jp2", {}).convert("L"))[0, 0].numpy(), LEVELS)


def test_extrema_of_both_byte_orders_are_found(tmp_path: Path) -> None:
    for mode in ("I;16", "I;16B"):
        grey(LEVELS * 16, mode).save(tmp_path / "a.tif")
        with opened(tmp_path / "a.tif") as picture:
            assert picture.mode == mode
            assert finite_extrema(picture) == (0, 4080)


def tiff(levels: np.ndarray, sample_format: int = 1, photometric: int = 1) -> bytes:
    """A TIFF file of grey levels as they are in memory; Pillow writes neither unsigned 32 bits nor signed bytes."""
    order = ">" if levels.dtype.byteorder == ">" else "<"
    height, width = levels.shape
    data = levels.tobytes()
    bits = 8 * levels.dtype.itemsize
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, sample_format)]
    content = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", 8 + len(data)) + data
    content += struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:
        field = struct.pack(order + "I", value) if kind == 4 else struct.pack(order + "HH", value, 0)
        content += struct.pack(order + "HHI", tag, kind, 1) + field
    return content + struct.pack(order + "I", 0)


@pytest.mark.parametrize(
    ("kind", "levels", "sample_format"),
    [
        ("<u4", LEVELS * 2**23, 1),
        ("<i4", LEVELS * 2**24 - 2**31, 2),
        (">i4", LEVELS * 2**24 - 2**31, 2),
        ("<i2", LEVELS * 256 - 2**15, 2),
        (">i2", LEVELS * 256 - 2**15, 2),
        (">u2", LEVELS * 256, 1),
        (">f4", LEVELS / 255, 3),
    ],
)
def test_numbers_of_both_byte_orders_and_signs(
    kind: str, levels: np.ndarray, sample_format: int, tmp_path: Path
) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(levels.astype(kind), sample_format))
    np.testing.assert_array_equal(pixels(upright(tmp_path / "a.tif", {}).convert("L"))[0, 0].numpy(), LEVELS)


@pytest.mark.parametrize(
    ("kind", "levels", "sample_format", "photometric", "reason"),
    [
        ("<u4", LEVELS * 2**24, 1, 1, "unsigned levels of 2,147,483,648 and more, which Pillow misreads"),
        (">u4", LEVELS * 2**24, 1, 1, "cannot identify image file"),
        ("i1", LEVELS - 128, 2, 1, "signed levels of 8 bits, which Pillow misreads"),
        ("<u2", LEVELS * 256, 1, 0, "levels of more than 8 bits of which 0 is white, which Pillow misreads"),
        ("<f4", LEVELS / 255, 3, 0, "levels of more than 8 bits of which 0 is white, which Pillow misreads"),
        ("<f8", LEVELS / 255, 3, 1, "cannot identify image file"),
    ],
)
def test_numbers_that_pillow_misreads_are_refused(
    kind: str, levels: np.ndarray, sample_format: int, photometric: int, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(levels.astype(kind), sample_format, photometric))
    with pytest.raises(ValueError, match=f"^{reason}"):
        upright(tmp_path / "a.tif", {})


def test_levels_of_one_byte_of_which_0_is_white_are_inverted(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(LEVELS.astype("u1"), photometric=0))
    np.testing.assert_array_equal(pixels(upright(tmp_path / "a.tif", {}).convert("L"))[0, 0].numpy(), 255 - LEVELS)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_a_picture_that_is_cut_off_is_refused(form: str, tmp_path: Path) -> None:
    Image.effect_noise((40, 40), 80).convert("RGB").save(tmp_path / "a", form)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"truncated|decoder"):
        upright(tmp_path / "a", {})


def test_damaged_pixels_of_png_are_refused(tmp_path: Path) -> None:
    Image.effect_noise((40, 40), 80).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:60] + b"\xff" * 20 + content[80:])
    with pytest.raises(ValueError, match="broken data"):
        upright(tmp_path / "a.png", {})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"^not a file$"):
        upright(tmp_path / "a.png", {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("日本 é", "日本 é"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("a\nb\x1b[31m\x85", "a\\nb\\x1b[31m\\x85"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_paths_are_shown_on_one_line(name: str, text: str) -> None:
    assert shown(name) == text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    grey(np.where(LEVELS == 3, value, LEVELS), "F").save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="it has values that are not finite numbers"):
        upright(tmp_path / "a.tif", {FLOAT: (0, 1)})
    with pytest.raises(ValueError, match="not finite"), opened(tmp_path / "a.tif") as picture:
        finite_extrema(picture)


def halves(mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture whose left half is black and whose right half is white."""
    image = Image.new("L", size, 0)
    image.paste(255, (size[0] // 2, 0, *size))
    return image if mode == "L" else image.convert(mode)


def palette(size: tuple[int, int]) -> Image.Image:
    image = Image.new("P", size, 3)
    image.putpalette([0, 0, 0] * 3 + [0] * 3 + [255] * 3)
    image.paste(4, (size[0] // 2, 0, *size))
    return image


LARGE: dict[str, Callable[[Path], object]] = {
    "PNG": lambda path: halves("L", (12_000, 9_000)).save(path, "PNG", compress_level=1),
    "JPEG": lambda path: halves("L", (12_000, 9_000)).save(path, "JPEG"),
    "bits": lambda path: halves("1", (14_000, 10_000)).save(path, "TIFF", compression="group4"),
    "palette": lambda path: palette((12_000, 9_000)).save(path, "PNG", compress_level=1),
    "sixteen bits": lambda path: halves("L", (12_000, 9_000)).convert("I").convert("I;16").save(path, "TIFF"),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in ("PNG", "JPEG") else pytest.mark.slow) for kind in LARGE]
)
def test_large_pictures_are_reduced_and_nothing_is_printed(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    LARGE[kind](tmp_path / "large")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = upright(tmp_path / "large", {})
    assert max(picture.size) == pictures.MOST_ON_A_SIDE
    levels = pixels(picture.convert("L"))[0, 0]
    assert (int(levels[:, 10].max()), int(levels[:, -10].min())) == (0, 255)
    assert Image.MAX_IMAGE_PIXELS != pictures.MOST_PIXELS
    assert capfd.readouterr() == ("", "")


def test_a_picture_beyond_the_bound_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves("L", (2000, 1500)).save(tmp_path / "a.png")
    for bound in (2_500_000, 1_000_000):
        monkeypatch.setattr(pictures, "MOST_PIXELS", bound)
        with pytest.raises(ValueError, match=r"^3 megapixels, more than the \d that are read; scale it down$"):
            upright(tmp_path / "a.png", {})


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.jpg", "CMYK"), ("a.tif", "CMYK"), ("a.png", "LA"), ("a.png", "1"), ("a.tif", "YCbCr"), ("a.png", "P")],
)
def test_modes(name: str, mode: str, tmp_path: Path) -> None:
    halves(mode, (16, 8)).save(tmp_path / name)
    levels = pixels(upright(tmp_path / name, {}).convert("L"))[0, 0]
    assert int(levels[:, 0].max()) < 5
    assert int(levels[:, -1].min()) > 250


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "TIFF"])
def test_the_first_of_several_frames_is_read(form: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (level, level, level)) for level in (0, 120, 250)]
    options = {"lossless": True} if form == "WEBP" else {}
    frames[0].save(tmp_path / "a", form, save_all=True, append_images=frames[1:], **options)
    assert pixels(upright(tmp_path / "a", {}).convert("L")).unique().tolist() == [0]
