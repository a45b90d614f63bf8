"""Measure a generated model.c for each core: its code, constants, memory, stack and executed instructions."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.engine.native.compiler import NoCompilerError
from search.export.board.emulator import emulator_version, run_firmware
from search.export.board.firmware import (
    COMPILER,
    CORES,
    LEVEL,
    Core,
    compile_files,
    compiler_version,
    link_firmware,
    sizes_of,
)
from search.export.int8.c_file import CMismatchError
from search.export.int8.network import Int32Array, UInt8Array

# Number of images that the emulated boards read. Instructions hardly depend on the image.
N_IMAGES = 3


def board_facts(
    files: Mapping[str, str], images: UInt8Array, logits: Int32Array, function: str = "model_logits"
) -> dict[str, Any]:
    """Return the card's entries "boards", the figures of each core, and "board_tools", the programs that measured them.

    files     generated source and header, text by name
    images    uint8 (N, C, H, W), of which the first N_IMAGES are used
    logits    (N, classes), which the boards must compute to the last bit
    function  name of the function that computes them

    Without the compiler there are no entries, and a core is left out if its compiler fails. Without the emulator, or if
    the program is too large or too slow for the board, there are no "instructions" and no "stack_bytes". Raises
    CMismatchError if a board computes other logits, and EmulatorError if it ends with a fault.
    """
    version = compiler_version()
    if version is None:
        return {}
    emulator = emulator_version()
    boards = {}
    for name, core in CORES.items():
        with tempfile.TemporaryDirectory(prefix="board-", ignore_cleanup_errors=True) as folder:
            try:
                objects = compile_files(files, core, Path(folder))
                boards[name] = _size_facts(objects)
            except (NoCompilerError, OSError, subprocess.SubprocessError):
                continue
            if emulator is not None:
                boards[name] |= _run_facts(objects, core, images[:N_IMAGES], logits[:N_IMAGES], function)
    tools = f"{COMPILER} {version} {LEVEL}" + (f", QEMU {emulator}" if emulator else "")
    return {"boards": boards, "board_tools": tools}


def _size_facts(objects: list[Path]) -> dict[str, Any]:
    sizes = sizes_of(objects)
    return {
        "code_bytes": sizes.code,
        "constant_bytes": sizes.constants,
        "ram_bytes": sizes.ram,
        "libgcc": list(sizes.undefined),
    }


def _run_facts(
    objects: list[Path], core: Core, images: UInt8Array, logits: Int32Array, function: str
) -> dict[str, int]:
    n_classes = logits.shape[1]
    try:
        program = link_firmware(objects, core, objects[0].parent, function, images[0].size, n_classes)
        run = run_firmware(program, core, images, n_classes)
    except (NoCompilerError, subprocess.TimeoutExpired):
        return {}
    if (run.logits != logits).any():
        raise CMismatchError(f"model.c compiled for {core.title} gives other logits than the reference")
    return {"stack_bytes": run.stack_bytes, "instructions": run.instructions}
