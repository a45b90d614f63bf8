"""Amounts as they are written on the command line: 8000, 8k, 1.5M, 64KiB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 30


@dataclass(frozen=True)
class Unit:
    """What an amount counts: the suffixes that multiply it, in lower case, an example, its name in a usage line."""

    suffixes: Mapping[str, int]
    example: str
    metavar: str


COUNT = Unit({"": 1, "k": 10**3, "m": 10**6, "g": 10**9}, "8000, 8k or 1.5M", "N")
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30}
_DECIMAL = {"kb": 10**3, "mb": 10**6, "gb": 10**9}
BYTES = Unit({**COUNT.suffixes, "b": 1, **_DECIMAL, **_BINARY}, "65536, 64k or 64KiB", "BYTES")


def whole_amount(text: str, unit: Unit) -> int:
    """The whole number of at least 1 that `text` says; lower and upper case are one. Raises ValueError."""
    found = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?) ?([A-Za-z]*)", text.strip())
    factor = unit.suffixes.get(found[2].lower(), 0) if found and len(text) <= MAX_LENGTH else 0
    value = Fraction(found[1].replace("_", "")) * factor if found and factor else Fraction(0)
    if value < 1 or value.denominator != 1:
        raise ValueError(f"must be a whole number of at least 1, got {text!r:.80}; write it as {unit.example}")
    return int(value)
