"""Table of the export formats by their names on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec

from search import config
from search.errors import InputError
from search.export.formats import c, onnx, pytorch
from search.export.formats.format import Format

REQUIREMENTS = "requirements-export.txt"
TORCH = "torch"
FORMATS: Mapping[str, Format] = {
    TORCH: pytorch.TORCH,
    "safetensors": pytorch.SAFETENSORS,
    "pt2": pytorch.PT2,
    "onnx": onnx.ONNX,
    "onnx-int8": onnx.ONNX_INT8,
    "c": c.C,
}
if tuple(FORMATS) != config.FORMATS:
    raise TypeError("every format needs a row in FORMATS and its name in search.config.FORMATS, in the same order")


def check_formats(names: Iterable[str]) -> None:
    """Raise InputError for a format whose packages are not installed, without importing them."""
    for name in names:
        missing = [package for package in FORMATS[name].packages if find_spec(package) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise InputError(
                f"format {name} needs {' and '.join(missing)}, which {verb} not installed: "
                f"pip install -r {REQUIREMENTS}"
            )


def installed_formats(names: Iterable[str]) -> list[str]:
    """Return those of the named formats whose packages are installed."""
    return [name for name in FORMATS if name in names and all(map(find_spec, FORMATS[name].packages))]


def in_order(names: Sequence[str]) -> list[str]:
    """Return the names of the formats to write, without repeats. torch is always first, as others are made from it."""
    return [name for name in FORMATS if name == TORCH or name in names]
