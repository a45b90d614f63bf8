"""Compile the C++ kernels of this folder when they are first needed, and load them.

They are stored beside Python's compiled files. The kernels are optional: if there is no C++ compiler, or it fails,
`load()` returns None and training runs on PyTorch's operators.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from search.engine.native.compiler import NoCompilerError, find_compiler, run_compiler
from search.errors import FailureError

SOURCES = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-w")
COMPILE_SECONDS = 600  # ten seconds on an idle core, many times that beside other work
OUT_OF_MEMORY = "the native engine ran out of memory; train fewer networks at once, with --jobs"

_POINTER, _INT, _LONG, _DOUBLE = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_double


_SIGNATURES = {
    "program_forward": (_POINTER, _INT, _POINTER, _INT),
    "program_backward": (_POINTER, _INT),
    "program_answers": (_POINTER, _POINTER, _POINTER, _LONG, _LONG, _POINTER, _INT),
    "images_read": (_POINTER, _POINTER, _POINTER, _INT, _POINTER, _INT),
    "training_step": (_POINTER, _LONG, _INT, _INT),
    "optimizer_add_to_covariances": (_POINTER,),
    "optimizer_rotate_means": (_POINTER, _INT),
    "optimizer_step": (_POINTER, _DOUBLE, _DOUBLE, _LONG, _DOUBLE),
}
# Functions that have no status.
_OTHER_SIGNATURES = {
    "lanes": (_INT, ()),
    "program_new": (_POINTER, (_POINTER, _INT, _POINTER, _INT)),
    "program_delete": (None, (_POINTER,)),
    "peak_run": (_LONG, (_LONG,)),
}


def load() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None if they are not available."""
    return _load_or_problem()[0]


def problem() -> str:
    """Return the reason why there are no kernels on one line, or "" if there are kernels."""
    return _load_or_problem()[1]


def _check_memory(status: int, _function: Any, _arguments: Any) -> None:
    if status:
        raise FailureError(OUT_OF_MEMORY)


@cache
def _load_or_problem() -> tuple[ctypes.CDLL | None, str]:
    try:
        library = ctypes.CDLL(str(_compile()))
    except (OSError, subprocess.SubprocessError, NoCompilerError) as error:
        return None, " ".join(str(error).split())[:300]
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = arguments, _INT, _check_memory
    for name, (result, arguments) in _OTHER_SIGNATURES.items():
        getattr(library, name).restype, getattr(library, name).argtypes = result, arguments
    return library, ""


def _compile() -> Path:
    """Return the shared library for these sources, compiler command and processor; compile it if it is missing."""
    compiler = find_compiler("C++", "CXX", COMPILERS)
    sources = sorted(SOURCES.glob("*.cpp"))
    # Machines may share a home folder. The macros of -march=native identify the compiler and the processor.
    macros = run_compiler([*compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull], COMPILE_SECONDS)
    digest = hashlib.sha256(f"{compiler}{FLAGS}{macros}".encode())
    for path in sorted(SOURCES.glob("*.?pp")):
        digest.update(path.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}.so"
    folder = Path(importlib.util.cache_from_source(str(SOURCES.with_suffix(".py")))).parent
    if (folder / name).exists():
        return folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        build_folder = tempfile.mkdtemp(prefix="kernels-", dir=folder)
    except OSError:  # a read-only installation compiles once per process
        folder = Path(tempfile.mkdtemp(prefix="kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        build_folder = tempfile.mkdtemp(dir=folder)
    try:
        partial = Path(build_folder) / name
        run_compiler([*compiler, *FLAGS, *map(str, sources), "-o", str(partial)], COMPILE_SECONDS)
        # Renamed when complete, because another worker may look for it.
        return partial.replace(folder / name)
    finally:
        shutil.rmtree(build_folder, ignore_errors=True)
