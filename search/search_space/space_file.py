"""Read TOML files that narrow, widen or fix searched dimensions by their names in trials.csv.

A value has one of three forms: `16` fixes a dimension, `[8, 16, 24]` lists its choices, and `{low = 8, high = 24}` is a
range, where an end that is left out stays as it is. `stages.1.width` stands for all widths of that stage, and `*` for
any part of a name. A stage whose widths are changed shares no weights unless the file sets how it shares them.

A study keeps the changes as lines `name = value`, in the order of the dimensions (SearchConfig.dimensions).
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.record import short_repr
from search.config import SearchConfig
from search.errors import InputError
from search.files import read_text
from search.search_space.buildable import matches, widest
from search.search_space.dimensions import Choice, Dimension
from search.search_space.space import Space

_ENDS = {"low", "high"}
# `stages` is a dimension and also the first part of other names. A TOML document cannot have both, so a line that sets
# `stages` is read separately.
_STAGES_LINE = re.compile(r"""^[ \t]*["']?stages["']?[ \t]*=.*$""", re.MULTILINE)


def changed(space: Space, lines: tuple[str, ...]) -> Space:
    """Return `space` with the changes that a study keeps as lines.

    Raises InputError for a dimension or a value that the generator cannot build.
    """
    values: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(" = ")
        try:
            ((_, values[name]),) = tomllib.loads(f"value = {value}").items()
        except (ValueError, RecursionError) as error:
            raise InputError(f"no value of a dimension: {line!r:.80}; it was written by another version") from error
    unknown = values.keys() - space.defaults.keys()
    if unknown:
        raise InputError(f"unknown dimension {min(unknown)!r:.80}; it was written by another version")
    # Layers that share weights have one width, perhaps that of another stage, which would override the file's widths.
    stages = {name.partition(".width.")[0] for name in values if ".width." in name}
    values = {f"{stage}.shared": "none" for stage in stages} | values
    dimensions = tuple(
        _with_value(dimension, values[dimension.name]) if dimension.name in values else dimension
        for dimension in space.dimensions
    )
    _check_stages(dimensions, space)
    return Space(dimensions)


def read_changes(path: Path, space: Space) -> tuple[str, ...]:
    """Read the changes that a file makes to `space`, as lines `name = value`.

    If a dimension has two values, the later one counts. Raises InputError that names the file and the value.
    """
    values: dict[str, str] = {}
    try:
        for name, value in _read_values(path):
            changes = [_with_value(dimension, value) for dimension in _dimensions_named(name, space)]
            _check_stages(changes, space)
            values |= {dimension.name: _text(dimension) for dimension in changes}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply; a name has at most four parts") from error
    original = {dimension.name: _text(dimension) for dimension in space.dimensions}
    lines = tuple(f"{name} = {values[name]}" for name in original if values.get(name, original[name]) != original[name])
    if not lines:
        raise InputError(f"{path}: changes no dimension; python search.py space lists them")
    return lines


def _check_stages(dimensions: Iterable[Dimension], space: Space) -> None:
    """Raise InputError if a changed dimension allows more stages than `space` has dimensions for."""
    for dimension in dimensions:
        if dimension.name == "stages":
            most = max(dimension.choices) if isinstance(dimension, Choice) else dimension.high
            if most > space.max_stages:
                raise InputError(
                    f"stages must be from 1 to {space.max_stages}, got {most}; images of this size allow no more"
                )


def as_file(config: SearchConfig) -> str:
    """Return the text of a space file that makes the changes of a search.

    Names are in quotes, so that a TOML document may hold both `stages` and names that begin with it.
    """
    return "".join(f'"{name}" = {value}\n' for name, _, value in (line.partition(" = ") for line in config.dimensions))


def without(lines: tuple[str, ...], names: Sequence[str]) -> tuple[str, ...]:
    """Return the lines of a changed space without those of some dimensions."""
    return tuple(line for line in lines if line.partition(" = ")[0] not in names)


def fixed_at(space: Space, name: str) -> Any:
    """Return the value that `space` fixes a range at, or None if it does not fix it."""
    dimension = next(dimension for dimension in space.dimensions if dimension.name == name)
    return None if isinstance(dimension, Choice) or dimension.low != dimension.high else dimension.low


def _read_values(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the full name and the value of every entry of a space file."""
    try:
        text = read_text(path)
        top, header, tables = f"\n{text}".partition("\n[")
        stages_lines = "\n".join(_STAGES_LINE.findall(top))
        rest = (_STAGES_LINE.sub("", top) + header + tables)[1:]
        leaves = [*_leaves(tomllib.loads(stages_lines)), *_leaves(tomllib.loads(rest))]
    except OSError as error:
        raise InputError(f"cannot read the space file: {error.strerror}; name another with --space") from error
    except ValueError as error:  # also for text that is not UTF-8
        raise InputError(f"not TOML: {error}") from error
    yield from leaves


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full name and the value of every entry of a table and the tables in it."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and not (value and value.keys() <= _ENDS):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _dimensions_named(name: str, space: Space) -> list[Dimension]:
    """Return the dimension of that name, or all dimensions that a pattern or a group name stands for.

    Raises InputError for an unknown name; it suggests the nearest one.
    """
    dimensions = [dimension for dimension in space.dimensions if matches(name, dimension.name)]
    dimensions = dimensions or [
        dimension for dimension in space.dimensions if name and matches(name, _group_name(dimension.name))
    ]
    if not dimensions:
        names = [*space.defaults, *filter(None, map(_group_name, space.defaults))]
        nearest = difflib.get_close_matches(name[:80], names, n=1, cutoff=0.0)[0]
        raise InputError(
            f"unknown dimension {name!r:.80}; the nearest is {nearest!r}, python search.py space lists all"
        )
    return dimensions


def _group_name(name: str) -> str:
    """Return a name without its last part if that is a number, else an empty string."""
    group, _, number = name.rpartition(".")
    return group if number.isdigit() else ""


def _with_value(dimension: Dimension, value: Any) -> Dimension:
    """Return a dimension with the fixed value, choices or range of a file. Raises InputError for an invalid one."""
    name = dimension.name
    if isinstance(value, list):
        choices = tuple(dict.fromkeys(_checked_value(name, choice) for choice in value))
        if not choices:
            raise InputError(f"{name} needs at least one choice, got []")
        return Choice(name, choices, dimension.default if dimension.default in choices else choices[0])
    if isinstance(dimension, Choice):
        if isinstance(value, dict):
            raise InputError(f"{name} takes a value or a list of choices, not a range")
        fixed = _checked_value(name, value)
        return Choice(name, (fixed,), fixed)
    ends = value if isinstance(value, dict) else {"low": value, "high": value}
    low, high = (_checked_value(name, ends.get(end, getattr(dimension, end))) for end in ("low", "high"))
    if low > high:
        raise InputError(f"{name}: low must not be above high, got {low} to {high}")
    return replace(dimension, low=low, high=high, default=min(max(dimension.default, low), high))


def _checked_value(name: str, value: Any) -> Any:
    """Return a value in the type of its dimension. Raises InputError for a value that the generator cannot build."""
    buildable = widest(name)
    is_whole = type(value) is int and type(buildable.default) is float  # a whole number may stand for a real one
    if not (is_whole or type(value) is type(buildable.default)) or not buildable.holds(value):
        values = (
            "one of " + ", ".join(map(_toml, buildable.choices))
            if isinstance(buildable, Choice)
            else f"from {buildable}"
        )
        raise InputError(f"{name} must be {values}, got {_shown_value(value)}; nothing else can be built")
    return float(value) if is_whole else value


def _text(dimension: Dimension) -> str:
    """Return the TOML value that stands for a dimension."""
    if isinstance(dimension, Choice):
        choices = [_toml(choice) for choice in dimension.choices]
        return choices[0] if len(choices) == 1 else f"[{', '.join(choices)}]"
    low, high = _toml(dimension.low), _toml(dimension.high)
    return low if low == high else f"{{low = {low}, high = {high}}}"


def _toml(value: Any) -> str:
    return json.dumps(value, default=str)


def _shown_value(value: Any) -> str:
    """Return the start of a value as TOML, for messages."""
    try:
        return _toml(value)[:80]
    except (ValueError, RecursionError):
        return short_repr(value)
