"""Order the classes of a folder of images by the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Iterable


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Return names sorted with the numbers in them compared by their values, so that "2" comes before "10".

    Names that are all numbers, such as "-1.5" and "1e3", are compared as these numbers.
    """
    names = list(names)
    if all(re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", name, re.IGNORECASE) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names, key=lambda name: (natural_parts(name), name))


def natural_parts(name: str) -> list[tuple[str, float]]:
    """Return a name as pairs of text and the number after it; a text at the end has no number, which is the lowest.

    A sign and decimals belong to a number at the beginning alone: "2024-01" and "1.2.3" have several numbers.
    """
    first = re.match(r"[+-]?\d+(\.\d+)?(?!\.?\d)", name)
    parts = [("", float(first[0]))] if first else []
    rest = name[first.end() :] if first else name
    return parts + [(text, float(number or "-inf")) for text, number in re.findall(r"(\D*)(\d*)", rest)]
