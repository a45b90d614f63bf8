"""Read card.json of an exported network, and check the entries that the project uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.record import RecordError
from search.engine.confusion import Confusion
from search.errors import InputError


def read_card(folder: Path) -> dict[str, Any] | None:
    """Return the card of the export in `folder`, or None if there is no card.

    The card has at least `trial`, `seed` and the accuracy on test. Raises InputError for a damaged file.
    """
    path = folder / CARD
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _check(card)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {_remedy(folder)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = error if isinstance(error, RecordError) else f"{type(error).__name__} {error}"
        raise InputError(f"{path} is damaged ({problem!s:.120}); {_remedy(folder)}") from error
    return card


def _remedy(folder: Path) -> str:
    return f"move {folder} away and export again"


def _check(card: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or RecordError for a card with a missing or invalid entry."""
    entries = [
        (card["trial"], (int, type(None))),
        (card["seed"], (int,)),
        (card["accuracy"]["file_on_test"], (int, float)),
        (card.get("formats", {}), (dict,)),
    ]
    for value, types in entries:
        if not isinstance(value, types):
            raise TypeError(f"{value!r:.40} where something else is wanted")
    if card.get("mistakes"):  # cards of older versions have none
        Confusion.from_dict(card["mistakes"])


# A folder is an export if it has this file, which is therefore written last.
CARD = "card.json"
# Images that the exported network misreads.
MISREAD = "misread.png"
