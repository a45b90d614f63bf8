"""Test that model_input.h converts pictures as a plain computation in numpy and as the exported model.py do."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search.export.embedded.picture_input import input_header, input_note
from search.export.standalone import runtime
from search.export.standalone.framing import Framing

HEIGHT, WIDTH = 28, 24
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
FRAMINGS = {
    "light by mass": Framing(0, 20, True, (14.0, 12.0)),
    "light by box": Framing(10, 16, False, (13.5, 12.0)),
    "dark by mass": Framing(255, 18, True, (14.0, 11.5)),
}
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")

Convert = Callable[[np.ndarray], np.ndarray | None]


def compiled(framing: Framing, folder: Path) -> Convert:
    """Return model_input_from_grey as a function from a picture (h, w) to the input, or to None if it is refused."""
    (folder / "model.h").write_text(
        f"#include <stdint.h>\n#define MODEL_CHANNELS 1\n#define MODEL_HEIGHT {HEIGHT}\n#define MODEL_WIDTH {WIDTH}\n"
    )
    (folder / "model_input.h").write_text(input_header(framing, "model"))
    (folder / "convert.c").write_text(
        '#include "model_input.h"\n'
        "int convert(const uint8_t *picture, int32_t height, int32_t width, uint8_t *image);\n"
        "int convert(const uint8_t *picture, int32_t height, int32_t width, uint8_t *image)\n"
        "{ return model_input_from_grey(picture, height, width, image); }\n"
    )
    command = ["cc", "-std=c99", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", *WARNINGS]
    subprocess.run([*command, "-shared", "-fPIC", "convert.c", "-o", "convert.so"], cwd=folder, check=True, timeout=60)
    function = ctypes.CDLL(str(folder / "convert.so")).convert

    def convert(picture: np.ndarray) -> np.ndarray | None:
        picture, image = np.ascontiguousarray(picture, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (picture, image))
        height, width = picture.shape
        status = function(next(pointers), height, width, next(pointers))
        return None if status else image

    return convert


def area_means(levels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return levels (h, w) scaled to (rows, columns), each the mean of the area that it covers."""
    height, width = levels.shape
    repeated = np.repeat(np.repeat(levels, rows, 0), columns, 1).astype(np.float64)
    return np.floor(repeated.reshape(rows, height, columns, width).mean((1, 3)) + 0.5).astype(np.int64)


def nearest(value: float) -> int:
    return int(np.floor(value + 0.5))


def framed(picture: np.ndarray, framing: Framing) -> np.ndarray:
    """Return the input for a picture of another size than the input, as model.py computes it, but with area means."""
    assert framing.background is not None
    levels = picture.astype(np.int64)
    border = int(torch.from_numpy(np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])).median())
    contrast = abs(levels - border)
    contrast = np.where(4 * contrast < contrast.max(), 0, 255 * contrast // contrast.max())
    rows, columns = np.flatnonzero(contrast.any(1)), np.flatnonzero(contrast.any(0))
    crop = contrast[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    crop = area_means(crop, *(max(1, nearest(side * framing.extent / max(crop.shape))) for side in crop.shape))
    height, width = crop.shape
    centre = [height / 2, width / 2]
    if framing.by_mass:
        centre = [crop.sum(1) @ (np.arange(height) + 0.5), crop.sum(0) @ (np.arange(width) + 0.5)] / crop.sum()
    top, left = (nearest(there - here) for there, here in zip(framing.centre, centre, strict=True))
    frame = np.zeros((HEIGHT + 200, WIDTH + 200), np.int64)
    frame[100 + top : 100 + top + height, 100 + left : 100 + left + width] = crop
    shade = 255 - framing.background if framing.background < 128 else -framing.background
    image = framing.background + abs(frame[100:-100, 100:-100] * shade) // 255 * np.sign(shade)
    return image.astype(np.uint8)


def pictures(background: int, level: int) -> list[np.ndarray]:
    """Return pictures of blurred shapes of several sizes on a plain, slightly noisy background."""
    generator = np.random.default_rng(0)
    drawn = []
    for height, width in [(60, 90), (7, 5), (200, 31), (29, 24), (2048, 40)]:
        mask = np.zeros((height, width))
        for _ in range(4):
            y, x = generator.integers(1, height - 1), generator.integers(1, width - 1)
            mask[y : min(height - 1, y + height // 2), x : min(width - 1, x + max(1, width // 6))] = generator.uniform(
                0.3, 1
            )
        noise = generator.integers(0, 3, (height, width))
        drawn.append(
            (background + mask * (level - background) + noise * (1 if background < 128 else -1)).astype(np.uint8)
        )
    return drawn


@needs_compiler
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize(("background", "level"), [(0, 250), (240, 15), (90, 200)])
def test_objects_get_the_size_and_position_of_the_training_images(
    framing: Framing, background: int, level: int, tmp_path: Path
) -> None:
    convert = compiled(framing, tmp_path)
    for picture in pictures(background, level):
        image = convert(picture)
        assert image is not None
        np.testing.assert_array_equal(image, framed(picture, framing))


@needs_compiler
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_images_are_those_of_the_python_file(framing: Framing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python file scales with another filter, so edges differ a little; a shift or an inversion would show."""
    monkeypatch.setattr(runtime, "INPUT_SHAPE", (1, HEIGHT, WIDTH))
    for name in ("background", "extent", "by_mass", "centre"):
        monkeypatch.setattr(runtime, name.upper(), getattr(framing, name))
    convert = compiled(framing, tmp_path)
    for picture in (*pictures(0, 250)[:1], *pictures(240, 15)[2:3]):
        expected = np.asarray(runtime.frame_object(Image.fromarray(picture), framing.background), np.int64)
        assert np.abs(convert(picture) - expected).mean() < 6


@needs_compiler
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_a_picture_of_the_size_of_the_input_is_inverted_at_most(framing: Framing, tmp_path: Path) -> None:
    convert = compiled(framing, tmp_path)
    picture = np.full((HEIGHT, WIDTH), framing.background, np.uint8)
    picture[5:9, 3:20] = 130
    np.testing.assert_array_equal(convert(picture), picture)
    np.testing.assert_array_equal(convert(255 - picture), picture)


@needs_compiler
def test_without_a_plain_background_the_middle_is_scaled(tmp_path: Path) -> None:
    convert = compiled(Framing(), tmp_path)
    generator = np.random.default_rng(1)
    for height, width in [(HEIGHT, WIDTH), (56, 48), (100, 48), (56, 200), (9, 31), (1, 1)]:
        picture = generator.integers(0, 256, (height, width), np.uint8)
        rows = min(height, nearest(width * HEIGHT / WIDTH))
        columns = min(width, nearest(height * WIDTH / HEIGHT))
        top, left = (height - rows) // 2, (width - columns) // 2
        part = picture[top : top + rows, left : left + columns]
        np.testing.assert_array_equal(convert(picture), area_means(part, HEIGHT, WIDTH))


@needs_compiler
def test_pictures_without_an_object_are_refused(tmp_path: Path) -> None:
    framing = FRAMINGS["light by mass"]
    convert = compiled(framing, tmp_path)
    for shape in [(40, 40), (1, 1), (2049, 5), (5, 2049)]:
        assert convert(np.full(shape, 77)) is None
    dots = np.zeros((2048, 2048), np.uint8)
    dots[[1, 1000, 2000], [5, 1500, 2000]] = 255
    assert convert(dots) is None, "three pixels vanish when they are scaled down"


@pytest.mark.parametrize(
    ("framing", "words"),
    [
        (
            FRAMINGS["light by mass"],
            "An image has grey levels from 0 to 255, stored channel by channel and row by row. The training images "
            "show a light object on a dark background of level 0; images of the other kind must be inverted "
            "(255 - level). The longer side of the object has 20 of 28 pixels, and its centre of mass is at row 14 and "
            "column 12 from the upper left corner.",
        ),
        (FRAMINGS["dark by mass"], "a dark object on a light background of level 255;"),
        (FRAMINGS["light by box"], "and its middle is at row 13.5 and column 12"),
        (Framing(), "The mean level of the training images is 10 at the border and 200 in the middle."),
    ],
)
def test_the_note_says_what_an_image_must_look_like(framing: Framing, words: str) -> None:
    images = torch.full((3, 1, HEIGHT, WIDTH), 10, dtype=torch.uint8)
    images[:, :, 6:-6, 6:-6] = 200
    assert words in input_note(framing, images)
