"""card.json of an exported network, read back: what is needed of it is there, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.record import RecordError
from search.engine.confusion import Confusion
from search.errors import InputError


def read_card(folder: Path) -> dict[str, Any] | None:
    """The card of the export in `folder`, None where there is none.

    It has `trial`, `seed` and the accuracy on test. Raises InputError for a file that is damaged.
    """
    path = folder / CARD
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _check(card)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {_way_out(folder)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = error if isinstance(error, RecordError) else f"{type(error).__name__} {error}"
        raise InputError(f"{path} is damaged ({problem!s:.120}); {_way_out(folder)}") from error
    return card


def _way_out(folder: Path) -> str:
    return f"move {folder} away and export again"


def _check(card: dict[str, Any]) -> None:
    """Raise one of the errors above for a card without what is read from it."""
    known = [
        (card["trial"], (int, type(None))),
        (card["seed"], (int,)),
        (card["accuracy"]["file_on_test"], (int, float)),
        (card.get("formats", {}), (dict,)),
    ]
    for value, types in known:
        if not isinstance(value, types):
            raise TypeError(f"{value!r:.40} where something else is wanted")
    if card.get("mistakes"):  # cards of older versions have none
        Confusion.from_dict(card["mistakes"])


# What makes a folder an export; written last.
CARD = "card.json"


MISREAD = "misread.png"
