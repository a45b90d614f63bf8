"""Compile C files for microcontrollers, measure their sizes, and link them with the firmware of an emulated board."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.engine.native.compiler import NoCompilerError, run_compiler

COMPILER = "arm-none-eabi-gcc"
# A function or a table in a section of its own is left out by the linker if nothing uses it.
FLAGS = ("-std=c99", "-mthumb", "-ffunction-sections", "-fdata-sections")
LEVEL = "-O2"
COMPILE_SECONDS = 120


@dataclass(frozen=True)
class Core:
    """Processor core, with the flags that compile for it and the board of QEMU that runs its code.

    QEMU has no board with a Cortex-M0+ and enough memory. Its code runs on a Cortex-M3, which has all its instructions.
    """

    title: str
    machine: str
    flags: tuple[str, ...]


CORES = {
    "cortex-m0plus": Core("Cortex-M0+", "mps2-an385", ("-mcpu=cortex-m0plus",)),
    "cortex-m4": Core("Cortex-M4", "mps2-an386", ("-mcpu=cortex-m4",)),
    "cortex-m7": Core("Cortex-M7", "mps2-an500", ("-mcpu=cortex-m7",)),
}


@dataclass(frozen=True)
class Sizes:
    """Bytes of object files by kind, and the functions that they need from elsewhere.

    code       machine code, with the numbers that the compiler stores beside it
    constants  tables that are only read
    ram        static variables
    undefined  names of the functions that other files or libraries must provide
    """

    code: int
    constants: int
    ram: int
    undefined: tuple[str, ...]


def compiler_version() -> str | None:
    """Return the version of the compiler, or None if it is missing or has no header of the C library."""
    try:
        run_compiler([COMPILER, "-fsyntax-only", "-include", "stdint.h", "-x", "c", os.devnull], COMPILE_SECONDS)
        return run_compiler([COMPILER, "-dumpfullversion"], COMPILE_SECONDS).strip()
    except (OSError, subprocess.SubprocessError, NoCompilerError):
        return None


def compile_files(files: Mapping[str, str], core: Core, folder: Path, flags: Sequence[str] = (LEVEL,)) -> list[Path]:
    """Write `files`, text by name, to `folder`, and return the object files of those whose names end in .c.

    Raises NoCompilerError if one does not compile.
    """
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    sources = [folder / name for name in files if name.endswith(".c")]
    return [compile_file(source, core, source.with_suffix(".o"), flags) for source in sources]


def compile_file(source: Path, core: Core, target: Path, flags: Sequence[str] = (LEVEL,)) -> Path:
    """Compile one file to `target`, and return that path. Raises NoCompilerError if it does not compile."""
    command = [COMPILER, *FLAGS, *core.flags, *flags, "-c", str(source), "-o", str(target)]
    run_compiler(command, COMPILE_SECONDS)
    return target


def sizes_of(objects: Iterable[Path]) -> Sizes:
    """Return the bytes that object files need together. Sections that describe the code to a debugger do not count."""
    paths = [str(path) for path in objects]
    n_bytes = dict.fromkeys((".text", ".rodata", ".data", ".bss"), 0)
    for line in run_compiler(["arm-none-eabi-size", "-A", *paths], COMPILE_SECONDS).splitlines():
        section, _, rest = line.partition(" ")
        kind = "." + section.split(".")[1] if section.startswith(".") else ""
        if kind in n_bytes:
            n_bytes[kind] += int(rest.split()[0])
    symbols = run_compiler(["arm-none-eabi-nm", "--undefined-only", *paths], COMPILE_SECONDS).splitlines()
    undefined = sorted({line.split()[-1] for line in symbols if line.split()[:1] == ["U"]})
    return Sizes(n_bytes[".text"], n_bytes[".rodata"], n_bytes[".data"] + n_bytes[".bss"], tuple(undefined))


def link_firmware(
    objects: Iterable[Path],
    core: Core,
    folder: Path,
    function: str,
    image_bytes: int,
    n_classes: int,
    libraries: Sequence[str] = ("-lgcc",),
) -> Path:
    """Link object files with the firmware of board.c, without the C library, and return the path of the program.

    function   name of the function that computes the logits
    libraries  further arguments of the linker

    Raises NoCompilerError if a function is missing or the program is too large for the board.
    """
    settings = (f"-DLOGITS={function}", f"-DIMAGE_BYTES={image_bytes}", f"-DN_CLASSES={n_classes}")
    # Otherwise the compiler may turn a loop into a call of memset, which no library provides here.
    flags = (LEVEL, "-fno-tree-loop-distribute-patterns", *settings)
    board = compile_file(Path(__file__).with_name("board.c"), core, folder / "board.o", flags)
    program = folder / "board.elf"
    script = Path(__file__).with_name("board.ld")
    command = [COMPILER, *FLAGS, *core.flags, "-nostdlib", "-Wl,--gc-sections", "-T", str(script), str(board)]
    command += [*map(str, objects), *libraries, "-o", str(program)]
    run_compiler(command, COMPILE_SECONDS)
    return program
