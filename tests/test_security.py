"""What no source of this project does: run what it reads, ask a shell, or unpickle a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    *ROOT.glob("*.py"),
    *(path for name in ("models", "search", "benchmarks") for path in ROOT.glob(f"{name}/**/*.py")),
]
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
UNPICKLES = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
ASKS_A_SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def faults(source: str) -> Iterator[str]:
    """What is wrong in a source, in a few words each."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (f"imports {one.name}" for one in names if one.name.split(".")[0] in UNPICKLES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNPICKLES:
                yield f"imports {module}"
            case ast.Call():
                yield from _of_call(ast.unparse(node.func), {one.arg: one.value for one in node.keywords})


def _of_call(name: str, options: dict[str | None, ast.expr]) -> Iterator[str]:
    if name in RUNS_TEXT | ASKS_A_SHELL or "pickle" in name:
        yield f"calls {name}"
    shell = options.get("shell")
    if shell is not None and ast.unparse(shell) != "False":
        yield "asks a shell"
    weights_only = options.get("weights_only")
    if name == "torch.load" and (weights_only is None or ast.unparse(weights_only) != "True"):
        yield "torch.load without weights_only=True"
    allow = options.get("allow_pickle")
    if allow is not None and ast.unparse(allow) != "False":
        yield "numpy with allow_pickle"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("eval(text)", ["calls eval"]),
        ("model.eval()", []),
        ("re.compile(text)", []),
        ("exec(compile(text, '', 'exec'))", ["calls exec", "calls compile"]),
        ("import pickle", ["imports pickle"]),
        ("from pickle import loads", ["imports pickle"]),
        ("import pandas; pandas.read_pickle(path)", ["calls pandas.read_pickle"]),
        ("torch.load(path)", ["torch.load without weights_only=True"]),
        ("torch.load(path, weights_only=False)", ["torch.load without weights_only=True"]),
        ("torch.load(path, weights_only=True)", []),
        ("numpy.load(path, allow_pickle=True)", ["numpy with allow_pickle"]),
        ("subprocess.run(words, shell=True)", ["asks a shell"]),
        ("os.system(words)", ["calls os.system"]),
    ],
)
def test_faults_are_found(source: str, expected: list[str]) -> None:
    assert list(faults(source)) == expected


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_what_it_reads(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"))) == []
