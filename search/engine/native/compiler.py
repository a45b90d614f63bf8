"""The system's compiler: found by its usual names or the usual variable, and run with a limit of time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence


class NoCompilerError(RuntimeError):
    """No compiler was found, or it could not do what it was asked to; the message says which, with its complaint."""


def find_compiler(language: str, variable: str, names: Sequence[str]) -> str:
    """What the environment variable names, or else the first of `names` that is installed. Raises NoCompilerError."""
    compiler = os.environ.get(variable) or next(filter(shutil.which, names), None)
    if compiler is None:
        raise NoCompilerError(f"no {language} compiler found (looked for {', '.join(names)})")
    return compiler


def run_compiler(command: Sequence[str], seconds: float) -> str:
    """Standard output of a compiler.

    Raises NoCompilerError where it fails, OSError where it cannot be run, SubprocessError where it takes longer.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise NoCompilerError(f"{command[0]} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout
