"""Functions of an exported model.py that preprocess images, load the network, classify pictures and score a test set.

The source of this module is copied into the file, and that of idx_test_set, folder_test_set or npz_test_set. They
therefore use only torch, the standard library, Pillow (to read pictures), NumPy (to read its archives) and constants,
which the exported file defines with values of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.module_table import module_table
from search.data.own.pictures import pixels, shown, upright
from search.export.standalone.idx_test_set import TEST_SET, read_test_set
from search.export.standalone.stand_ins import (
    BACKGROUND,
    BY_MASS,
    CENTRE,
    CLASSES,
    EXTENT,
    INPUT_SHAPE,
    LEVEL_RANGES,
    MEAN,
    STD,
    WEIGHTS,
    Net,
)


def preprocess(images: Tensor) -> Tensor:
    """Return uint8 images (N, C, H, W) as normalised float32, the input that the network was trained on.

    Raises ValueError for images of another type or shape.
    """
    if images.dtype != torch.uint8 or images.shape[1:] != INPUT_SHAPE:
        actual = f"{images.dtype} of shape {tuple(images.shape)}"
        raise ValueError(f"images must be torch.uint8 of shape (N, *{INPUT_SHAPE}), got {actual}")
    mean = torch.tensor(MEAN, device=images.device).view(-1, 1, 1)
    std = torch.tensor(STD, device=images.device).view(-1, 1, 1)
    return (images.float().div(255) - mean) / std


def load(path: str | Path = WEIGHTS) -> Net:
    """Return the trained network on the CPU, in evaluation mode.

    path: the file with the weights, .pt or .safetensors. Raises OSError for a file that cannot be read, ValueError for
    a damaged file or the weights of another network, and ModuleNotFoundError if safetensors is not installed.
    """
    net = Net()
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_model

            load_model(net, path)
        else:
            net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, ModuleNotFoundError):
        raise
    except Exception as error:  # both packages raise exceptions of many types for a damaged file
        raise ValueError(
            f"{path} is damaged or does not hold this network's weights; take those it came with"
        ) from error
    return net.eval()


@torch.inference_mode()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 1000) -> float:
    """Return the accuracy, in [0, 1], on uint8 images (N, C, H, W) with labels (N,)."""
    n_correct = 0
    for start in range(0, len(labels), batch_size):
        answers = net(preprocess(images[start : start + batch_size])).argmax(1)
        n_correct += int((answers == labels[start : start + batch_size]).sum())
    return n_correct / len(labels)


@torch.inference_mode()
def probabilities(net: nn.Module, images: Tensor) -> Tensor:
    """Return the probability of each class, (N, classes), for uint8 images (N, C, H, W)."""
    return torch.softmax(net(preprocess(images)), dim=1)


@torch.inference_mode()
def summary(net: nn.Module) -> str:
    """Return the table of the network's modules and their parameters in the form of torchsummary."""
    modules: list[tuple[str, tuple[int, ...], int]] = []

    def record(module: nn.Module, _: object, output: Tensor) -> None:
        n_params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        modules.append((type(module).__name__, tuple(output.shape[1:]), n_params))

    counted = [module for module in net.modules() if module is not net and not isinstance(module, nn.Sequential)]
    hooks = [module.register_forward_hook(record) for module in counted]
    net(torch.zeros(1, *INPUT_SHAPE))
    for hook in hooks:
        hook.remove()
    return module_table(modules, INPUT_SHAPE, sum(parameter.numel() for parameter in net.parameters()))


def read_picture(path: str | Path) -> Tensor:
    """Read an image file of any size in the shape that the network takes: uint8 (1, C, H, W).

    If the training images show one object on a plain background, the picture is inverted if its own background is
    closer to the opposite grey level, and a picture of another size is scaled and shifted so that its object has the
    size and position of theirs. Otherwise a picture of another size is cropped and scaled.

    Raises OSError for a file that cannot be read, and ValueError for a file that is not a picture or is blank.
    """
    from PIL import ImageOps

    channels, height, width = INPUT_SHAPE
    try:
        picture = upright(path, LEVEL_RANGES).convert("L" if channels == 1 else "RGB")
        if BACKGROUND is not None:
            picture = frame_object(picture, BACKGROUND)
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from error
    if BACKGROUND is None and picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height))
    return pixels(picture).contiguous()


def frame_object(picture: Any, background: int) -> Any:
    """Return a grey PIL image with its object at the size and position of the training images.

    Raises ValueError for a blank picture.
    """
    from PIL import Image, ImageChops, ImageOps

    _, height, width = INPUT_SHAPE
    border = border_level(picture)
    if abs(255 - border - background) < abs(border - background):
        picture, border = ImageOps.invert(picture), 255 - border
    if picture.size == (width, height):
        return picture
    # Faint contrast is uneven paper, not the object. The strongest contrast becomes that of the training images.
    contrast = ImageChops.difference(picture, Image.new("L", picture.size, border))
    largest = contrast.getextrema()[1]
    if not largest:
        raise ValueError("the picture is blank: all of it has one grey level; give one that shows something")
    contrast = contrast.point(lambda level: 0 if 4 * level < largest else 255 * level // largest)
    crop = contrast.crop(contrast.getbbox())
    scale = EXTENT / max(crop.size)
    crop = crop.resize([max(1, round(side * scale)) for side in crop.size], Image.Resampling.LANCZOS)
    row, column = object_centre(crop)
    frame = Image.new("L", (width, height))
    frame.paste(crop, (round(CENTRE[1] - column), round(CENTRE[0] - row)))
    shade = 255 - background if background < 128 else -background
    return frame.point(lambda level: background + level * shade // 255)


def border_level(picture: Any) -> int:
    """Return the median grey level along the four sides of a grey PIL image."""
    levels = pixels(picture)[0, 0]
    return int(torch.cat([levels[0], levels[-1], levels[:, 0], levels[:, -1]]).median())


def object_centre(picture: Any) -> tuple[float, float]:
    """Return the row and column of the point by which the training images were centred.

    picture: grey PIL image of the object alone, 0 where there is none. The point is its centre of mass if BY_MASS,
    otherwise its middle.
    """
    columns, rows = picture.size
    if not BY_MASS:
        return rows / 2, columns / 2
    levels = pixels(picture)[0, 0].double()
    total = levels.sum()
    row = (levels.sum(1) * (torch.arange(rows) + 0.5)).sum() / total
    column = (levels.sum(0) * (torch.arange(columns) + 0.5)).sum() / total
    return float(row), float(column)


def main(arguments: list[str] | None = None) -> int:
    """Classify pictures or score a test set from the command line; return the exit status."""
    description = f"Tells {', '.join(CLASSES)} apart."
    if "%(prog)" in description:  # only then argparse formats it
        description = description.replace("%", "%%")
    parser = argparse.ArgumentParser(description=description, exit_on_error=False)
    contrast_note = "" if BACKGROUND is None else ", dark on light or the reverse"
    parser.add_argument("pictures", nargs="*", metavar="IMAGE", help=f"picture of any size{contrast_note}")
    parser.add_argument("--test", metavar=TEST_SET[0], help=TEST_SET[1])
    parser.add_argument("--summary", action="store_true", help="print the layers and their parameters")
    try:
        options, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        return print_error(f"{error}; --help lists the options")
    if unknown:
        return print_error(f"there is no option {unknown[0]}; --help lists those there are")
    if not options.pictures and options.test is None and not options.summary:
        parser.print_help()
        return 0
    try:
        net = load()
        if options.summary:
            print(summary(net))
        if options.test is not None:
            images, labels, which_images = read_test_set(options.test)
            print(f"{accuracy(net, images, labels):.2%} of {len(labels):,} {which_images}")
        for path in options.pictures:
            picture = read_picture(path)
            shares, classes = probabilities(net, picture)[0].topk(min(2, len(CLASSES)))
            guesses = [
                f"{CLASSES[i]} ({share:.2%})" for share, i in zip(shares.tolist(), classes.tolist(), strict=True)
            ]
            print(f"{shown(path)}: {', else '.join(guesses)}")
    except ModuleNotFoundError as error:
        package = "pillow" if error.name == "PIL" else error.name
        return print_error(f"{error.name} is needed for that: pip install {package}")
    except OSError as error:
        name = "" if error.filename is None else f"{shown(Path(error.filename))}: "
        return print_error(f"{name}{error.strerror or error}")
    except ValueError as error:
        return print_error(str(error))
    return 0


def print_error(message: str) -> int:
    """Print an error message on one line and return the exit status 2."""
    print(f"model.py: {' '.join(message.split())}", file=sys.stderr)
    return 2
