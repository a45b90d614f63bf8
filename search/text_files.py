"""Files of text that a user hands in: read whole, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
