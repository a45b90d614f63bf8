"""Compare model.c with earlier versions of it and with other programs, on emulated boards and on this machine.

    python -m benchmarks.board [--folder FOLDER] [--before COMMIT] [--emx COMMAND] [--bakenn DIR] [--rounds 20]

The folder is an export with the formats c, onnx and onnx-int8 that is tracked in git. `--before` takes its model.c from
a commit, and may be repeated. Two public generators of PyPI may be compared, each best in an environment of its own:

--emx     command of emx-onnx-cgen, whose float code is compiled for the floating-point unit of Cortex-M4
--bakenn  site-packages with BakeNN, whose int8 code calls the kernels of CMSIS-NN; it quantises with few images, so
          its answers are not compared

Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.

Flash is that of the linked program without the firmware, so with what it needs of libraries. Instructions are executed
ones in an emulator, not cycles. The times on this machine are medians of rounds that run the programs in turn, on one
thread, one image at a time. Run it while the machine has no other load.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.board_generators import Program, bakenn_program, emx_program
from search.config import DataConfig
from search.data.load import load_dataset
from search.engine.native.compiler import find_compiler, run_compiler
from search.export.board.emulator import run_firmware
from search.export.board.firmware import CORES, compile_files, link_firmware, sizes_of
from search.export.formats.onnx import open_onnx
from search.export.int8.c_file import COMPILERS, open_c
from search.export.int8.network import UInt8Array

LEVELS = ("-O2", "-O3")
HOST_LEVELS = ("-O2", "-O3", "-O3 -march=native")
MEASURED_CORES = ("cortex-m4", "cortex-m0plus")
LIBRARIES = ("-lm", "-lc", "-lgcc")
N_BOARD_IMAGES, N_TIMED_CALLS = 3, 20


@dataclass(frozen=True)
class Measurement:
    """Figures of a program on a core: bytes of flash, static RAM and stack, and instructions an image."""

    flash: int
    ram: int
    stack: int
    instructions: int


def exported_program(name: str, folder: Path, commit: str | None = None) -> Program:
    """Return model.c of an exported folder as it is, or as it was at a commit."""

    def text(file: str) -> str:
        if commit is None:
            return (folder / file).read_text(encoding="utf-8")
        command = ["git", "show", f"{commit}:./{file}"]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    return Program(name, {file: text(file) for file in ("model.c", "model.h")})


def measure(program: Program, core_name: str, level: str, images: UInt8Array, n_classes: int) -> Measurement:
    """Compile a program for a core, and run it on the core's emulated board."""
    core = replace(CORES[core_name], flags=(*CORES[core_name].flags, *program.flags))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # -std=c99 stands before; generators of other projects need a later standard.
        objects = compile_files(program.files, core, folder, (level, "-std=gnu11"))
        linked = link_firmware(objects, core, folder, program.function, images[0].size, n_classes, LIBRARIES)
        run = run_firmware(linked, core, images, n_classes)
        whole, firmware, ram = sizes_of([linked]), sizes_of([folder / "board.o"]), sizes_of(objects).ram
    flash = whole.code + whole.constants - firmware.code - firmware.constants
    return Measurement(flash, ram, run.stack_bytes, run.instructions)


def board_lines(programs: Sequence[Program], images: UInt8Array, n_classes: int, macs: int) -> Iterator[str]:
    """Yield the lines of the table of emulated boards."""
    levels = "".join(f"{'instructions ' + level:>18} {'a mult.-add':>12}" for level in LEVELS)
    yield f"{'':12}{'':28}{'flash':>8} {'RAM':>8} {'stack':>9}{levels}"
    for core_name in MEASURED_CORES:
        for program in programs:
            if core_name not in program.cores:
                continue
            rows = [measure(program, core_name, level, images, n_classes) for level in LEVELS]
            counts = "".join(f"{row.instructions:18,} {row.instructions / macs:12.1f}" for row in rows)
            sizes = f"{rows[0].flash:8,} {rows[0].ram:8,} {rows[0].stack:9,}"
            yield f"{CORES[core_name].title:12}{program.name:28}{sizes}{counts}"
    yield "Flash, RAM and stack are bytes at -O2."


def timed_calls(folder: Path, card: Mapping[str, Any], image: UInt8Array) -> dict[str, Callable[[], object]]:
    """Return functions that run the files of the folder on one image (1, C, H, W), by name."""
    source, header = ((folder / name).read_text(encoding="utf-8") for name in ("model.c", "model.h"))
    calls: dict[str, Callable[[], object]] = {}
    for level in HOST_LEVELS:
        function = open_c(source, header, len(card["data"]["classes"]), ("-std=c99", *level.split()))
        calls[f"model.c {level}"] = lambda function=function: function(image)  # type: ignore[misc]
    mean, std = (torch.tensor(card["data"][name]).view(-1, 1, 1) for name in ("mean", "std"))
    inputs = (torch.from_numpy(image) / 255 - mean) / std
    for title, name in (("onnxruntime float", "model.onnx"), ("onnxruntime int8", "model-int8.onnx")):
        session = open_onnx(folder / name)
        calls[title] = lambda session=session: session(inputs)  # type: ignore[misc]
    return calls


def time_lines(calls: Mapping[str, Callable[[], object]], rounds: int) -> Iterator[str]:
    """Yield the lines of the table of times, with the ratio of each to the last."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            for _ in range(N_TIMED_CALLS):
                call()
            seconds[name].append((time.perf_counter() - start) / N_TIMED_CALLS)
    medians = {name: 1000 * median(values) for name, values in seconds.items()}
    reference = list(medians)[-1]
    yield f"{'':28}{'ms an image':>12} {'ratio':>7}"
    for name, value in medians.items():
        yield f"{name:28}{value:12.3f} {value / medians[reference]:7.2f}"
    compiler = run_compiler([*find_compiler("C", "CC", COMPILERS), "--version"], 10).splitlines()[0]
    yield f"Medians of {rounds} rounds of {N_TIMED_CALLS} calls; {compiler}."


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("studies/reference/winner"))
    parser.add_argument("--before", action="append", default=[], metavar="COMMIT")
    parser.add_argument("--emx", metavar="COMMAND")
    parser.add_argument("--bakenn", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    card = json.loads((args.folder / "card.json").read_text(encoding="utf-8"))
    data = load_dataset(DataConfig(card["data"]["name"], args.data_dir))
    images = np.ascontiguousarray(data.test.images[:N_BOARD_IMAGES].numpy())
    programs = [exported_program(f"model.c of {commit}", args.folder, commit) for commit in args.before]
    programs.append(exported_program("model.c", args.folder))
    with tempfile.TemporaryDirectory() as scratch:
        if args.bakenn:
            programs.append(bakenn_program(args.bakenn, args.folder, card, data, Path(scratch)))
        if args.emx:
            programs.append(emx_program(args.emx, args.folder, card))
        for line in board_lines(programs, images, len(data.classes), card["cost"]["macs"]):
            print(line, flush=True)
    print()
    for line in time_lines(timed_calls(args.folder, card, images[:1]), args.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
