"""Find the directory of data sets in which a data set has torchvision's layout, from a folder inside that layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath


def root_of(directory: Path, files: Iterable[str]) -> Path:
    """Return the directory that `files` are relative to, where `directory` is that or a folder between it and them.

    For example, /data for /data/MNIST/raw and the file MNIST/raw/train-images-idx3-ubyte. A file may be gzipped, with
    .gz behind its name. `directory` itself is returned if none of the files is found.
    """
    for file in files:
        folders = PurePosixPath(file).parent.parts
        for depth in range(1, len(folders) + 1):
            root = Path(*directory.absolute().parts[:-depth])
            is_inside = directory.absolute().parts[-depth:] == folders[:depth]
            if is_inside and any((root / name).exists() for name in (file, f"{file}.gz")):
                return root
    return directory
