"""Frozen records: dataclasses that go to plain dictionaries and back, refuse unknown keys, and hash to a stable key."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, Self


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
            raise RecordError(f"{cls.__name__} must be a mapping of field names to values, got {data!r:.80}")
        hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable; mypy doubts type[Self]
        known = [field.name for field in fields(cls)]
        for key in data:
            if key not in known:
                raise RecordError(f"unknown key {key!r} in {cls.__name__}; its keys are {', '.join(known)}")
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
    return value


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
            raise RecordError(f"{where} must be a list, got {value!r:.80}")
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) != len(value):
            raise RecordError(f"{where} must have {len(items)} entries, got {len(value)}")
        return tuple(
            _read(item, entry, f"{where}[{i}]") for i, (item, entry) in enumerate(zip(items, value, strict=True))
        )
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int: `true` for a width is a mistake, not a 1.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise RecordError(f"{where} must be {_NAMES.get(hint, hint.__name__)}, got {value!r:.80}")
    return value


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def check_choice(name: str, value: object, choices: tuple[Any, ...]) -> None:
    """Raise RecordError unless `value` is one of `choices`."""
    if value not in choices:
        raise RecordError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r:.80}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise RecordError unless low <= value <= high (NaN is refused)."""
    if not low <= value <= high:
        limits = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise RecordError(f"{name} must be {limits}, got {value!r:.80}")
