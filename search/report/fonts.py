"""Choose installed fonts for names that the font of the figures has no glyphs for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font

# This font has arrows and most alphabets, and comes with matplotlib.
FONT = "DejaVu Sans"


def fallback_families(text: str) -> list[str]:
    """Return the families of installed fonts that have the characters of `text` which FONT lacks."""
    missing, families = missing_characters(text), list[str]()
    for family, path in _installed_fonts():
        covered = missing & _characters(path)
        if covered:
            families.append(family)
            missing -= covered
        if not missing:
            break
    return families


def missing_characters(text: str) -> set[str]:
    """Return the characters of `text` that FONT has no glyphs for."""
    return {character for character in text if character.isprintable()} - _characters(findfont(FONT))


def drawable(names: Sequence[str]) -> list[str]:
    """Return the names, with the position in place of every name that no installed font can draw."""
    return [
        name if missing_characters(name) <= _all_characters(fallback_families(name)) else str(i)
        for i, name in enumerate(names)
    ]


def font_file(text: str) -> str:
    """Return the file of a font with all characters of `text`, or the file of FONT if no font has all of them."""
    default = findfont(FONT)
    paths = [default, *(path for _, path in _installed_fonts())] if missing_characters(text) else [default]
    return next((path for path in paths if set(text) <= _characters(path)), default)


def _all_characters(families: Sequence[str]) -> set[str]:
    paths = [path for family, path in _installed_fonts() if family in families]
    return set[str]().union(*(_characters(path) for path in paths))


def _installed_fonts() -> list[tuple[str, str]]:
    """Return family and file of the upright, regular fonts on this machine, in the order of their families."""
    entries = [entry for entry in fontManager.ttflist if entry.style == "normal" and entry.weight in (400, "normal")]
    return sorted({(entry.name, entry.fname) for entry in entries})


@cache
def _characters(path: str) -> frozenset[str]:
    """Return the characters that a font can draw; none for a font that cannot be scaled, such as one of pictures."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
