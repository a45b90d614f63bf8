"""Read the test set of a published data set; the exported model.py of such a set holds a copy of this source."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from search.export.standalone.stand_ins import DATASET, INPUT_SHAPE, TEST_FILES

# What --test takes.
TEST_SET = "DIR", "folder with the data set as torchvision lays it out"


def read_test_set(folder: str | Path) -> tuple[Tensor, Tensor, str]:
    """Return the test images, uint8 (N, C, H, W), their labels (N,), and which images these are.

    folder: the data set in the layout of torchvision, or the folder in it that holds the files. Raises OSError for a
    file that cannot be read, and ValueError for damaged files or other data.
    """
    images, labels = (read_idx(find_file(Path(folder), name)) for name in TEST_FILES)
    if labels.shape != images.shape[:1] or images[0].numel() != torch.Size(INPUT_SHAPE).numel():
        raise ValueError(f"{folder} holds images {tuple(images.shape)} and labels {tuple(labels.shape)}, not {DATASET}")
    return images.view(len(images), *INPUT_SHAPE), labels.long(), "test images"


def find_file(folder: Path, name: str) -> Path:
    """Return the path of a file of the data set, which may be plain or gzipped (.gz).

    `name` is its path in the layout of torchvision, of which `folder` may hold the last parts alone. Raises ValueError
    for a missing file.
    """
    parts = Path(name).parts
    for path in (folder.joinpath(*parts[start:]) for start in range(len(parts))):
        if path.exists() or path.with_name(f"{path.name}.gz").exists():
            return path
    raise ValueError(f"{folder} holds no {name}; name the folder that holds the test set of {DATASET}")


def read_idx(path: Path) -> Tensor:
    """Return the values, uint8, of an IDX file of bytes, plain or gzipped (.gz).

    http://yann.lecun.com/exdb/mnist describes the format. Raises ValueError for a damaged file.
    """
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
