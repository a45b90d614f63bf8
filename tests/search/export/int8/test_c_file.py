"""Test that the compiled file matches the reference bit for bit, and the message if it cannot be compiled."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.spec import ArchSpec, Block, Head, Stage
from search.engine.native.compiler import NoCompilerError
from search.export.int8 import c_file
from search.export.int8.c_file import CMismatchError, check_c, run_c
from search.export.int8.c_source import c_header, c_source
from search.export.int8.network import Int8Network, UInt8Array
from search.export.int8.reference import run
from tests.search.made_up_networks import SPECS, made_up_images, quantised

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
COMPILER = shutil.which("cc")

pytestmark = pytest.mark.usefixtures("one_thread")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler here")


def names(network: Int8Network) -> list[str]:
    return [f"class {i}" for i in range(network.n_classes)]


def texts(network: Int8Network) -> tuple[str, str]:
    return c_source(network, names(network)), c_header(network, names(network))


def extreme_images(shape: tuple[int, int, int]) -> UInt8Array:
    """Return made-up, black, white and noise images, with values that no range was fitted to."""
    noise = np.random.default_rng(3).integers(0, 256, (4, *shape), np.uint8)
    black, white = np.zeros((1, *shape), np.uint8), np.full((1, *shape), 255, np.uint8)
    return np.concatenate([made_up_images(shape, 6, seed=5).numpy(), noise, black, white])


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", SPECS)
def test_compiled_file_repeats_the_reference_without_a_warning(name: str) -> None:
    network = quantised(SPECS[name])
    images = extreme_images(network.input_shape)
    logits = run_c(*texts(network), images, network.n_classes, ("-std=c99", "-O0", *WARNINGS))
    np.testing.assert_array_equal(logits, run(network, images))


@needs_compiler
def test_check_returns_the_logits_or_reports_a_difference() -> None:
    network = quantised(SPECS["separable conv-bn-act relu"])
    images = made_up_images(network.input_shape, 10).numpy()
    source, header = texts(network)
    np.testing.assert_array_equal(check_c(network, source, header, images), run(network, images))
    changed = source.replace("logits[k] = (int32_t)rescale(sum", "logits[k] = 1 + (int32_t)rescale(sum")
    assert changed != source
    with pytest.raises(
        CMismatchError, match="gives other logits than the reference for 10 of 10 images, first for number 0"
    ):
        check_c(network, changed, header, images)
    # The memory layout of the array must not matter.
    transposed = np.asfortranarray(images)
    np.testing.assert_array_equal(run_c(source, header, transposed, network.n_classes), run(network, images))


@needs_compiler
@pytest.mark.parametrize("command", ["cc -O1", "ccache cc"])
def test_a_command_of_several_words(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which(command.split()[0]):
        pytest.skip(f"no {command.split()[0]} here")
    monkeypatch.setenv("CCACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CC", command)
    network = quantised(SPECS["conv conv-bn-act relu"])
    check_c(network, *texts(network), made_up_images(network.input_shape, 1).numpy())


def test_without_a_compiler_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = quantised(SPECS["conv conv-bn-act relu"])
    images = made_up_images(network.input_shape, 1).numpy()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompilerError, match=r"^no C compiler found \(looked for cc, gcc, clang\)$"):
        check_c(network, *texts(network), images)


@pytest.mark.parametrize(
    ("script", "problem"),
    [("echo 'what is\nthis?' >&2; exit 1", "failed: what is this"), ("exit 0", "model.so"), ("sleep 5", "timed out")],
    ids=["fails", "makes nothing", "hangs"],
)
def test_a_compiler_that_fails(script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(c_file, "COMPILE_SECONDS", 0.3)
    network = quantised(SPECS["conv conv-bn-act relu"])
    with pytest.raises(NoCompilerError, match=problem) as raised:
        run_c(*texts(network), made_up_images(network.input_shape, 1).numpy(), network.n_classes)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) <= 300


# --- the program that scores IDX files ------------------------------------------------------------------------------


def write_idx(path: Path, values: np.ndarray) -> Path:
    path.write_bytes(struct.pack(f">i{values.ndim}i", 0x0800 + values.ndim, *values.shape) + values.tobytes())
    return path


def compile_program(folder: Path, network: Int8Network, *flags: str) -> Path:
    source, header = texts(network)
    (folder / "model.c").write_text(source)
    (folder / "model.h").write_text(header)
    assert COMPILER is not None
    command = [COMPILER, "-std=c99", *flags, *WARNINGS, "-DMODEL_MAIN", "model.c", "-o", "model"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return folder / "model"


def run_program(path: Path, *arguments: Path) -> tuple[int, str, str]:
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def split_of(network: Int8Network, folder: Path, n_wrong: int = 3) -> tuple[Path, Path, int]:
    """Write IDX files of images and labels, and return both paths and the number of images.

    The labels are the answers of the network, except `n_wrong` of them.
    """
    images = extreme_images(network.input_shape)
    labels = run(network, images).argmax(1).astype(np.uint8)
    labels[:n_wrong] += 1
    pictures = images[:, 0] if images.shape[1] == 1 else images
    return write_idx(folder / "images", pictures), write_idx(folder / "labels", labels), len(labels)


@needs_compiler
@pytest.mark.parametrize("name", ["conv conv-bn-act relu", "residual conv-act-bn silu"], ids=["grey", "colour"])
def test_scores_idx_files(name: str, tmp_path: Path) -> None:
    network = quantised(SPECS[name])
    path = compile_program(tmp_path, network, "-O1")
    images, labels, n = split_of(network, tmp_path)
    assert run_program(path, images, labels) == (0, f"{n - 3} of {n} right, {100 * (n - 3) / n:.2f} %\n", "")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return a compiled program with IDX files of images and labels that it can score."""
    folder = tmp_path_factory.mktemp("scorer")
    network = quantised(SPECS["conv conv-bn-act relu"])
    return compile_program(folder, network, "-O0"), *split_of(network, folder)[:2]


@needs_compiler
@pytest.mark.parametrize(
    ("which", "damage", "message"),
    [
        (0, lambda _: b"", "not an IDX file of 14x14 images"),
        (0, lambda content: content[:9], "not an IDX file of 14x14 images"),
        (0, lambda content: b"\1" + content[1:], "not an IDX file of 14x14 images"),
        (0, lambda content: content[:15] + b"\x0f" + content[16:], "not an IDX file of 14x14 images"),
        (0, lambda content: content[:-1], "ends too early"),
        (0, lambda content: content[:4] + b"\0\0\0\0" + content[8:], "not an IDX file of 14x14 images"),
        (1, lambda content: content[:-1], "ends too early"),
        (1, lambda _: b"no labels", "not an IDX file of labels"),
        (1, lambda content: content[:7] + b"\x0b" + content[8:], "not as many labels as there are images"),
        (1, None, "cannot be opened"),
    ],
)
def test_a_bad_file_is_one_line(
    which: int,
    damage: Callable[[bytes], bytes] | None,
    message: str,
    scorer: tuple[Path, Path, Path],
    tmp_path: Path,
) -> None:
    path, *files = scorer
    bad = tmp_path / "bad"
    if damage:
        bad.write_bytes(damage(files[which].read_bytes()))
    files[which] = bad
    assert run_program(path, *files) == (2, "", f"{bad}: {message}\n")


@needs_compiler
def test_usage(scorer: tuple[Path, Path, Path]) -> None:
    path, images, _ = scorer
    assert run_program(path, images) == (2, "", f"usage: {path} IMAGES LABELS (IDX files, the format of MNIST)\n")


def sanitizers_work(folder: Path) -> bool:
    """Return whether the compiler supports sanitizers and such programs run here."""
    (folder / "try.c").write_text("int main(void) { return 0; }\n")
    command = [str(COMPILER), "-fsanitize=address,undefined", "try.c", "-o", "try"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
        subprocess.run([folder / "try"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


EVERY_FUNCTION = ArchSpec(
    (3, 9, 11),
    4,
    (
        Stage((Block(5, order="conv-act-bn", activation="gelu"), Block(6, 3, "residual", "same")), pool=2),
        Stage((Block(7, 3, "separable", "same", order="conv-act-bn"),)),
    ),
    Head("gap_conv", (Block(5, 1),)),
)


@needs_compiler
@pytest.mark.parametrize(
    "spec", [EVERY_FUNCTION, SPECS["separable conv-bn-act relu"], SPECS["residual conv-bn-act hardswish"]]
)
def test_sanitizers_find_nothing(spec: ArchSpec, tmp_path: Path) -> None:
    if not sanitizers_work(tmp_path):
        pytest.skip("no sanitizers here")
    network = quantised(spec)
    path = compile_program(tmp_path, network, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    images, labels, n = split_of(network, tmp_path, n_wrong=0)
    assert run_program(path, images, labels) == (0, f"{n} of {n} right, 100.00 %\n", "")
