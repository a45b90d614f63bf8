"""Test the text of model.c and model.h."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models.cost import compute_cost
from models.spec import ArchSpec
from search.export.int8.arena import plan_arena
from search.export.int8.c_layers import LAYERS
from search.export.int8.c_source import c_header, c_source, flash_bytes
from search.export.int8.network import Convolution
from tests.search.export.int8.test_c_file import AWKWARD, EVERY_FUNCTION, names, needs_compiler, texts
from tests.search.made_up_networks import SPECS, quantised

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = SPECS["residual conv-act-bn gelu"]
NETWORKS = SPECS | AWKWARD


def test_equal_networks_give_equal_bytes() -> None:
    first, second = quantised(SPEC), quantised.__wrapped__(SPEC)
    assert texts(first) == texts(second)
    assert c_source(first, names(first)) != c_source(quantised(SPEC, seed=1), names(first))


def test_opening_says_what_the_file_needs() -> None:
    network = quantised(SPEC)
    source = c_source(network, names(network))
    opening = " ".join(source.partition("*/")[0].replace(" * ", " ").split())
    flash = flash_bytes(network, names(network))
    assert opening.startswith(f"/* {compute_cost(SPEC).n_params:,} parameters as int8, for 2x15x13 images of uint8")
    assert f"Flash: {sum(flash.values()):,} bytes of constants (weights {flash['weights']:,}, biases" in opening
    assert f"RAM: {plan_arena(network).n_bytes:,} bytes for all maps" in opening
    assert "The image and the logits belong to the caller and are not counted" in opening
    assert f"Quantised {network.method}: int8 weights" in opening
    assert f"#define MODEL_ARENA_BYTES {plan_arena(network).n_bytes}\n" in c_header(network, names(network))
    assert "share" not in opening


def test_shared_weights_are_written_once() -> None:
    network = quantised(SPECS["thrifty"])
    opening = " ".join(c_source(network, names(network)).partition("*/")[0].replace(" * ", " ").split())
    cost = compute_cost(SPECS["thrifty"])
    counts = f"{cost.n_params:,} parameters, {cost.n_stored:,} counted layer by layer"
    assert opening.startswith(f"/* {counts} as int8, for 2x16x14 images of uint8 and 10 classes")
    assert "Layers that share weights read the same array." in opening
    # All parameters but the biases of batch norm; an odd number of filters is filled up; the single factor of the head
    # is one for each class.
    n_biases, n_filled = 5 + 4 * 12, 2 * 9
    assert flash_bytes(network, names(network))["weights"] == cost.n_params - n_biases + n_filled - 1 + 10


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS)
def test_text(spec: ArchSpec) -> None:
    network = quantised(spec)
    has_sums = any(isinstance(step, Convolution) for step in network.steps)
    for text in texts(network):
        assert max(map(len, text.splitlines())) <= 120
        assert text.isascii()
        assert text.endswith("\n")
        assert not re.search(r"[ \t]\n|\t", text)
    source = texts(network)[0].partition("#ifdef MODEL_MAIN")[0]
    included = re.findall(r"#include (.+)", source)
    assert included == ['"model.h"', "<immintrin.h>", "<arm_acle.h>"] or (included == ['"model.h"'] and not has_sums)
    code = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    assert not re.search(r"\b(float|double|malloc|free)\b|\d\.\d", code)
    # Each function and each table is used.
    for function in re.findall(r"^static .*?(\w+)\(", code, re.MULTILINE):
        assert len(re.findall(rf"\b{function}\b", code)) > 1, function
    for table in re.findall(r"static const MODEL_FLASH \w+ (\w+)(?:\[\d+\])? = ", code):
        assert code.count(table) >= 2


def test_every_function_is_reached() -> None:
    sources = [texts(quantised(spec))[0] for spec in [*SPECS.values(), EVERY_FUNCTION]]
    used = {name for source in sources for name in LAYERS if f" {name}(" in source}
    assert used == LAYERS.keys()


def test_weights_are_counted_once() -> None:
    network = quantised(EVERY_FUNCTION)
    convolutions = [step for step in network.steps if isinstance(step, Convolution)]
    filled = [step.weight[0].size for step in convolutions if len(step.weight) % 2 and step.groups == 1]
    flash = flash_bytes(network, names(network))
    n_weights = sum(step.weight.size for step in [*convolutions, network.last])
    assert len(filled) == 3
    assert flash["weights"] == n_weights + sum(filled)
    assert flash["descriptions of convolutions"] == 44 * len(convolutions)
    assert flash["activation tables"] == 256
    assert flash["class names"] == 4 * len("class 0\0")
    assert "activation tables" not in flash_bytes(quantised(SPECS["conv conv-bn-act relu"]), ["a"] * 10)


@needs_compiler
@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm here")
@pytest.mark.parametrize("spec", [EVERY_FUNCTION, SPECS["separable conv-bn-act silu"], SPECS["conv conv-act-bn relu"]])
def test_stated_bytes_are_those_in_the_object(spec: object, tmp_path: Path) -> None:
    network = quantised(spec)  # type: ignore[arg-type]
    source, header = texts(network)
    (tmp_path / "model.c").write_text(source)
    (tmp_path / "model.h").write_text(header)
    subprocess.run(["cc", "-std=c99", "-O0", "-c", "model.c"], cwd=tmp_path, check=True, timeout=60)
    symbols = subprocess.run(["nm", "-S", "model.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    sizes: dict[str, int] = {}
    for _, size, kind, name in (line.split() for line in symbols.splitlines() if len(line.split()) == 4):
        # The descriptions have longer addresses here.
        group = "descriptions" if re.fullmatch(r"step\d+", name) else kind.lower()
        sizes[group] = sizes.get(group, 0) + int(size, 16)
    flash = flash_bytes(network, names(network))
    assert sizes["r"] == sum(flash.values()) - flash["descriptions of convolutions"]
    assert sizes["b"] == plan_arena(network).n_bytes
    assert "d" not in sizes


@needs_compiler
def test_names_of_classes_are_compiled_unchanged(tmp_path: Path) -> None:
    classes = ['say "no"', "back\\slash", "grün??/", "3\n7"]
    network = quantised(EVERY_FUNCTION)
    (tmp_path / "model.c").write_text(c_source(network, classes))
    (tmp_path / "model.h").write_text(c_header(network, classes))
    (tmp_path / "print.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void) { for (int k = 0; k < MODEL_N_CLASSES; k++) '
        'printf("%s|", MODEL_CLASSES[k]); printf("%d %d %d %.17g", MODEL_CHANNELS, MODEL_HEIGHT, MODEL_WIDTH, '
        "(double)MODEL_LOGIT_SCALE); return 0; }\n"
    )
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "model.c", "print.c", "-o", "print"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    printed = subprocess.run([tmp_path / "print"], capture_output=True, check=True, timeout=60).stdout.decode()
    assert printed == "|".join([*classes, f"3 9 11 {np.float32(network.logit_scale):.17g}"])


@needs_compiler
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
def test_a_cpp_compiler_accepts_it(tmp_path: Path) -> None:
    source, header = texts(quantised(EVERY_FUNCTION))
    (tmp_path / "model.cpp").write_text(source)
    (tmp_path / "model.h").write_text(header)
    command = ["c++", "-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-DMODEL_MAIN", "model.cpp"]
    subprocess.run([*command, "-fsyntax-only"], cwd=tmp_path, check=True, timeout=60)


@needs_compiler
def test_the_margin_is_the_distance_between_the_two_largest_logits(tmp_path: Path) -> None:
    network = quantised(SPEC)
    for name, text in zip(("model.c", "model.h"), texts(network), strict=True):
        (tmp_path / name).write_text(text)
    command = ["cc", "-std=c99", "-shared", "-fPIC", "model.c", "-o", "model.so"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    function, margin = ctypes.CDLL(str(tmp_path / "model.so")).model_answer, ctypes.c_uint32()
    low, high = -(2**31), 2**31 - 1
    rows = np.random.default_rng(0).integers(-9, 9, (50, network.n_classes)).tolist()
    for row in [*rows, [low] * network.n_classes, [low, high, *[low] * (network.n_classes - 2)]]:
        logits = (ctypes.c_int32 * network.n_classes)(*row)
        assert function(logits, ctypes.byref(margin)) == np.argmax(row) == function(logits, None)
        second, first = sorted(row)[-2:]
        assert margin.value == first - second


def test_the_comments_say_what_an_image_looks_like_and_where_the_network_comes_from() -> None:
    network = quantised(SPEC)
    source = c_source(network, names(network), origin=["Written on a rainy day.", "Licence: none."])
    assert " *\n * Written on a rainy day.\n *\n * Licence: none.\n */\n\n#include" in source
    header = c_header(network, names(network), input_note="An image is dark.")
    assert "\n/*\n * An image is dark.\n */\n" in header


def test_each_class_needs_a_name() -> None:
    with pytest.raises(ValueError, match="4 classes have 3 names"):
        c_source(quantised(EVERY_FUNCTION), ["a", "b", "c"])
