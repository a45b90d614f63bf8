"""Files that a user hands in."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, name: str, content: str | bytes | None) -> None:
    if content is None:
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
