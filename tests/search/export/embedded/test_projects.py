"""Test that the projects beside model.c build and run its self-test, as far as their tools are installed."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from search.export.board.emulator import emulator_version
from search.export.board.firmware import compiler_version
from search.export.embedded.projects import write_projects
from tests.search.export.embedded.test_self_test import WARNINGS, written
from tests.search.made_up_networks import SPECS, quantised

pytestmark = pytest.mark.usefixtures("one_thread")
needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs the package cmake")

# Enough of Arduino.h and printk.h for a compiler to check the programs.
ARDUINO = """\
unsigned long millis(void);
unsigned long micros(void);
struct SerialPort {
    explicit operator bool() const;
    void begin(unsigned long);
    void print(const char *);
    void print(int);
    void print(unsigned long);
    void println(const char *);
};
extern SerialPort Serial;
"""
PRINTK = "#include <stdarg.h>\nvoid printk(const char *format, ...);\n"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Return a folder with the C files of a network and the projects, under another prefix than the default."""
    written(quantised(SPECS["separable conv-bn-act relu"]), tmp_path, "digits")
    write_projects(tmp_path, "digits")
    return tmp_path


def run_ctest(project: Path, *options: str) -> str:
    for command in (
        ["cmake", "-B", "build", *options],
        ["cmake", "--build", "build"],
        ["ctest", "--test-dir", "build", "--verbose", "--timeout", "60"],
    ):
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@needs_cmake
def test_cmake_on_this_computer(export: Path) -> None:
    assert "self-test: 10 images have the expected logits" in run_ctest(export / "firmware" / "cmake")


@pytest.mark.board
@needs_cmake
def test_cmake_on_an_emulated_board(export: Path) -> None:
    if compiler_version() is None or emulator_version() is None:
        pytest.skip("needs the packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm")
    project = export / "firmware" / "cmake"
    output = run_ctest(project, "-DCMAKE_TOOLCHAIN_FILE=arm-none-eabi.cmake")
    assert "self-test: 10 images have the expected logits" in output


@pytest.mark.slow
@needs_cmake
def test_cmake_fails_if_a_logit_differs(export: Path) -> None:
    header = export / "digits_test.h"
    text = header.read_text()
    start = text.index("digits_test_logits")
    header.write_text(text[:start] + re.sub(r"(?<=        )-?\d+", "1", text[start:], count=1))
    with pytest.raises(AssertionError, match="self-test: image 1 has other logits than expected"):
        run_ctest(export / "firmware" / "cmake")


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
def test_the_arduino_program_compiles(export: Path) -> None:
    (export / "Arduino.h").write_text(ARDUINO)
    command = ["c++", "-std=c++11", *WARNINGS, "-fsyntax-only", "-I.", "firmware/platformio/src/main.cpp"]
    subprocess.run(command, cwd=export, check=True, timeout=60)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_the_zephyr_program_compiles(export: Path) -> None:
    (export / "zephyr" / "sys").mkdir(parents=True)
    (export / "zephyr" / "sys" / "printk.h").write_text(PRINTK)
    command = ["cc", "-std=c99", *WARNINGS, "-fsyntax-only", "-I.", "firmware/zephyr/src/main.c"]
    subprocess.run(command, cwd=export, check=True, timeout=60)


def test_the_projects_name_files_that_are_there(export: Path) -> None:
    """PlatformIO and Zephyr fetch their tools when they run, so only their paths are checked here."""
    firmware = export / "firmware"
    settings = configparser.ConfigParser()
    settings.read(firmware / "platformio" / "platformio.ini")
    sources = re.findall(r"\+<(.+?)>", settings["env"]["build_src_filter"])
    assert [(firmware / "platformio" / "src" / source).exists() for source in sources if source != "*"] == [True]
    assert settings["platformio"]["default_envs"] in [name.removeprefix("env:") for name in settings.sections()]
    for project in ("cmake", "zephyr"):
        text = (firmware / project / "CMakeLists.txt").read_text()
        paths = re.findall(r"[\w./]+\.c\b", text)
        assert all((firmware / project / path).exists() for path in paths), paths
        assert "../../digits.c" in paths
    assert not [path for path in firmware.rglob("*") if path.is_file() and "model" in path.read_text()]
