"""Frozen dataclasses that convert to plain dictionaries and back, refuse unknown keys and hash to a stable key."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, Self

# Largest size of a whole number. Python refuses to print numbers with thousands of digits.
MAX_BITS = 1000


class RecordError(ValueError):
    """Error raised for data that is not a valid record; the message names the field, the value and what is valid."""


@dataclass(frozen=True)
class Record:
    """Base class of the frozen descriptions in this project: networks, recipes, search settings."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types.

        A field at its default is left out, so that a field added later changes no existing key.
        """
        values = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                values[field.name] = _to_plain(value)
        return values

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Create a record from the result of `to_dict`.

        Raises RecordError for an unknown or missing key or a value of the wrong type.
        """
        if not isinstance(data, Mapping):
            raise RecordError(f"{cls.__name__} must be a mapping of field names to values, got {short_repr(data)}")
        hints = _type_hints(cls)  # type: ignore[arg-type]  # a class is hashable; mypy doubts type[Self]
        names = [field.name for field in fields(cls)]
        for key in data:
            if key not in names:
                matches = difflib.get_close_matches(str(key)[:80], names, n=1)
                nearest = f"the nearest is {matches[0]!r}, " if matches else ""
                keys = f"{nearest}its keys are {', '.join(names)}"
                raise RecordError(f"unknown key {short_repr(key)} in {cls.__name__}; {keys}")
        for field in fields(cls):
            if field.default is MISSING and field.name not in data:
                raise RecordError(f"{cls.__name__} needs the key {field.name!r}")
        return cls(**{key: _convert(hints[key], value, f"{cls.__name__}.{key}") for key, value in data.items()})

    def key(self) -> str:
        """Return sixteen hex digits that are equal exactly when the records are equal.

        They are the first digits of the SHA-256 of the canonical JSON.
        """
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _to_plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    # 7 and 7.0 are equal, so their records must have one key.
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def _type_hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _convert(hint: Any, value: object, path: str) -> Any:
    """Convert one JSON value to the type that `hint` declares; `path` names the value in messages."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(item for item in arguments if item is not type(None)), value, path)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise RecordError(f"{path} must be a list, got {short_repr(value)}")
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) != len(value):
            raise RecordError(f"{path} must have {len(items)} entries, got {len(value)}")
        return tuple(
            _convert(item, entry, f"{path}[{i}]") for i, (item, entry) in enumerate(zip(items, value, strict=True))
        )
    if isinstance(hint, type) and issubclass(hint, Record):
        try:
            return hint.from_dict(value)
        except RecordError as error:
            raise type(error)(f"{path}: {error}") from error
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise RecordError(f"{path} is too large, got {short_repr(value)}") from None
    # bool is a subclass of int: `true` for a width is an error, not a 1.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise RecordError(f"{path} must be {_NAMES.get(hint, hint.__name__)}, got {short_repr(value)}")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise RecordError(f"{path} is too large, got {short_repr(value)}")
    return value


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "none"}


def check_types(record: Record) -> None:
    """Raise RecordError if a field holds another type than it declares; a whole number may stand for a float.

    Constructors call it. `from_dict` already converts every value by its type.
    """
    cls: type = type(record)
    for name, allowed, allowed_items, description in _declared_types(cls):
        value = getattr(record, name)
        if type(value) not in allowed or (allowed_items and not allowed_items.issuperset(map(type, value))):
            raise RecordError(f"{cls.__name__}.{name} must be {description}, got {short_repr(value)}")


@cache
def _declared_types(cls: type) -> list[tuple[str, frozenset[type], frozenset[type], str]]:
    """Return each field's name, allowed types, allowed types of a tuple's items, and a description of these."""
    declared: list[tuple[str, frozenset[type], frozenset[type], str]] = []
    for name, hint in _type_hints(cls).items():
        declared_types = [item for item in typing.get_args(hint) if item is not Ellipsis] or [hint]
        allowed = frozenset([*declared_types, int] if float in declared_types else declared_types)
        description = " or ".join(dict.fromkeys(_NAMES.get(item, item.__name__) for item in declared_types))
        if typing.get_origin(hint) is tuple:
            declared.append((name, frozenset({tuple}), allowed, f"a tuple, each item {description}"))
        else:
            declared.append((name, allowed, frozenset(), description))
    return declared


def short_repr(value: object) -> str:
    """Return `value` as messages print it, on one line of at most 80 characters."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # a number of thousands of digits, or deeply nested lists
        return f"a {type(value).__name__} that is too large to be shown"


def check_choice(name: str, value: object, choices: tuple[Any, ...]) -> None:
    """Raise RecordError unless `value` is one of `choices`."""
    if value not in choices:
        raise RecordError(f"{name} must be one of {', '.join(map(str, choices))}, got {short_repr(value)}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise RecordError unless low <= value <= high (NaN and infinity are refused)."""
    if not low <= value <= high or value == float("inf"):
        lowest, highest = _format_number(low), _format_number(high)
        limits = f"at least {lowest}" if high == float("inf") else f"between {lowest} and {highest}"
        finite = " and finite" if value == high == float("inf") else ""
        raise RecordError(f"{name} must be {limits}{finite}, got {short_repr(value)}")


def _format_number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) and value >= 10**6 else f"{value:g}"
