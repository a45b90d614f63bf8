"""Compile a generated model.c and compare its logits with those of the reference."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from search.engine.native.compiler import NoCompilerError, find_compiler, run_compiler
from search.errors import FailureError
from search.export.int8.c_source import PREFIX
from search.export.int8.network import Int8Network, Int32Array, UInt8Array
from search.export.int8.reference import run

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O3")
COMPILE_SECONDS = 120


class CMismatchError(FailureError):
    """Error of a compiled file that computes other logits than the reference."""


def check_c(network: Int8Network, source: str, header: str, images: UInt8Array, prefix: str = PREFIX) -> Int32Array:
    """Return the logits (N, classes) of images (N, C, H, W), which the compiled file and the reference agree on.

    prefix: beginning of the names of files and functions. Raises CMismatchError if any logit differs, and
    NoCompilerError as `open_c` does.
    """
    expected = run(network, images)
    logits = run_c(source, header, images, network.n_classes, prefix=prefix)
    differing = (expected != logits).any(1)
    if differing.any():
        raise CMismatchError(
            f"the compiled {prefix}.c gives other logits than the reference for {differing.sum():,} of {len(images):,} "
            f"images, first for number {differing.argmax()}"
        )
    return logits


def run_c(
    source: str,
    header: str,
    images: UInt8Array,
    n_classes: int,
    flags: Sequence[str] = FLAGS,
    prefix: str = PREFIX,
) -> Int32Array:
    """Compile the file and return its logits (N, classes) for images (N, C, H, W).

    Raises NoCompilerError as `open_c` does.
    """
    return open_c(source, header, n_classes, flags, prefix)(images)


def open_c(
    source: str, header: str, n_classes: int, flags: Sequence[str] = FLAGS, prefix: str = PREFIX
) -> Callable[[UInt8Array], Int32Array]:
    """Compile the file and return a function from images (N, C, H, W) to logits (N, classes).

    Raises NoCompilerError, with a message of one line, if the file cannot be compiled.
    """
    with tempfile.TemporaryDirectory(prefix="model-", ignore_cleanup_errors=True) as folder:
        library = _compile(Path(folder), source, header, flags, prefix)
    function = getattr(library, f"{prefix}_logits")
    function.restype = None

    def logits_of(images: UInt8Array) -> Int32Array:
        logits = np.empty((len(images), n_classes), np.int32)
        for image, row in zip(np.ascontiguousarray(images), logits, strict=True):
            function(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(row.ctypes.data))
        return logits

    return logits_of


def _compile(folder: Path, source: str, header: str, flags: Sequence[str], prefix: str) -> ctypes.CDLL:
    (folder / f"{prefix}.h").write_text(header, encoding="utf-8")
    (folder / f"{prefix}.c").write_text(source, encoding="utf-8")
    library = folder / f"{prefix}.so"
    try:
        # With "-x c" a C++ compiler named in $CC also compiles the file as C.
        compiler = find_compiler("C", "CC", COMPILERS)
        command = [*compiler, "-x", "c", *flags, "-shared", "-fPIC", str(folder / f"{prefix}.c"), "-o", str(library)]
        run_compiler(command, COMPILE_SECONDS)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.SubprocessError, NoCompilerError) as error:
        raise NoCompilerError(" ".join(str(error).split())[:300]) from error
