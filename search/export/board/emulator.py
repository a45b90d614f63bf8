"""Run the firmware of a board in QEMU, and read the logits, the executed instructions and the stack."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.errors import FailureError
from search.export.board.firmware import Core
from search.export.int8.network import Int32Array, UInt8Array

EMULATOR = "qemu-system-arm"
# With `-icount shift=0` an instruction takes 1 ns of the board's time, and its timer counts at 25 MHz.
INSTRUCTIONS_PER_TICK = 40
EMULATE_SECONDS = 60


class EmulatorError(FailureError):
    """Error of a firmware that ends with a fault."""


@dataclass(frozen=True)
class BoardRun:
    """Results of a firmware for N images.

    logits        (N, classes)
    instructions  mean number of executed instructions for an image
    stack_bytes   bytes of stack below the caller of the network's function, for the image that needs most
    """

    logits: Int32Array
    instructions: int
    stack_bytes: int


def emulator_version() -> str | None:
    """Return the version of the emulator, or None if it is missing."""
    if shutil.which(EMULATOR) is None:
        return None
    output = subprocess.run([EMULATOR, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\S+)", output)
    return match[1] if match else None


def run_firmware(program: Path, core: Core, images: UInt8Array, n_classes: int) -> BoardRun:
    """Run a program of `link_firmware` on uint8 images (N, C, H, W). Its files are written beside it.

    QEMU counts instructions and no cycles: it has no caches and no wait states.
    Raises EmulatorError if the program ends with a fault, and subprocess.TimeoutExpired if it takes too long.
    """
    folder = program.parent
    (folder / "images").write_bytes(np.ascontiguousarray(images).tobytes())
    command = [EMULATOR, "-machine", core.machine, "-icount", "shift=0", "-kernel", program.name]
    command += ["-display", "none", "-serial", "none", "-monitor", "none"]
    command += ["-semihosting-config", "enable=on,target=native"]
    ended = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=EMULATE_SECONDS,
    )
    if ended.returncode:
        output = " ".join(ended.stderr.split())
        raise EmulatorError(f"the compiled model.c fails on the emulated board {core.machine}: {output or 'a fault'}")
    numbers = np.fromfile(folder / "results", np.dtype("<i4"))
    rows = numbers[:-1].reshape(len(images), n_classes + 1)
    ticks = rows[:, -1].astype(np.uint32).astype(np.int64)
    instructions = round(INSTRUCTIONS_PER_TICK * float(ticks.mean()))
    return BoardRun(rows[:, :-1].astype(np.int32), instructions, int(numbers[-1]))
