"""Test that the compiled file matches the reference bit for bit, and the message if it cannot be compiled."""

from __future__ import annotations

import functools
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.spec import ArchSpec, Block, Head, Stage
from search.engine.native.compiler import NoCompilerError
from search.export.int8 import c_file
from search.export.int8.c_file import CMismatchError, check_c, run_c
from search.export.int8.c_source import c_header, c_source, flash_bytes
from search.export.int8.network import Convolution, Int8Network, UInt8Array
from search.export.int8.reference import run
from tests.search.made_up_networks import SPECS, made_up_images, quantised

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
COMPILER = shutil.which("cc")
STAND_INS = Path(__file__).parent

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


EVERY_FUNCTION = ArchSpec(
    (3, 9, 11),
    4,
    (
        Stage((Block(5, order="conv-act-bn", activation="gelu"), Block(6, 3, "residual", "same")), pool=2),
        Stage(
            (
                Block(6, 3, "separable", "same", order="conv-act-bn"),
                Block(9, 3, "shuffle", "same", groups=3, squeeze=2),
            ),
            2,
            "avg",
        ),
    ),
    Head("gap_conv", (Block(5, 1),)),
)

# The ways in which the file computes sums: with the vectors that every processor of this kind has, with longer ones and
# with their instruction for sums of products, without vectors, and with the instructions for digital signals of
# Cortex-M, for which functions of the same names stand.
WAYS = {
    "vectors": (),
    "longer vectors": ("-mavx2",),
    "sums of products": ("-mavx2", "-mavx512vl", "-mavx512vnni"),
    "plain": ("-U__SSE2__", "-U__ARM_NEON"),
    "signals": ("-U__SSE2__", "-U__ARM_NEON", "-D__ARM_FEATURE_DSP=1", f"-I{STAND_INS}"),
}


@functools.cache
def processor_features() -> frozenset[str]:
    """Return the names of the processor's features without underscores; none if the system does not list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().replace("_", "").splitlines()
    except OSError:
        return frozenset()
    return frozenset(word for line in lines if line.startswith("flags") for word in line.split())


def flags_of(way: str) -> tuple[str, ...]:
    """Return the compiler flags of a way. Skips the test if this processor does not have it."""
    missing = {flag[2:] for flag in WAYS[way] if flag.startswith("-m")} - processor_features()
    if missing:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    return WAYS[way]


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SPECS)
def test_compiled_file_repeats_the_reference_without_a_warning(name: str, way: str) -> None:
    network = quantised(SPECS[name])
    images = extreme_images(network.input_shape)
    logits = run_c(*texts(network), images, network.n_classes, ("-std=c99", "-O0", *WARNINGS, *flags_of(way)))
    np.testing.assert_array_equal(logits, run(network, images))


# More filters and inputs than are on the stack at once; odd and few filters, and some that fill no vector; a pool of 3;
# a border of 3 pixels.
AWKWARD = {
    "wide": ArchSpec((3, 7, 6), 5, (Stage((Block(67, 3), Block(3, 3, padding="same")), pool=3),), Head("conv_gap")),
    "narrow": ArchSpec((2, 9, 8), 3, (Stage((Block(1, 7, padding="same"), Block(65, 5)), pool=2),), Head("gap_linear")),
    "depthwise": ArchSpec((1, 8, 9), 3, (Stage((Block(66, 1), Block(5, 7, "separable", "same"))),), Head("gap_linear")),
    "tails": ArchSpec((1, 6, 5), 2, (Stage((Block(2, 1), Block(13, 3, "separable", "same"))),), Head("gap_linear")),
    "no convolution": ArchSpec((1, 8, 8), 3, (Stage((), pool=2),), Head("flatten_linear")),
    "strides": ArchSpec(
        (3, 19, 20),
        3,
        (
            Stage((Block(3, 5, stride=2, padding="same"), Block(6, 3, "residual", "same", stride=2))),
            Stage((Block(65, 3, "separable", "same", stride=2), Block(4, 1)), pool=2),
        ),
        Head("gap_linear"),
    ),
    "groups": ArchSpec(
        (2, 8, 7),
        3,
        (
            Stage(
                (
                    Block(10, 1),
                    Block(70, 3, "shuffle", "same", groups=5, squeeze=1),
                    Block(66, 1, "shuffle", groups=2),
                    Block(6, 1, "shuffle", groups=2),
                ),
                pool=3,
            ),
        ),
        Head("gap_linear"),
    ),
}
FEW_CHANNELS = ArchSpec((3, 8, 8), 3, (Stage((Block(2, 3, "separable"),)),), Head("gap_linear"))


@needs_compiler
@pytest.mark.parametrize(
    ("compiler", "level"),
    [
        ("cc", "-O2"),
        *(pytest.param("cc", level, marks=pytest.mark.slow) for level in ("-O3", "-Os")),
        *(pytest.param("clang", level, marks=pytest.mark.slow) for level in ("-O2", "-O3", "-Os")),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_and_level_gives_the_same_logits(
    way: str, level: str, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    monkeypatch.setenv("CC", compiler)
    for spec in [EVERY_FUNCTION, *AWKWARD.values()]:
        network = quantised(spec, n_images=20)
        images = extreme_images(network.input_shape)
        flags = ("-std=c99", level, *WARNINGS, *flags_of(way))
        np.testing.assert_array_equal(
            run_c(*texts(network), images, network.n_classes, flags), run(network, images), str(spec)
        )


@needs_compiler
@pytest.mark.parametrize("way", WAYS)
def test_factors_may_be_negative(way: str) -> None:
    network = quantised(AWKWARD["tails"])
    steps = tuple(
        replace(step, multiplier=step.multiplier * (-1) ** np.arange(len(step.multiplier), dtype=np.int32))
        if isinstance(step, Convolution)
        else step
        for step in network.steps
    )
    network = replace(network, steps=steps)
    images = extreme_images(network.input_shape)
    logits = run_c(*texts(network), images, network.n_classes, ("-std=c99", "-O2", *flags_of(way)))
    np.testing.assert_array_equal(logits, run(network, images))


@needs_compiler
def test_check_returns_the_logits_or_reports_a_difference() -> None:
    network = quantised(SPECS["separable conv-bn-act relu"])
    images = made_up_images(network.input_shape, 10).numpy()
    source, header = texts(network)
    np.testing.assert_array_equal(check_c(network, source, header, images), run(network, images))
    changed = source.replace("logits[k] = (int32_t)rescale(", "logits[k] = 1 + (int32_t)rescale(")
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


@needs_compiler
@pytest.mark.parametrize(
    ("spec", "level"),
    [
        (EVERY_FUNCTION, "-O1"),
        (SPECS["separable conv-bn-act relu"], "-O1"),
        (SPECS["residual conv-bn-act hardswish"], "-O1"),
        (FEW_CHANNELS, "-O2"),
    ],
    ids=["every function", "separable", "residual", "few channels"],
)
def test_sanitizers_find_nothing(spec: ArchSpec, level: str, tmp_path: Path) -> None:
    if not sanitizers_work(tmp_path):
        pytest.skip("no sanitizers here")
    network = quantised(spec)
    path = compile_program(tmp_path, network, level, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    images, labels, n = split_of(network, tmp_path, n_wrong=0)
    assert run_program(path, images, labels) == (0, f"{n} of {n} right, 100.00 %\n", "")


# --- in a larger program ---------------------------------------------------------------------------------------------


def run_main(folder: Path, main: str, *arguments: str) -> str:
    """Compile the files of a folder with a main program, run it, and return what it prints."""
    (folder / "main.c").write_text(main)
    assert COMPILER is not None
    sources = sorted(path.name for path in folder.glob("*.c"))
    command = [COMPILER, "-std=c99", "-O1", *WARNINGS, *sources, "-o", "main", *arguments]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return subprocess.run([folder / "main"], capture_output=True, text=True, check=True, timeout=60).stdout


THREADS = """\
#include <pthread.h>
#include <stdio.h>
#include "model.h"
#define BYTES (MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH)
static uint8_t images[2][BYTES];
static int32_t logits[2][MODEL_N_CLASSES];
static int8_t arenas[2][MODEL_ARENA_BYTES + 1];
static int n_wrong[2];
static void *work(void *argument)
{
    const int i = *(int *)argument;
    for (int round = 0; round < 300; round++) {
        int32_t found[MODEL_N_CLASSES];
        model_logits_in(arenas[i] + i, images[i], found); /* at any alignment */
        for (int k = 0; k < MODEL_N_CLASSES; k++)
            n_wrong[i] += found[k] != logits[i][k];
    }
    return NULL;
}
int main(void)
{
    int numbers[2] = {0, 1};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < BYTES; j++)
            images[i][j] = (uint8_t)(i ? j * 7 : 255 - j * 3);
        model_logits_in(arenas[0], images[i], logits[i]);
    }
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, &numbers[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("%d %d, %d", n_wrong[0], n_wrong[1], logits[0][0] != logits[1][0]);
    return 0;
}
"""


@needs_compiler
def test_threads_with_an_arena_each_give_the_right_logits(tmp_path: Path) -> None:
    for name, text in zip(("model.c", "model.h"), texts(quantised(SPECS["conv conv-bn-act relu"])), strict=True):
        (tmp_path / name).write_text(text)
    assert run_main(tmp_path, THREADS, "-pthread") == "0 0, 1"


@needs_compiler
def test_two_networks_in_one_program(tmp_path: Path) -> None:
    prints, expected = [], []
    for prefix, name in (("digits", "conv conv-bn-act relu"), ("Second_1", "separable conv-act-bn gelu")):
        network = quantised(SPECS[name])
        (tmp_path / f"{prefix}.c").write_text(c_source(network, names(network), prefix))
        (tmp_path / f"{prefix}.h").write_text(c_header(network, names(network), prefix))
        prints.append(
            f"{{ static const uint8_t image[{prefix.upper()}_CHANNELS * {prefix.upper()}_HEIGHT * "
            f"{prefix.upper()}_WIDTH]; int32_t logits[{prefix.upper()}_N_CLASSES]; {prefix}_logits(image, logits); "
            f'printf("%ld %d %s,", (long)logits[0], {prefix}_predict(image), {prefix.upper()}_CLASSES[1]); }}'
        )
        logits = run(network, np.zeros((1, *network.input_shape), np.uint8))[0]
        expected.append(f"{logits[0]} {logits.argmax()} class 1,")
        assert not re.search(r"\b(model_|MODEL_|model\.)", (tmp_path / f"{prefix}.c").read_text())
    main = '#include <stdio.h>\n#include "digits.h"\n#include "Second_1.h"\nint main(void) {%s return 0; }\n'
    assert run_main(tmp_path, main % "".join(prints)) == "".join(expected)


@needs_compiler
@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm here")
def test_the_static_arena_can_be_left_out_or_placed(tmp_path: Path) -> None:
    for name, text in zip(("model.c", "model.h"), texts(quantised(SPECS["conv conv-bn-act relu"])), strict=True):
        (tmp_path / name).write_text(text)

    def symbols(*flags: str) -> str:
        command = ["cc", "-std=c99", "-O1", *WARNINGS, *flags, "-c", "model.c"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
        return subprocess.run(["nm", "model.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert re.search(r" b static_arena\n", symbols())
    placed = symbols('-DMODEL_ARENA_ATTRIBUTE=__attribute__((aligned(64), section("fast")))')
    assert re.search(r" d static_arena\n", placed)
    without = symbols("-DMODEL_NO_ARENA")
    assert "static_arena" not in without
    assert re.search(r" T model_predict_in\n", without)
    assert not re.search(r" T model_predict\n", without)


@pytest.mark.board
@pytest.mark.skipif(shutil.which("avr-gcc") is None, reason="needs the packages gcc-avr and avr-libc")
@pytest.mark.parametrize("spec", [EVERY_FUNCTION, SPECS["thrifty"]], ids=["every function", "thrifty"])
def test_constants_stay_in_the_flash_of_an_avr(spec: ArchSpec, tmp_path: Path) -> None:
    for name, text in zip(("model.c", "model.h"), texts(quantised(spec)), strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "main.c").write_text(
        '#include "model.h"\nstatic uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH];\n'
        "int main(void) { for (;;) image[0] = (uint8_t)model_predict(image); }\n"
    )
    command = ["avr-gcc", "-mmcu=atmega1284p", "-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "main.c", "model.c", "-o", "main"], cwd=tmp_path, check=True, timeout=60)
    printed = subprocess.run(["avr-size", "-A", "main"], cwd=tmp_path, capture_output=True, text=True, check=True)
    sections = {line.split()[0]: int(line.split()[1]) for line in printed.stdout.splitlines() if line.startswith(".")}
    assert sections.get(".data", 0) == 0
    assert sections[".text"] > sum(flash_bytes(quantised(spec), names(quantised(spec))).values())
