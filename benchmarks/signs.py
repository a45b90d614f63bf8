"""Draw a folder of small colour images to try a search on, with six signs, some of them rare.

    python -m benchmarks.signs signs

Every image has two colours of different brightness, a sign of random size, position and angle, and noise. The same
arguments draw the same images.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from search.cli.values import size

WIDTH, HEIGHT = 40, 32
# Number of images of each sign, as a share of that of the commonest one.
SHARES = {"circle": 1.0, "cross": 0.8, "ring": 0.6, "square": 0.5, "star": 0.3, "triangle": 0.2}
# Images are drawn larger by this factor and then scaled down, so that edges are smooth.
_OVERSAMPLING = 4

Point = tuple[float, float]


def draw_folder(folder: Path, n_commonest: int, seed: int = 0, size: tuple[int, ...] = (HEIGHT, WIDTH)) -> int:
    """Write images of a height and a width to folder/SIGN/NUMBER.png, and return their number."""
    rng = random.Random(seed)
    n_images = 0
    for sign, share in SHARES.items():
        (folder / sign).mkdir(parents=True, exist_ok=True)
        for number in range(max(2, round(share * n_commonest))):
            draw_sign(sign, rng, size).save(folder / sign / f"{number:04d}.png")
            n_images += 1
    return n_images


def draw_sign(sign: str, rng: random.Random, size: tuple[int, ...] = (HEIGHT, WIDTH)) -> Image.Image:
    """Return an image of a height and a width with a sign, which is named as in SHARES."""
    height, width = size
    paper, ink = _colours(rng)
    picture = Image.new("RGB", (width * _OVERSAMPLING, height * _OVERSAMPLING), paper)
    shorter = min(height, width)
    radius = rng.uniform(0.28, 0.44) * shorter * _OVERSAMPLING
    shift = shorter / 8
    middle = tuple(_OVERSAMPLING * side / 2 + rng.uniform(-shift, shift) * _OVERSAMPLING for side in (width, height))
    angle = rng.uniform(-0.25, 0.25)

    def place_point(turn: float, distance: float) -> Point:
        """Return the point at `turn` full turns around the middle and `distance` radii from it."""
        direction = 2 * math.pi * turn + angle - math.pi / 2
        return middle[0] + radius * distance * math.cos(direction), middle[1] + radius * distance * math.sin(direction)

    _SIGNS[sign](ImageDraw.Draw(picture), place_point, ink, paper)
    small = picture.resize((width, height), Image.Resampling.BOX)
    noise = bytes(rng.randrange(256) for _ in range(3 * width * height))
    return Image.blend(small, Image.frombytes("RGB", small.size, noise), rng.uniform(0.05, 0.25))


def _colours(rng: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two colours of different brightness; either of them may be the brighter one."""
    dark = tuple(rng.randrange(0, 110) for _ in range(3))
    bright = tuple(rng.randrange(140, 256) for _ in range(3))
    return (dark, bright) if rng.random() < 0.5 else (bright, dark)


PlacePoint = Callable[[float, float], Point]
Colour = tuple[int, ...]


def _circle(draw: ImageDraw.ImageDraw, place_point: PlacePoint, ink: Colour, _paper: Colour) -> None:
    draw.polygon([place_point(step / 60, 1) for step in range(60)], fill=ink)


def _ring(draw: ImageDraw.ImageDraw, place_point: PlacePoint, ink: Colour, paper: Colour) -> None:
    _circle(draw, place_point, ink, paper)
    draw.polygon([place_point(step / 60, 0.55) for step in range(60)], fill=paper)


def _cross(draw: ImageDraw.ImageDraw, place_point: PlacePoint, ink: Colour, _paper: Colour) -> None:
    for first in (0.125, 0.375):
        thickness = round(7 / HEIGHT * min(draw.im.size))
        draw.line([place_point(first, 1), place_point(first + 0.5, 1)], fill=ink, width=thickness)


def _square(draw: ImageDraw.ImageDraw, place_point: PlacePoint, ink: Colour, _paper: Colour) -> None:
    draw.polygon([place_point(corner / 4 + 0.125, 1.1) for corner in range(4)], fill=ink)


def _star(draw: ImageDraw.ImageDraw, place_point: PlacePoint, ink: Colour, _paper: Colour) -> None:
    draw.polygon([place_point(step / 10, 0.45 if step % 2 else 1.15) for step in range(10)], fill=ink)


def _triangle(draw: ImageDraw.ImageDraw, place_point: PlacePoint, ink: Colour, _paper: Colour) -> None:
    draw.polygon([place_point(corner / 3, 1.15) for corner in range(3)], fill=ink)


_SIGNS = {
    "circle": _circle,
    "cross": _cross,
    "ring": _ring,
    "square": _square,
    "star": _star,
    "triangle": _triangle,
}


def main() -> None:
    """Draw the folder that is named on the command line."""
    parser = argparse.ArgumentParser(description="Draw a folder of small colour images to try a search on.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write DIR/SIGN/NUMBER.png to")
    parser.add_argument(
        "--commonest", type=int, default=500, metavar="N", help="images of the commonest sign (default: 500)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the images (default: 0)")
    parser.add_argument(
        "--size", type=size, default=(HEIGHT, WIDTH), metavar="N|HxW", help="height and width (default: 32x40)"
    )
    options = parser.parse_args()
    n_images = draw_folder(options.folder, options.commonest, options.seed, options.size)
    print(f"{n_images:,} images of {len(SHARES)} signs in {options.folder}")


if __name__ == "__main__":
    main()
