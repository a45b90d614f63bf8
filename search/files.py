"""Read small text files, and write files that are whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from search.errors import InputError


def make_folder(folder: Path) -> None:
    """Create a folder and see that it can be written to. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text file; it is the old one or the new one, never a part."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:  # that of a full disk names no file
        raise InputError(f"cannot write {path}: {error.strerror}; make room there or move it away") from error
    finally:
        partial.unlink(missing_ok=True)


# Many times what a network or a space takes. A device that never ends is refused by it, too.
MAX_BYTES = 1_000_000


def read_text(path: Path) -> str:
    """The text in a file. Raises OSError where it cannot be read, ValueError where it is not UTF-8 or too long."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    return content.decode("utf-8").replace("\r\n", "\n")


def parse_json(text: str) -> Any:
    """The value in a JSON text. Raises ValueError, also for a key that stands twice, and RecursionError."""
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.80} stands twice")
    return found
