"""Read small text files, and write files atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from search.errors import InputError


def make_folder(folder: Path) -> None:
    """Create a folder, and raise InputError if it cannot be created or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text file atomically: readers see the old text or the new one, never a part. Raises InputError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:  # the error of a full disk does not name the file
        raise InputError(f"cannot write {path}: {error.strerror}; free some space, or move that path away") from error
    finally:
        partial.unlink(missing_ok=True)


# Many times the size of a network or a space file. The limit also ends the reading of an endless device.
MAX_BYTES = 1_000_000


def read_text(path: Path) -> str:
    """Return the text of a file. Raises OSError if it cannot be read, ValueError if it is too long or not UTF-8."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    return content.decode("utf-8").replace("\r\n", "\n")


def parse_json(text: str) -> Any:
    """Parse a JSON text. Raises ValueError, also for a duplicate key, and RecursionError."""
    return json.loads(text, object_pairs_hook=_unique_dict)


def _unique_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        duplicate = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {duplicate!r:.80} occurs twice")
    return values
