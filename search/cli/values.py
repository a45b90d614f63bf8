"""Values of options: each read from its text, or refused with what would be right.

All raise argparse.ArgumentTypeError, which argparse puts behind the option's name.
"""

from __future__ import annotations

import math
import re
import unicodedata
from argparse import ArgumentTypeError

from search.config import AUGMENTATIONS, FORMATS, MAX_REPEATS, MAX_SIDE, MIN_SIDE, ConfirmConfig
from search.limits import BYTES, COUNT, Unit, whole_amount

MIN_MS, MAX_MS = 0.001, 1_000_000
# What is beyond is a slip of the keyboard.
MOST, MAX_JOBS, LAST_PORT = 10**9, 1024, 65_535


def text(given: str) -> str:
    """Read a name or a path. None is empty: that is a variable of a shell that was never set."""
    if not given.strip():
        raise ArgumentTypeError(f"must not be empty, got {given!r:.80}")
    # Surrogates are bytes that are no UTF-8: nothing could be called so in a database.
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in given):
        raise ArgumentTypeError(f"must be text without control characters, got {given!r:.80}")
    return given


def whole(given: str) -> int:
    """Read a whole number in ASCII digits: Python would read those of every script."""
    if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,400}", given.strip()):
        raise ArgumentTypeError(f"must be a whole number, got {given!r:.80}")
    try:
        return int(given)
    except ValueError:  # 1__0
        raise ArgumentTypeError(f"must be a whole number, got {given!r:.80}") from None


def positive(given: str) -> int:
    """Read a whole number from 1 to as many networks, epochs, images or seconds as anybody can want."""
    return _from_1_to(MOST, given)


def repeats(given: str) -> int:
    """Read how often one configuration is trained."""
    return _from_1_to(MAX_REPEATS, given)


def port(given: str) -> int:
    """Read a TCP port."""
    return _from_1_to(LAST_PORT, given)


def jobs(given: str) -> int:
    """Read how many networks are trained side by side; 0 stands for auto."""
    return 0 if given == "auto" else _from_1_to(MAX_JOBS, given)


def _from_1_to(high: int, given: str) -> int:
    try:
        value = whole(given)
    except ArgumentTypeError:
        value = 0
    if value < 1:
        raise ArgumentTypeError(f"must be a whole number of at least 1, got {given!r:.80}")
    if value > high:
        raise ArgumentTypeError(f"must be at most {high:,}, got {given!r:.80}")
    return value


def count(given: str) -> int:
    """Read a count: 8000, 8k, 1.5M."""
    return _amount(given, COUNT)


def number_of_bytes(given: str) -> int:
    """Read a number of bytes: 65536, 64k, 64KiB."""
    return _amount(given, BYTES)


def _amount(given: str, unit: Unit) -> int:
    try:
        return whole_amount(given, unit)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def size(given: str) -> tuple[int, int]:
    """Read the height and width of images: 32, 32x40."""
    sides = given.lower().split("x")
    try:
        height, width = (whole(side) for side in (sides if len(sides) == 2 else sides * 2))
    except (ArgumentTypeError, ValueError):
        height = width = 0
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        wanted = f"must be a side or HEIGHTxWIDTH, from {MIN_SIDE} to {MAX_SIDE:,} pixels"
        raise ArgumentTypeError(f"{wanted}, got {given!r:.80}; write it as 32 or 32x40")
    return height, width


def augmentations(given: str) -> tuple[str, ...]:
    """Read names of search.config.AUGMENTATIONS."""
    names = tuple(given.split(","))
    for name in names:
        if name not in AUGMENTATIONS:
            raise ArgumentTypeError(f"must be of {', '.join(AUGMENTATIONS)}; got {name!r:.80}")
    return names


def switched_off(given: str) -> tuple[str, ...]:
    """Read names of search.config.AUGMENTATIONS, or "all"."""
    return AUGMENTATIONS if given == "all" else augmentations(given)


def milliseconds(given: str) -> float:
    """Read milliseconds: 1.5, 1.5ms."""
    try:
        value = float(given.strip().lower().removesuffix("ms")) if given.isascii() else math.nan
    except ValueError:
        value = math.nan
    if not MIN_MS <= value <= MAX_MS:
        raise ArgumentTypeError(f"must be milliseconds from {MIN_MS:g} to {MAX_MS:,}, got {given!r:.80}")
    return value


def budgets(given: str) -> tuple[int, ...]:
    """Read budgets, 2k,4k: each once, the smallest first."""
    return tuple(sorted({count(part) for part in given.split(",")}))


def formats(given: str) -> tuple[str, ...]:
    """Read formats, onnx,c; "all" stands for every one."""
    names = tuple(FORMATS) if given == "all" else tuple(given.split(","))
    for name in names:
        if name not in FORMATS:
            raise ArgumentTypeError(f"must be {', '.join(FORMATS)} or all; got {name!r:.80}")
    return names


def confirming(given: str) -> ConfirmConfig | None:
    """Read K:SEEDS or K:SEEDS:FURTHER; "none" is None."""
    if given == "none":
        return None
    try:
        numbers = [repeats(part) for part in given.split(":")]
    except ArgumentTypeError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise ArgumentTypeError(
            "must be K:SEEDS or K:SEEDS:FURTHER, whole numbers of at least 1, or none "
            f"(each at most {MAX_REPEATS:,}); got {given!r:.80}"
        )
    return ConfirmConfig(*numbers)
