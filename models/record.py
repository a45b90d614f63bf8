"""Frozen records: dataclasses that go to plain dictionaries and back, refuse unknown keys, and hash to a stable key."""

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

# Of a whole number: one with thousands of digits could not even be written down again.
MAX_BITS = 1000


class RecordError(ValueError):
    """Data that is not a valid record; the message names the field, the value and what would be right."""


@dataclass(frozen=True)
class Record:
    """Base of every frozen description in this project (networks, recipes, search settings)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types only. A field at its default is left out, so that a field added later changes no old key."""
        values = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                values[field.name] = _plain(value)
        return values

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """The inverse of `to_dict`. Raises RecordError for an unknown or missing key or a value of the wrong type."""
        if not isinstance(data, Mapping):
            raise RecordError(f"{cls.__name__} must be a mapping of field names to values, got {shown(data)}")
        hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable; mypy doubts type[Self]
        known = [field.name for field in fields(cls)]
        for key in data:
            if key not in known:
                near = difflib.get_close_matches(str(key)[:80], known, n=1)
                hint = f"the nearest is {near[0]!r}, " if near else ""
                raise RecordError(f"unknown key {shown(key)} in {cls.__name__}; {hint}its keys are {', '.join(known)}")
        for field in fields(cls):
            if field.default is MISSING and field.name not in data:
                raise RecordError(f"{cls.__name__} needs the key {field.name!r}")
        return cls(**{key: _read(hints[key], value, f"{cls.__name__}.{key}") for key, value in data.items()})

    def key(self) -> str:
        """Sixteen hex digits that are equal exactly when the records are equal (SHA-256 of the canonical JSON)."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    # 7 and 7.0 are equal, so their records must have one key.
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _read(hint: Any, value: object, where: str) -> Any:
    """Turn one JSON value into what the type hint `hint` asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _read(next(item for item in arguments if item is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise RecordError(f"{where} must be a list, got {shown(value)}")
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) != len(value):
            raise RecordError(f"{where} must have {len(items)} entries, got {len(value)}")
        return tuple(
            _read(item, entry, f"{where}[{i}]") for i, (item, entry) in enumerate(zip(items, value, strict=True))
        )
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise RecordError(f"{where} is too large, got {shown(value)}") from None
    # bool is a subclass of int: `true` for a width is a mistake, not a 1.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise RecordError(f"{where} must be {_NAMES.get(hint, hint.__name__)}, got {shown(value)}")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise RecordError(f"{where} is too large, got {shown(value)}")
    return value


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "none"}


def check_types(record: Record) -> None:
    """Raise RecordError where a field holds another type than it declares; a whole number may stand for a float.

    For records made by their constructor; `from_dict` reads every value by its type already.
    """
    cls: type = type(record)
    for name, allowed, allowed_items, wanted in _declared_types(cls):
        value = getattr(record, name)
        if type(value) not in allowed or (allowed_items and not allowed_items.issuperset(map(type, value))):
            raise RecordError(f"{cls.__name__}.{name} must be {wanted}, got {shown(value)}")


@cache
def _declared_types(cls: type) -> list[tuple[str, frozenset[type], frozenset[type], str]]:
    """Return for each field its name, the types it may hold, the types of a tuple's items, and these in words."""
    declared: list[tuple[str, frozenset[type], frozenset[type], str]] = []
    for name, hint in _hints(cls).items():
        declared_types = [item for item in typing.get_args(hint) if item is not Ellipsis] or [hint]
        allowed = frozenset([*declared_types, int] if float in declared_types else declared_types)
        wanted = " or ".join(dict.fromkeys(_NAMES.get(item, item.__name__) for item in declared_types))
        if typing.get_origin(hint) is tuple:
            declared.append((name, frozenset({tuple}), allowed, f"a tuple, each item {wanted}"))
        else:
            declared.append((name, allowed, frozenset(), wanted))
    return declared


def shown(value: object) -> str:
    """A value as a message names it: on one line, at most 80 characters."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # a number of thousands of digits; a list in a list in a list
        return f"a {type(value).__name__} that is too large to be shown"


def check_choice(name: str, value: object, choices: tuple[Any, ...]) -> None:
    """Raise RecordError unless `value` is one of `choices`."""
    if value not in choices:
        raise RecordError(f"{name} must be one of {', '.join(map(str, choices))}, got {shown(value)}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise RecordError unless low <= value <= high (NaN and infinity are refused)."""
    if not low <= value <= high or value == float("inf"):
        limits = f"at least {_number(low)}" if high == float("inf") else f"between {_number(low)} and {_number(high)}"
        finite = " and finite" if value == high == float("inf") else ""
        raise RecordError(f"{name} must be {limits}{finite}, got {shown(value)}")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) and value >= 10**6 else f"{value:g}"
