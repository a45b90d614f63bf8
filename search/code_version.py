"""The code that decides what a trial is worth and what is proposed: compared, file by file, when it joins a study.

Comments, docstrings and blank lines decide nothing and are left out.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import optuna

from search.config import InputError
from search.provenance import version_of

CODE = "code"
ROOT = Path(__file__).resolve().parent.parent
# What makes a trial; these and all of this project that they import decide.
_ENTRANCES = ("objective", "search.samplers", "search.feasible_start")
_NATIVE = "search/native"
_PACKAGES = ("torch", "numpy", "optuna")
_MAX_NAMED = 5


def code_version() -> dict[str, str]:
    """Of every file that decides a short checksum, and of every package its version, by name."""
    sources = {str(path.relative_to(ROOT)): significant(path.read_text(encoding="utf-8")) for path in _deciding()}
    native = [path for path in (ROOT / _NATIVE).iterdir() if path.is_file()]
    sources |= {f"{_NATIVE}/{path.name}": path.read_text(encoding="utf-8") for path in native}
    checksums = {name: hashlib.sha256(text.encode()).hexdigest()[:12] for name, text in sorted(sources.items())}
    return checksums | {name: version_of(name) or "" for name in _PACKAGES}


def join_code(study: optuna.Study, *, may_differ: bool) -> None:
    """See that this code is the study's, or take its place if it may. Raises InputError with the differences.

    A study of an older version does not know its code; it gets to know this one.
    """
    known, ours = study.user_attrs.get(CODE), code_version()
    if known == ours:
        return
    if known is not None and not may_differ:
        raise InputError(
            f"study {study.study_name!r} was made with other code ({_differences(known, ours)}), so new trials may not "
            "compare with its own; use that code here too, choose another --study name, or go on with --changed-code"
        )
    study.set_user_attr(CODE, ours)


def _differences(known: Mapping[str, str], ours: Mapping[str, str]) -> str:
    names = [name for name in sorted({*known, *ours}) if known.get(name) != ours.get(name)]
    words = [
        f"{name} {known.get(name) or 'none'} there, {ours.get(name) or 'none'} here" if name in _PACKAGES else name
        for name in names[:_MAX_NAMED]
    ]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(words) + more


@cache
def significant(source: str) -> str:
    """Python source without what decides nothing; the same with every version of Python."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            lines[text.lineno - 1 : text.end_lineno] = [""] * ((text.end_lineno or text.lineno) - text.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _deciding() -> list[Path]:
    """The files of this project that the entrances lead to."""
    found: dict[str, Path] = {}
    waiting = list(_ENTRANCES)
    while waiting:
        name = waiting.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        # The package of the launcher's name is meant, which is empty.
        if name not in found and name != "search" and path.is_file():
            found[name] = path
            waiting += _imported(path)
    return sorted(found.values())


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
