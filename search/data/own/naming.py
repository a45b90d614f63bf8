"""Write names of classes and of files in sentences, and bring names of classes to one form.

An exported model.py holds a copy of this source. Therefore it uses only the standard library.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from search.data.own.pictures import CONTROLS

# Number of names that a message lists.
N_NAMED = 3


def composed_name(text: str) -> str:
    """Return the name of a class in composed Unicode and with single spaces; "" for a blank one.

    Unicode has several forms of one name, and a line break or another of the characters CONTROLS in a name, which
    becomes a space, would break every table.
    """
    return " ".join(re.sub(CONTROLS, " ", unicodedata.normalize("NFC", text)).split())


def shorten_names(names: Sequence[str], n_named: int = N_NAMED) -> str:
    """Return a list of names as text, shortened as in 'a, b, c and 9 more'."""
    more = f" and {len(names) - n_named:,} more" if len(names) > n_named else ""
    return f"{', '.join(names[:n_named])}{more}"


def join_names(names: Iterable[str]) -> str:
    """Return names as a list in a sentence: "a, b and c"."""
    *first, last = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last
