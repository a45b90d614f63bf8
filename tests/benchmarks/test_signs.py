import random
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

from benchmarks.signs import HEIGHT, SHARES, WIDTH, draw_folder, draw_sign


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_the_same_arguments_draw_the_same_images_and_another_seed_others(tmp_path: Path) -> None:
    n_images = draw_folder(tmp_path / "one", 10, seed=3)
    draw_folder(tmp_path / "again", 10, seed=3)
    draw_folder(tmp_path / "other", 10, seed=4)
    found = contents(tmp_path / "one")
    assert found == contents(tmp_path / "again")
    other = contents(tmp_path / "other")
    assert found.keys() == other.keys()
    assert not set(found.values()) & set(other.values())
    counts = {sign: sum(name.startswith(f"{sign}/") for name in found) for sign in SHARES}
    assert counts == {"circle": 10, "cross": 8, "ring": 6, "square": 5, "star": 3, "triangle": 2}
    assert len(found) == n_images == len(set(found.values()))
    with Image.open(tmp_path / "one" / "star" / "0000.png") as image:
        assert (image.size, image.mode) == ((WIDTH, HEIGHT), "RGB")


def test_a_larger_sign_is_the_same_sign(tmp_path: Path) -> None:
    draw_folder(tmp_path, 10, size=(64, 80))
    for path in sorted(tmp_path.rglob("*.png")):
        with Image.open(path) as image:
            assert image.size == (80, 64)
    large, usual = (draw_sign("cross", random.Random(8), size) for size in ((64, 80), (32, 40)))
    difference = ImageChops.difference(large.convert("L").resize(usual.size, Image.Resampling.BOX), usual.convert("L"))
    assert ImageStat.Stat(difference).mean[0] < 16  # the noise is another one
