"""Test that old compilers and big-endian processors get code without the instructions for digital signals."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.engine.native.compiler import run_compiler
from search.export.board.firmware import COMPILER, CORES, compile_file, compiler_version
from tests.search.export.int8.test_c_file import EVERY_FUNCTION, WARNINGS, texts
from tests.search.made_up_networks import quantised

pytestmark = [pytest.mark.board, pytest.mark.usefixtures("one_thread")]
OLD = ("-U__GNUC__", "-D__GNUC__=9")


def cut_header(folder: Path) -> str:
    """Write arm_acle.h as GCC 9 has it, without the instructions for several numbers at a time, and return its flag."""
    path = Path(run_compiler([COMPILER, "-print-file-name=include"], 60).strip()) / "arm_acle.h"
    text, _, _ = path.read_text().partition("#ifdef __ARM_FEATURE_SIMD32")
    (folder / "arm_acle.h").write_text(text + "#endif\n")
    return f"-I{folder}"


@pytest.mark.parametrize(
    ("flags", "has_signals"),
    [((), True), (OLD, False), (("-mbig-endian",), False)],
    ids=["GCC of today", "GCC 9", "big-endian"],
)
def test_signals_are_for_new_compilers_and_little_endian_processors(
    flags: tuple[str, ...], has_signals: bool, tmp_path: Path
) -> None:
    if compiler_version() is None:
        pytest.skip("needs the packages gcc-arm-none-eabi and libnewlib-arm-none-eabi")
    for name, text in zip(("model.c", "model.h"), texts(quantised(EVERY_FUNCTION, n_images=20)), strict=True):
        (tmp_path / name).write_text(text)
    header = (cut_header(tmp_path),) if flags == OLD else ()
    options = ("-O2", *WARNINGS, *flags, *header)
    program = compile_file(tmp_path / "model.c", CORES["cortex-m4"], tmp_path / "model.o", options)
    code = run_compiler(["arm-none-eabi-objdump", "-d", str(program)], 60)
    assert [word in code for word in ("smlad", "sxtb16")] == [has_signals] * 2
