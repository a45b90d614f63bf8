"""Parse the values of options.

All functions raise argparse.ArgumentTypeError with the expected form; argparse prints it after the option's name.
"""

from __future__ import annotations

import math
import re
import unicodedata
from argparse import ArgumentTypeError

from search.config import AUGMENTATIONS, FORMATS, MAX_REPEATS, MAX_SIDE, MIN_SIDE, ConfirmConfig
from search.limits import BYTES, COUNT, Unit, whole_amount

MIN_MS, MAX_MS = 0.001, 1_000_000
# A value beyond these is a typing error.
MAX_AMOUNT, MAX_JOBS, MAX_PORT, MAX_BATCH, MAX_PREFIX = 10**9, 1024, 65_535, 1024, 32
# Headers of C99, and those that the generated file includes.
_C_HEADERS = (
    "assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|stdarg|stdbool|stddef|"
    "stdint|stdio|stdlib|string|tgmath|time|wchar|wctype|arm_acle|immintrin"
)


def text(argument: str) -> str:
    """Parse a name or a path. Empty text is refused, because it usually comes from an unset variable of a shell."""
    if not argument.strip():
        raise ArgumentTypeError(f"must not be empty, got {argument!r:.80}")
    # Surrogates stand for bytes that are not UTF-8, which no database can store.
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in argument):
        raise ArgumentTypeError(
            f"must be UTF-8 text without control characters, got {argument!r:.80}; a path may be renamed, or replaced "
            "by a link to it"
        )
    return argument


def whole_number(argument: str) -> int:
    """Parse a whole number in ASCII digits; int() alone would accept the digits of every script."""
    if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,400}", argument.strip()):
        raise ArgumentTypeError(f"must be a whole number, got {argument!r:.80}")
    try:
        return int(argument)
    except ValueError:  # 1__0
        raise ArgumentTypeError(f"must be a whole number, got {argument!r:.80}") from None


def positive(argument: str) -> int:
    """Parse a whole number from 1 to MAX_AMOUNT, for networks, epochs, images or seconds."""
    return _from_1_to(MAX_AMOUNT, argument)


def repeats(argument: str) -> int:
    """Parse the number of trainings of one configuration."""
    return _from_1_to(MAX_REPEATS, argument)


def batch(argument: str) -> int:
    """Parse the number of images of a batch."""
    return _from_1_to(MAX_BATCH, argument)


def prefix(argument: str) -> str:
    """Parse the beginning of names in C; NAME.h must hide no header of C nor one of the export with another NAME."""
    if not re.fullmatch(f"[A-Za-z][A-Za-z0-9_]{{0,{MAX_PREFIX - 1}}}", argument):
        raise ArgumentTypeError(
            f"must be at most {MAX_PREFIX} letters, digits and _, the first a letter, got {argument!r:.80}"
        )
    if re.fullmatch(_C_HEADERS, argument, re.IGNORECASE):
        raise ArgumentTypeError(f"must not be the name of a header of C, got {argument!r:.80}")
    if re.search("_(test|input)$", argument, re.IGNORECASE):  # NAME_test.h and NAME_input.h lie beside NAME.h
        raise ArgumentTypeError(f"must not end in _test or _input, got {argument!r:.80}")
    return argument


def port(argument: str) -> int:
    """Parse a TCP port."""
    return _from_1_to(MAX_PORT, argument)


def jobs(argument: str) -> int:
    """Parse the number of networks to train side by side; return 0 for auto."""
    return 0 if argument == "auto" else _from_1_to(MAX_JOBS, argument)


def _from_1_to(high: int, argument: str) -> int:
    try:
        value = whole_number(argument)
    except ArgumentTypeError:
        value = 0
    if value < 1:
        raise ArgumentTypeError(f"must be a whole number of at least 1, got {argument!r:.80}")
    if value > high:
        raise ArgumentTypeError(f"must be at most {high:,}, got {argument!r:.80}")
    return value


def count(argument: str) -> int:
    """Parse a count: 8000, 8k, 1.5M."""
    return _amount(argument, COUNT)


def number_of_bytes(argument: str) -> int:
    """Parse a number of bytes: 65536, 64k, 64KiB."""
    return _amount(argument, BYTES)


def _amount(argument: str, unit: Unit) -> int:
    try:
        return whole_amount(argument, unit)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def size(argument: str) -> tuple[int, int]:
    """Parse the height and width of images: 32, 32x40."""
    sides = argument.lower().split("x")
    try:
        height, width = (whole_number(side) for side in (sides if len(sides) == 2 else sides * 2))
    except (ArgumentTypeError, ValueError):
        height = width = 0
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        expected = f"must be a side or HEIGHTxWIDTH, from {MIN_SIDE} to {MAX_SIDE:,} pixels"
        raise ArgumentTypeError(f"{expected}, got {argument!r:.80}; write it as 32 or 32x40")
    return height, width


def augmentations(argument: str) -> tuple[str, ...]:
    """Parse a list of names from search.config.AUGMENTATIONS."""
    names = tuple(argument.split(","))
    for name in names:
        if name not in AUGMENTATIONS:
            raise ArgumentTypeError(f"must be one or more of {', '.join(AUGMENTATIONS)}; got {name!r:.80}")
    return names


def switched_off(argument: str) -> tuple[str, ...]:
    """Parse a list of names from search.config.AUGMENTATIONS, or "all"."""
    return AUGMENTATIONS if argument == "all" else augmentations(argument)


def milliseconds(argument: str) -> float:
    """Parse milliseconds: 1.5, 1.5ms."""
    try:
        value = float(argument.strip().lower().removesuffix("ms")) if argument.isascii() else math.nan
    except ValueError:
        value = math.nan
    if not MIN_MS <= value <= MAX_MS:
        raise ArgumentTypeError(f"must be milliseconds from {MIN_MS:g} to {MAX_MS:,}, got {argument!r:.80}")
    return value


def budgets(argument: str) -> tuple[int, ...]:
    """Parse a list of budgets like 2k,4k; return each of them once, in ascending order."""
    return tuple(sorted({count(part) for part in argument.split(",")}))


def formats(argument: str) -> tuple[str, ...]:
    """Parse a list of formats like onnx,c; "all" is every format."""
    names = tuple(FORMATS) if argument == "all" else tuple(argument.split(","))
    for name in names:
        if name not in FORMATS:
            raise ArgumentTypeError(f"must be one or more of {', '.join(FORMATS)}, or all; got {name!r:.80}")
    return names


def confirmation(argument: str) -> ConfirmConfig | None:
    """Parse K:SEEDS or K:SEEDS:FURTHER; return None for "none"."""
    if argument == "none":
        return None
    try:
        numbers = [repeats(part) for part in argument.split(":")]
    except ArgumentTypeError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise ArgumentTypeError(
            "must be K:SEEDS or K:SEEDS:FURTHER, whole numbers of at least 1, or none "
            f"(each at most {MAX_REPEATS:,}); got {argument!r:.80}"
        )
    return ConfirmConfig(*numbers)
