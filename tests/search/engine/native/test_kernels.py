"""How the kernels are compiled, kept and done without."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from search.engine.native import kernels
from search.engine.native.program import Program
from search.engine.train import engine_for
from search.errors import InputError
from tests.search.engine.native.on_kernels import on_kernels

ROOT = Path(__file__).parents[4]
CPU = torch.device("cpu")

needs_compiler = pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As in a new process whose compiled files are kept in the returned folder."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    kernels._load_or_problem.cache_clear()
    yield tmp_path
    kernels._load_or_problem.cache_clear()


def compiler(path: Path, script: str) -> str:
    """A stand-in for a compiler."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def small(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and sources of one line, for what does not depend on what they say; they compile at once."""
    sources = fresh / "native"
    sources.mkdir()
    functions = "".join(f"int {name}() {{ return 0; }} " for name in (*kernels._SIGNATURES, *kernels._OTHER_SIGNATURES))
    (sources / "kernels.cpp").write_text(f'extern "C" {{ {functions} }}')
    monkeypatch.setattr(kernels, "SOURCES", sources)
    return fresh


def compiled(folder: Path) -> list[Path]:
    return sorted(folder.rglob("kernels-*"))


@needs_compiler
def test_compiled_once_and_kept(small: Path) -> None:
    assert kernels.load() is not None
    (library,) = compiled(small)
    assert library.suffix == ".so"
    before = library.stat().st_mtime_ns
    kernels._load_or_problem.cache_clear()
    assert kernels.load() is not None
    assert library.stat().st_mtime_ns == before


@needs_compiler
@pytest.mark.parametrize("change", ["source", "header", "command"])
def test_compiled_anew_for_another(small: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    assert kernels.load() is not None
    if change == "source":
        with open(kernels.SOURCES / "kernels.cpp", "a") as file:
            file.write("// changed")
    elif change == "header":
        (kernels.SOURCES / "new.hpp").write_text("// new")
    else:
        monkeypatch.setenv("CXX", "c++ -O0")
    kernels._load_or_problem.cache_clear()
    assert kernels.load() is not None
    assert len(compiled(small)) == 2


@needs_compiler
def test_processes_that_compile_at_once_do_not_disturb_one_another(small: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from search.engine.native import kernels; "
        "kernels.SOURCES = Path(sys.argv[1]); assert kernels.load() is not None, kernels.problem()"
    )
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(small)}
    command = [sys.executable, "-c", code, str(kernels.SOURCES)]
    running = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(compiled(small)) == 1


def test_without_a_compiler_pytorch_does_it(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CXX", raising=False)
    assert kernels.load() is None
    assert kernels.problem() == "no C++ compiler found (looked for c++, g++, clang++)"
    assert engine_for(CPU) == "torch"
    with pytest.raises(InputError, match="the native engine cannot run here: no C\\+\\+ compiler found"):
        engine_for(CPU, "native")
    with pytest.raises(RuntimeError, match="no kernels: no C\\+\\+ compiler"):
        Program(torch.nn.Identity(), (1, 2, 2), 2, training=False)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'no such header' >&2; exit 1", "no such header"),
        ("exit 0", ""),  # claims to have compiled
        ("while true; do sleep 0.1; done", "timed out"),
    ],
    ids=["fails", "makes nothing", "hangs"],
)
def test_a_compiler_that_fails_is_done_without(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
) -> None:
    monkeypatch.setattr(kernels, "COMPILE_SECONDS", 0.5)
    monkeypatch.setenv("CXX", compiler(fresh / "cxx", script))
    assert kernels.load() is None
    assert problem in kernels.problem()
    assert len(kernels.problem()) <= 300
    assert engine_for(CPU) == "torch"
    assert compiled(fresh) == []


@pytest.mark.slow
@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of another kind")
@pytest.mark.parametrize(("processor", "lanes"), [("x86-64", 4), ("x86-64-v3", 8)])
def test_processors_with_narrower_registers(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, processor: str, lanes: int
) -> None:
    monkeypatch.setenv("CXX", compiler(fresh / "cxx", f'exec c++ "$@" -march={processor}'))
    library = kernels.load()
    assert library is not None
    assert library.lanes() == lanes
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 7, 3, padding=1), torch.nn.BatchNorm2d(7), torch.nn.SiLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Conv2d(7, 7, 3, padding=1, groups=7, bias=False), torch.nn.Conv2d(7, 5, 1)),
    )
    x = torch.randn(21, 3, 9, 10)
    gradients = []
    for network in (model, on_kernels(model)):
        model.zero_grad()
        network(x).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@needs_compiler
@pytest.mark.parametrize("command", ["c++ -O0", "ccache c++ -O0", "'{folder}/a compiler' -O0"])
def test_a_command_of_several_words(small: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    if not shutil.which(command.split()[0]) and "folder" not in command:
        pytest.skip(f"no {command.split()[0]} here")
    compiler(small / "a compiler", 'exec c++ "$@"')
    monkeypatch.setenv("CCACHE_DIR", str(small / "ccache"))
    monkeypatch.setenv("CXX", command.format(folder=small))
    assert kernels.load() is not None, kernels.problem()


@pytest.mark.parametrize("command", ["'c++ -m64", "c++ 'un"])
def test_a_command_with_an_open_quote(fresh: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("CXX", command)
    assert kernels.load() is None
    assert kernels.problem() == f"$CXX is no command: {command!r} (No closing quotation)"
    assert compiled(fresh) == []


@needs_compiler
def test_a_read_only_installation_compiles_once_a_process(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_folder = small / "file"
    no_folder.write_text("not a folder")
    monkeypatch.setattr(sys, "pycache_prefix", str(no_folder))
    assert kernels.load() is not None
    assert no_folder.read_text() == "not a folder"


def test_no_kernels_for_a_card() -> None:
    assert engine_for(torch.device("cuda")) == "torch"
    with pytest.raises(InputError, match="the device is cuda"):
        engine_for(torch.device("cuda"), "native")
