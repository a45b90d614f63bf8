"""Test that every core computes the logits of the reference to the bit, and that the sizes are those of the program."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.spec import BLOCK_KINDS, HEAD_KINDS
from search.engine.native.compiler import NoCompilerError
from search.export.board import emulator, facts
from search.export.board.emulator import EmulatorError, emulator_version, run_firmware
from search.export.board.facts import board_facts
from search.export.board.firmware import CORES, Core, compile_files, compiler_version, link_firmware, sizes_of
from search.export.export import export_model
from search.export.int8.arena import plan_arena
from search.export.int8.c_file import CMismatchError, run_c
from search.export.int8.c_source import flash_bytes
from search.export.int8.network import Int8Network
from search.export.int8.reference import run
from tests.search.export.int8.test_c_file import EVERY_FUNCTION, extreme_images, names, texts
from tests.search.export.test_formats import SPECS as SMALL_SPECS
from tests.search.export.test_formats import self_labelled
from tests.search.made_up_networks import SPECS, quantised

ROOT = Path(__file__).parents[4]
WINNER = ROOT / "studies" / "reference" / "winner"
NETWORKS = {
    **{name: spec for name, spec in SPECS.items() if name.startswith("random") or name.endswith("act-bn silu")},
    "thrifty": SPECS["thrifty"],
    "every function": EVERY_FUNCTION,
}

pytestmark = [pytest.mark.board, pytest.mark.usefixtures("one_thread")]
on_every_core = pytest.mark.parametrize("core", CORES.values(), ids=CORES)


@pytest.fixture(autouse=True, scope="module")
def _board_tools() -> None:
    if compiler_version() is None:
        pytest.skip("needs the packages gcc-arm-none-eabi and libnewlib-arm-none-eabi")
    if emulator_version() is None:
        pytest.skip("needs the package qemu-system-arm")


def files_of(network: Int8Network) -> dict[str, str]:
    return dict(zip(("model.c", "model.h"), texts(network), strict=True))


def winner_files() -> dict[str, str]:
    return {name: (WINNER / name).read_text() for name in ("model.c", "model.h")}


def test_the_networks_have_every_block_and_every_head() -> None:
    blocks = {block.kind for spec in NETWORKS.values() for stage in spec.stages for block in stage.blocks}
    assert (blocks, {spec.head.kind for spec in NETWORKS.values()}) == (set(BLOCK_KINDS), set(HEAD_KINDS))


@on_every_core
@pytest.mark.parametrize("name", NETWORKS)
def test_a_core_computes_the_logits_of_the_reference(name: str, core: Core, tmp_path: Path) -> None:
    network = quantised(NETWORKS[name])
    images = extreme_images(network.input_shape)
    objects = compile_files(files_of(network), core, tmp_path)
    # The libraries are libgcc alone, without the C library.
    program = link_firmware(objects, core, tmp_path, "model_logits", images[0].size, network.n_classes)
    board = run_firmware(program, core, images, network.n_classes)
    np.testing.assert_array_equal(board.logits, run(network, images))
    assert 0 < board.stack_bytes < 2000
    sizes = sizes_of(objects)
    assert sizes.ram == plan_arena(network).n_bytes
    # The compiler may put a table of one or two numbers into the code.
    assert 0 <= sum(flash_bytes(network, names(network)).values()) - sizes.constants < 200
    assert all(function.startswith("__aeabi_") for function in sizes.undefined), sizes.undefined


@on_every_core
def test_the_winner_of_the_reference_computes_what_the_host_computes(core: Core, tmp_path: Path) -> None:
    files = winner_files()
    images = extreme_images((1, 28, 28))
    program = link_firmware(compile_files(files, core, tmp_path), core, tmp_path, "model_logits", 784, 10)
    board = run_firmware(program, core, images, 10)
    np.testing.assert_array_equal(board.logits, run_c(files["model.c"], files["model.h"], images, 10))


@on_every_core
def test_sizes_are_those_that_the_usual_tool_prints(core: Core, tmp_path: Path) -> None:
    objects = compile_files(files_of(quantised(EVERY_FUNCTION)), core, tmp_path)
    printed = subprocess.run(["arm-none-eabi-size", *objects], capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, printed.splitlines()[1].split()[:3])
    sizes = sizes_of(objects)
    assert (sizes.code + sizes.constants, sizes.ram) == (text, data + bss)
    assert sizes.code > 500


COUNTED = """\
#include <stdint.h>
static int32_t fill(int32_t value, int32_t *logits)
{
    volatile int32_t values[250];
    for (int32_t i = 0; i < 250; i++)
        values[i] = value;
    *logits = values[value];
    return values[0];
}
void counted(const uint8_t *image, int32_t *logits)
{
    fill(image[0], logits);
    for (uint32_t n = image[1]; n; n--)
        __asm__ volatile("NOPS");
}
""".replace("NOPS", r"nop\n" * 20)


@on_every_core
def test_instructions_and_stack_are_those_of_a_program_that_is_counted_by_hand(core: Core, tmp_path: Path) -> None:
    objects = compile_files({"counted.c": COUNTED}, core, tmp_path)
    program = link_firmware(objects, core, tmp_path, "counted", 2, 1)
    board = run_firmware(program, core, np.array([[7, 0]], np.uint8), 1)
    assert board.logits.tolist() == [[7]]
    assert 1000 <= board.stack_bytes < 1100
    # A mean of 100 rounds of 20 instructions, and of two or three that count the rounds.
    more = run_firmware(program, core, np.array([[7, 50], [9, 150]], np.uint8), 1)
    assert more.logits.tolist() == [[7], [9]]
    assert 2_100 < more.instructions - board.instructions < 2_600


def test_a_fault_is_one_line(tmp_path: Path) -> None:
    core = CORES["cortex-m4"]
    text = (
        "#include <stdint.h>\nvoid bad(const uint8_t *i, int32_t *l)\n{ *l = *(volatile int32_t *)0xf0000000 + *i; }\n"
    )
    program = link_firmware(compile_files({"bad.c": text}, core, tmp_path), core, tmp_path, "bad", 1, 1)
    with pytest.raises(EmulatorError, match=r"^the compiled model.c fails on the emulated board mps2-an386: a fault$"):
        run_firmware(program, core, np.zeros((1, 1), np.uint8), 1)


def test_a_program_without_its_function_is_not_linked(tmp_path: Path) -> None:
    core = CORES["cortex-m4"]
    objects = compile_files({"a.c": "void memmove(void); void f(void) { memmove(); }"}, core, tmp_path)
    assert sizes_of(objects).undefined == ("memmove",)
    with pytest.raises(NoCompilerError, match="undefined reference to `memmove'"):
        link_firmware(objects, core, tmp_path, "f", 1, 1)


# --- the card --------------------------------------------------------------------------------------------------------


def test_facts_of_the_card() -> None:
    network = quantised(EVERY_FUNCTION)
    images = extreme_images(network.input_shape)
    logits = run(network, images)
    entries = board_facts(files_of(network), images, logits)
    assert entries == board_facts(files_of(network), images, logits)
    assert list(entries["boards"]) == list(CORES)
    for core in entries["boards"].values():
        assert list(core) == [
            "code_bytes",
            "constant_bytes",
            "ram_bytes",
            "libgcc",
            "stack_bytes",
            "instructions",
        ]
        assert core["ram_bytes"] == plan_arena(network).n_bytes
    assert entries["board_tools"] == f"arm-none-eabi-gcc {compiler_version()} -O2, QEMU {emulator_version()}"
    with pytest.raises(CMismatchError, match=r"^model.c compiled for Cortex-M0\+ gives other logits"):
        board_facts(files_of(network), images, logits + 1)


def test_readme_shows_the_facts(tmp_path: Path) -> None:
    source, data = self_labelled(SMALL_SPECS["thrifty"])
    card = export_model(source, data, tmp_path / "model", ["c"])
    form, macs = card["formats"]["c"], card["cost"]["macs"]
    readme = (tmp_path / "model" / "README.md").read_text()
    for name, facts_of_core in form["boards"].items():
        n_bytes = [facts_of_core[f"{kind}_bytes"] for kind in ("code", "constant", "ram", "stack")]
        instructions = facts_of_core["instructions"]
        cells = [CORES[name].title, *map("{:,}".format, [*n_bytes, instructions]), f"{instructions / macs:.1f}"]
        assert f"| {' | '.join(cells)} | " in readme
    for row in form["layers"]:
        cells = [row["layer"], row["shape"], *(f"{row[kind]:,}" for kind in ("macs", "constant_bytes", "map_bytes"))]
        assert f"| {' | '.join(cells)} |" in readme
    assert form["board_tools"] in readme


def test_without_the_compiler_there_are_no_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = quantised(EVERY_FUNCTION)
    images = extreme_images(network.input_shape)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert board_facts(files_of(network), images, run(network, images)) == {}


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\necho version 4.2.1", "no program"], ids=["without the boards", "no program"]
)
def test_an_emulator_that_cannot_run_the_boards_is_left_out(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "qemu-system-arm"
    path.write_text(script)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert emulator_version() is None


def test_without_a_core_there_are_no_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = quantised(EVERY_FUNCTION)
    images = extreme_images(network.input_shape)
    for name, core in CORES.items():
        monkeypatch.setitem(CORES, name, replace(core, flags=("-mcpu=cortex-m99",)))
    assert board_facts(files_of(network), images, run(network, images)) == {}


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(facts, "emulator_version", lambda: None), (emulator, "EMULATE_SECONDS", 0.001)],
    ids=["no emulator", "too slow"],
)
def test_sizes_remain_without_a_run(module: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    network = quantised(EVERY_FUNCTION)
    images = extreme_images(network.input_shape)
    monkeypatch.setattr(module, name, value)
    entries = board_facts(files_of(network), images, run(network, images))
    assert [list(core) for core in entries["boards"].values()] == [
        ["code_bytes", "constant_bytes", "ram_bytes", "libgcc"]
    ] * len(CORES)
