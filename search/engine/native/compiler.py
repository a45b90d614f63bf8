"""Find the system's compiler, by the usual variable or its usual names, and run it with a time limit."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence


class NoCompilerError(RuntimeError):
    """Error raised if no compiler is found or a compiler fails; the message contains its output."""


def find_compiler(language: str, variable: str, names: Sequence[str]) -> list[str]:
    """Return the command in the environment variable `variable`, or else the first of `names` that is installed.

    The variable is split into words as in a shell: "g++ -m64", "ccache g++". Raises NoCompilerError.
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

    Raises NoCompilerError if it fails, OSError if it cannot be started, SubprocessError if it takes longer.
    """
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
    )
    if result.returncode:
        raise NoCompilerError(f"{command[0]} failed: {result.stderr.strip() or result.returncode}")
    return result.stdout
