"""Test that two exports with prefixes of their own work in one firmware, and that a core may be left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.export.board.emulator import emulator_version, run_firmware
from search.export.board.facts import board_facts
from search.export.board.firmware import CORES, Core, compile_files, compiler_version, link_firmware
from search.export.int8.c_source import c_header, c_source
from search.export.int8.reference import run
from tests.search.export.int8.test_c_file import EVERY_FUNCTION, extreme_images, names, texts
from tests.search.made_up_networks import SPECS, quantised

pytestmark = [pytest.mark.board, pytest.mark.usefixtures("one_thread")]

BOTH = """\
#include "first.h"
#include "second.h"
void both(const uint8_t *image, int32_t *logits)
{
    first_logits(image, logits);
    second_logits(image, logits + FIRST_N_CLASSES);
}
"""


@pytest.fixture(autouse=True, scope="module")
def _board_tools() -> None:
    if compiler_version() is None or emulator_version() is None:
        pytest.skip("needs the packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm")


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_two_exports_are_in_one_firmware(core: Core, tmp_path: Path) -> None:
    networks = [quantised(SPECS[f"shared {kind} conv-act-bn silu"]) for kind in ("separable", "residual")]
    files = {"both.c": BOTH}
    for prefix, network in zip(("first", "second"), networks, strict=True):
        files[f"{prefix}.c"] = c_source(network, names(network), prefix)
        files[f"{prefix}.h"] = c_header(network, names(network), prefix)
    images = extreme_images(networks[0].input_shape)
    n_classes = sum(network.n_classes for network in networks)
    program = link_firmware(compile_files(files, core, tmp_path), core, tmp_path, "both", images[0].size, n_classes)
    board = run_firmware(program, core, images, n_classes)
    np.testing.assert_array_equal(board.logits, np.concatenate([run(network, images) for network in networks], 1))


def test_a_core_is_left_out_if_its_compiler_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    network = quantised(EVERY_FUNCTION)
    images = extreme_images(network.input_shape)
    monkeypatch.setitem(CORES, "cortex-m4", replace(CORES["cortex-m4"], flags=("-mcpu=cortex-m99",)))
    files = dict(zip(("model.c", "model.h"), texts(network), strict=True))
    entries = board_facts(files, images, run(network, images))
    assert list(entries["boards"]) == ["cortex-m0plus", "cortex-m7"]
