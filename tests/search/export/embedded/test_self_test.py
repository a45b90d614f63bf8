"""Test model_test.h: which images it holds, and that the self-test notices every other logit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from search.export.embedded.self_test import MAX_BYTES, MAX_IMAGES, self_test_header, self_test_images
from search.export.int8.c_source import c_header, c_source
from search.export.int8.network import Int8Network
from search.export.int8.reference import run
from tests.search.made_up_networks import SPECS, made_up_images, quantised

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
CALL = '#include "model_test.h"\nint main(void) { return model_self_test(); }\n'

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("labels", "answers", "image_bytes", "numbers"),
    [
        ([1, 0, 1, 0], [0, 0, 1, 0], 1, [1, 2]),
        ([2, 0, 2], [0, 2, 1], 1, [1, 0]),
        (range(40), range(40), 1, list(range(MAX_IMAGES))),
        (range(40), range(40), MAX_BYTES // 3, [0, 1, 2]),
        (range(40), range(40), 2 * MAX_BYTES, [0]),
    ],
    ids=["right answers first", "a class without one", "many classes", "large images", "huge images"],
)
def test_one_image_of_each_class_as_long_as_they_are_few(
    labels: list[int], answers: list[int], image_bytes: int, numbers: list[int]
) -> None:
    assert self_test_images(labels, answers, image_bytes) == numbers


def written(network: Int8Network, folder: Path, prefix: str = "model") -> str:
    """Write the C files of a network, with a self-test on made-up images, and return the header of the self-test."""
    images = made_up_images(network.input_shape, 12).numpy()
    logits = run(network, images)
    classes = [f"class */ {i}" for i in range(network.n_classes)]
    labels = [i % network.n_classes for i in range(len(images))]
    header = self_test_header(images, logits, labels, classes, prefix)
    texts = {
        f"{prefix}.c": c_source(network, classes, prefix),
        f"{prefix}.h": c_header(network, classes, prefix),
        f"{prefix}_test.h": header,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return header


def status_of_self_test(folder: Path, prefix: str = "model") -> int:
    (folder / "main.c").write_text(CALL.replace("model", prefix))
    command = ["cc", "-std=c99", *WARNINGS, "main.c", f"{prefix}.c", "-o", "main"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return subprocess.run([folder / "main"], check=False, timeout=60).returncode


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
@pytest.mark.parametrize("prefix", ["model", "digits"])
def test_the_self_test_returns_the_first_image_with_other_logits(prefix: str, tmp_path: Path) -> None:
    network = quantised(SPECS["separable conv-bn-act relu"])
    header = written(network, tmp_path, prefix)
    assert status_of_self_test(tmp_path, prefix) == 0
    start = header.index(f"{prefix}_test_logits")
    rows = list(re.finditer(r"-?\d+(?=,\n    \})", header[start:]))  # the last logit of each row
    assert len(rows) == min(network.n_classes, MAX_IMAGES)
    end = start + rows[2].end()
    (tmp_path / f"{prefix}_test.h").write_text(header[: start + rows[2].start()] + "1" + header[end:])
    assert status_of_self_test(tmp_path, prefix) == 3


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
def test_a_cpp_compiler_accepts_it(tmp_path: Path) -> None:
    written(quantised(SPECS["conv conv-bn-act relu"]), tmp_path)
    (tmp_path / "main.cpp").write_text(CALL)
    command = ["c++", "-std=c++11", *WARNINGS, "-fsyntax-only", "main.cpp"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


def test_the_images_are_those_of_the_network_and_nothing_is_left_to_fill_in(tmp_path: Path) -> None:
    network = quantised(SPECS["residual conv-act-bn silu"])
    header = written(network, tmp_path)
    assert "$" not in header
    n_images = min(network.n_classes, MAX_IMAGES)
    assert f"The images take {n_images * int(np.prod(network.input_shape)):,} bytes of flash." in header
    assert f"#define MODEL_TEST_IMAGES {n_images}\n" in header
    assert max(map(len, header.splitlines())) <= 120
