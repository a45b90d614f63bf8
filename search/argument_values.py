"""How the values of options are read. Each function takes what was typed and raises ArgumentTypeError."""

from __future__ import annotations

import argparse
import math

from search.amounts import BYTES, COUNT, Unit, whole_amount
from search.config import AUGMENTATIONS, FORMATS, MAX_SIDE, MIN_SIDE, ConfirmConfig

LAST_PORT = 65_535
MIN_MS, MAX_MS = 0.001, 1_000_000


def positive(text: str) -> int:
    """A whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def count(text: str) -> int:
    """An amount of parameters, multiply-adds, pixels: 8k."""
    return _amount(text, COUNT)


def number_of_bytes(text: str) -> int:
    """An amount of bytes: 64KiB."""
    return _amount(text, BYTES)


def _amount(text: str, unit: Unit) -> int:
    try:
        return whole_amount(text, unit)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def milliseconds(text: str) -> float:
    """Milliseconds, from MIN_MS to MAX_MS."""
    try:
        value = float(text.strip().lower().removesuffix("ms"))
    except ValueError:
        value = math.nan
    if not MIN_MS <= value <= MAX_MS:
        raise argparse.ArgumentTypeError(f"must be milliseconds from {MIN_MS:g} to {MAX_MS:,}, got {text!r:.80}")
    return value


def port(text: str) -> int:
    """A port to listen on."""
    found = positive(text)
    if found > LAST_PORT:
        raise argparse.ArgumentTypeError(f"must be at most {LAST_PORT:,}, got {text!r}")
    return found


def size(text: str) -> tuple[int, ...]:
    """Height and width of images: 32, 32x40."""
    sides = text.lower().split("x")
    try:
        found = tuple(map(int, sides if len(sides) == 2 else sides * 2))
    except ValueError:
        found = ()
    if len(found) != 2 or not all(MIN_SIDE <= side <= MAX_SIDE for side in found):
        wanted = f"must be a side or HEIGHTxWIDTH, from {MIN_SIDE} to {MAX_SIDE:,} pixels"
        raise argparse.ArgumentTypeError(f"{wanted}, got {text!r:.80}; write it as 32 or 32x40")
    return found


def augmentations(text: str) -> tuple[str, ...]:
    """Names of search.config.AUGMENTATIONS."""
    names = tuple(text.split(","))
    for name in names:
        if name not in AUGMENTATIONS:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(AUGMENTATIONS)}; got {name!r:.80}")
    return names


def switched_off(text: str) -> tuple[str, ...]:
    """The same, or all."""
    return AUGMENTATIONS if text == "all" else augmentations(text)


def jobs(text: str) -> int:
    """A number of jobs; 0 for auto."""
    return 0 if text == "auto" else positive(text)


def budgets(text: str) -> tuple[int, ...]:
    """Several budgets: 1k,2k."""
    return tuple(sorted({count(part) for part in text.split(",")}))


def formats(text: str) -> tuple[str, ...]:
    """Names of search.config.FORMATS, or all."""
    names = tuple(FORMATS) if text == "all" else tuple(text.split(","))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"must be {', '.join(FORMATS)} or all; got {name!r}")
    return names


def confirming(text: str) -> ConfirmConfig | None:
    """How the winner is confirmed: 5:5; None for none."""
    if text == "none":
        return None
    parts = text.split(":")
    try:
        if len(parts) not in (2, 3) or (len(parts) == 3 and int(parts[2]) < 1):
            raise ValueError
        return ConfirmConfig(*map(int, parts))
    except ValueError:
        message = f"must be K:SEEDS or K:SEEDS:FURTHER, whole numbers of at least 1, or none; got {text!r}"
        raise argparse.ArgumentTypeError(message) from None
