"""The system's compiler: found by its usual names or the usual variable, and run with a time limit."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence


class NoCompilerError(RuntimeError):
    """No compiler was found, or it could not do what it was asked to; the message says which, with its complaint."""


def find_compiler(language: str, variable: str, names: Sequence[str]) -> list[str]:
    """Return the command in the environment variable, or else the first of `names` that is installed.

    The variable is split into words as a shell does it: "g++ -m64", "ccache g++". Raises NoCompilerError.
    """
    value = os.environ.get(variable, "")
    try:
        command = shlex.split(value)
    except ValueError as error:
        raise NoCompilerError(f"${variable} is no command: {value!r:.80} ({error})") from error
    command = command or list(filter(shutil.which, names))[:1]
    if not command:
        raise NoCompilerError(f"no {language} compiler found (looked for {', '.join(names)})")
    return command


def run_compiler(command: Sequence[str], seconds: float) -> str:
    """Run a compiler and return its standard output.

    Raises NoCompilerError where it fails, OSError where it cannot be run, SubprocessError where it takes longer.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise NoCompilerError(f"{command[0]} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout
