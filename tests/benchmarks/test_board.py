"""Test that the table of emulated boards has the figures of the card, and the table of times its ratios."""

from __future__ import annotations

import pytest

from benchmarks.board import board_lines, time_lines
from benchmarks.board_generators import Program
from search.export.board.emulator import emulator_version
from search.export.board.facts import board_facts
from search.export.board.firmware import compiler_version
from search.export.int8.reference import run
from tests.search.export.int8.test_c_file import texts
from tests.search.made_up_networks import SPECS, made_up_images, quantised


@pytest.mark.board
@pytest.mark.usefixtures("one_thread")
def test_boards() -> None:
    if compiler_version() is None or emulator_version() is None:
        pytest.skip("needs the packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm")
    network = quantised(SPECS["conv conv-bn-act relu"])
    images = made_up_images(network.input_shape, 3).numpy()
    files = dict(zip(("model.c", "model.h"), texts(network), strict=True))
    facts = board_facts(files, images, run(network, images))["boards"]
    title, first, second, note = board_lines([Program("now", files)], images, network.n_classes, 1000)
    assert title.split()[:3] == ["flash", "RAM", "stack"]
    assert note == "Flash, RAM and stack are bytes at -O2."
    for line, name, core in ((first, "cortex-m4", "Cortex-M4"), (second, "cortex-m0plus", "Cortex-M0+")):
        words = line.replace(",", "").split()
        assert words[:2] == [core, "now"]
        flash, ram, stack, instructions = map(int, words[2:6])
        # With what is linked of libgcc, and without functions that nothing calls.
        assert flash == pytest.approx(facts[name]["code_bytes"] + facts[name]["constant_bytes"], abs=1000)
        assert [ram, stack, instructions] == [facts[name][key] for key in ("ram_bytes", "stack_bytes", "instructions")]
        assert float(words[6]) == pytest.approx(instructions / 1000, abs=0.06)


def test_times() -> None:
    calls: list[str] = []
    lines = list(time_lines({name: lambda name=name: calls.append(name) for name in ("a", "b")}, rounds=2))
    assert [line.split()[0] for line in lines] == ["ms", "a", "b", "Medians"]
    assert lines[2].split()[-1] == "1.00"
    assert calls.count("a") == calls.count("b") == 42
