"""What an exported model.py does beside its network: preprocessing, loading, classifying pictures, scoring a test set.

`EXPORTED` is copied into the file as it stands here, so it uses nothing but torch, the standard library, Pillow where a
picture is read, and the constants below, of which the exported file has its own.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from search.data.pictures import pixels, upright

# --- stand-ins for what source.py writes -----------------------------------------------------------------------------

CLASSES: tuple[str, ...] = ()
DATASET = ""
INPUT_SHAPE = (1, 1, 1)
MEAN: tuple[float, ...] = ()
STD: tuple[float, ...] = ()
BACKGROUND: int | None = None
EXTENT = 0
CENTRE = (0.0, 0.0)
BY_MASS = False
TEST_FILES: tuple[str, ...] = ()
WEIGHTS = Path("weights.pt")


class Net(nn.Module):
    """The network."""


# --- copied ---------------------------------------------------------------------------------------------------------


def preprocess(images: Tensor) -> Tensor:
    """Turn uint8 images (N, C, H, W) into what the network was trained on: normalised float32."""
    if images.dtype != torch.uint8 or images.shape[1:] != INPUT_SHAPE:
        found = f"{images.dtype} of shape {tuple(images.shape)}"
        raise ValueError(f"images must be torch.uint8 of shape (N, *{INPUT_SHAPE}), got {found}")
    mean = torch.tensor(MEAN, device=images.device).view(-1, 1, 1)
    std = torch.tensor(STD, device=images.device).view(-1, 1, 1)
    return (images.float().div(255) - mean) / std


def load(path: str | Path = WEIGHTS) -> Net:
    """Return the trained network on the CPU, in evaluation mode; from a .pt or .safetensors file."""
    net = Net()
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(state)
    except (OSError, ModuleNotFoundError):
        raise
    except Exception as error:  # both packages raise almost anything for a file that is not theirs
        raise ValueError(
            f"{path} is damaged or does not hold this network's weights; take those it came with"
        ) from error
    return net.eval()


@torch.inference_mode()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 1000) -> float:
    """Share of right answers on uint8 images (N, C, H, W) with labels (N,), in [0, 1]."""
    n_correct = 0
    for start in range(0, len(labels), batch_size):
        answers = net(preprocess(images[start : start + batch_size])).argmax(1)
        n_correct += int((answers == labels[start : start + batch_size]).sum())
    return n_correct / len(labels)


@torch.inference_mode()
def probabilities(net: nn.Module, images: Tensor) -> Tensor:
    """Of each class for each of the uint8 images (N, C, H, W): (N, classes)."""
    return torch.softmax(net(preprocess(images)), dim=1)


def read_picture(path: str | Path) -> Tensor:
    """Read an image file of any size as the network wants it: uint8 (1, C, H, W).

    A picture of the right size is only inverted, if its background is the wrong one. Any other is brought into the form
    of the training images: where those show one object on a plain background, so big and there; else cut to their shape
    and scaled. Raises OSError for a file that cannot be read, ValueError for one that is no picture of anything.
    """
    from PIL import ImageOps

    channels, height, width = INPUT_SHAPE
    picture = upright(path).convert("L" if channels == 1 else "RGB")
    if BACKGROUND is not None:
        picture = on_background(picture, BACKGROUND)
    elif picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height))
    return pixels(picture).contiguous()


def on_background(picture: Any, background: int) -> Any:
    """The object in a grey PIL image, as big and in the same place as in the training images."""
    from PIL import Image, ImageChops, ImageOps

    _, height, width = INPUT_SHAPE
    border = border_level(picture)
    if abs(255 - border - background) < abs(border - background):
        picture, border = ImageOps.invert(picture), 255 - border
    if picture.size == (width, height):
        return picture
    # Uneven paper is no object; the strongest ink is as strong as in the training images.
    contrast = ImageChops.difference(picture, Image.new("L", picture.size, border))
    strongest = contrast.getextrema()[1]
    if not strongest:
        raise ValueError("the picture is blank: all of it has one grey level; give one that shows something")
    contrast = contrast.point(lambda level: 0 if 4 * level < strongest else 255 * level // strongest)
    ink = contrast.crop(contrast.getbbox())
    scale = EXTENT / max(ink.size)
    ink = ink.resize([max(1, round(side * scale)) for side in ink.size], Image.Resampling.LANCZOS)
    row, column = middle(ink)
    frame = Image.new("L", (width, height))
    frame.paste(ink, (round(CENTRE[1] - column), round(CENTRE[0] - row)))
    shade = 255 - background if background < 128 else -background
    return frame.point(lambda level: background + level * shade // 255)


def border_level(picture: Any) -> int:
    """Median grey level along the four sides."""
    levels = pixels(picture)[0, 0]
    return int(torch.cat([levels[0], levels[-1], levels[:, 0], levels[:, -1]]).median())


def middle(ink: Any) -> tuple[float, float]:
    """Row and column of the point by which the training images were centred: centre of mass, or middle of the box."""
    columns, rows = ink.size
    if not BY_MASS:
        return rows / 2, columns / 2
    levels = pixels(ink)[0, 0].double()
    down, right = torch.arange(rows) + 0.5, torch.arange(columns) + 0.5
    return float((levels.sum(1) * down).sum() / levels.sum()), float((levels.sum(0) * right).sum() / levels.sum())


def read_test_set(folder: str | Path) -> tuple[Tensor, Tensor]:
    """The test images, uint8 (N, C, H, W), and labels (N,).

    From a folder laid out as torchvision does; for data without such files from one with a folder of pictures for each
    class, named after it.
    """
    if not TEST_FILES:
        places = [
            (path, label) for label, name in enumerate(CLASSES) for path in sorted((Path(folder) / name).glob("*"))
        ]
        if not places:
            raise ValueError(f"{folder} has no folder of pictures that is named after a class: {', '.join(CLASSES)}")
        return torch.cat([read_picture(path) for path, _ in places]), torch.tensor([label for _, label in places])
    images, labels = (read_idx(Path(folder) / name) for name in TEST_FILES)
    if labels.shape != images.shape[:1] or images[0].numel() != torch.Size(INPUT_SHAPE).numel():
        raise ValueError(f"{folder} holds images {tuple(images.shape)} and labels {tuple(labels.shape)}, not {DATASET}")
    return images.view(len(images), *INPUT_SHAPE), labels.long()


def read_idx(path: Path) -> Tensor:
    """The bytes in a file of the format of http://yann.lecun.com/exdb/mnist, plain or gzipped (.gz)."""
    packed = path.with_name(f"{path.name}.gz")
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.exists() and not path.exists() else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{packed} is damaged: {error}") from error
    n_axes = content[3] if len(content) > 3 else 0
    shape = [int.from_bytes(content[4 * i : 4 * i + 4], "big") for i in range(1, n_axes + 1)]
    start = 4 + 4 * n_axes
    if content[:3] != b"\0\0\x08" or not n_axes or not 0 < math.prod(shape) == len(content) - start:
        raise ValueError(f"{path} is not a whole IDX file of bytes")
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).view(shape)


def main(arguments: list[str] | None = None) -> int:
    """Classify pictures or score a test set; the exit status."""
    parser = argparse.ArgumentParser(description=f"Tells {', '.join(CLASSES)} apart.", exit_on_error=False)
    either_way = "" if BACKGROUND is None else ", dark on light or the reverse"
    parser.add_argument("pictures", nargs="*", metavar="IMAGE", help=f"picture of any size{either_way}")
    layout = (
        "with the data set as torchvision lays it out" if TEST_FILES else "with a folder of pictures for each class"
    )
    parser.add_argument("--test", metavar="DIR", help=f"folder {layout}")
    try:
        options, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        return failed(f"{error}; --help lists the options")
    if unknown:
        return failed(f"there is no option {unknown[0]}; --help lists those there are")
    if not options.pictures and options.test is None:
        parser.print_help()
        return 0
    try:
        net = load()
        if options.test is not None:
            images, labels = read_test_set(options.test)
            print(f"{accuracy(net, images, labels):.2%} of {len(labels):,} test images")
        for path in options.pictures:
            try:
                picture = read_picture(path)
            except ValueError as error:
                raise ValueError(str(error) if str(error).startswith(path) else f"{path}: {error}") from error
            shares, classes = probabilities(net, picture)[0].topk(min(2, len(CLASSES)))
            guesses = [
                f"{CLASSES[i]} ({share:.2%})" for share, i in zip(shares.tolist(), classes.tolist(), strict=True)
            ]
            print(f"{path}: {', else '.join(guesses)}")
    except ModuleNotFoundError as error:
        return failed(f"{error.name} is needed for that: pip install {'pillow' if error.name == 'PIL' else error.name}")
    except (OSError, ValueError) as error:
        return failed(str(error))
    return 0


def failed(message: str) -> int:
    """Say why in one line."""
    print(f"model.py: {' '.join(message.split())}", file=sys.stderr)
    return 2


EXPORTED = (
    preprocess,
    load,
    accuracy,
    probabilities,
    read_picture,
    upright,
    pixels,
    on_background,
    border_level,
    middle,
    read_test_set,
    read_idx,
    main,
    failed,
)
