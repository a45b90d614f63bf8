"""Another space: a TOML file that narrows, widens or fixes searched dimensions by their names in trials.csv.

A value is one of three: `16` fixes a dimension, `[8, 16, 24]` lists its choices, `{low = 8, high = 24}` is a range; an
end that is left out stays. `stages.1.width` stands for all widths of that stage, and `*` for any part of a name. A
stage whose widths are changed shares no weights, unless the file says how.

A study keeps what was changed as lines `name = value`, in the order of the dimensions (SearchConfig.dimensions).
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.record import shown
from search.config import SearchConfig
from search.errors import InputError
from search.files import read_text
from search.search_space.buildable import matches, widest
from search.search_space.dimensions import Choice, Dimension
from search.search_space.space import Space

_ENDS = {"low", "high"}
# `stages` is a dimension and the first part of the names of others. To TOML that is a contradiction, so a line on it is
# read by itself.
_OF_STAGES = re.compile(r"""^[ \t]*["']?stages["']?[ \t]*=.*$""", re.MULTILINE)


def changed(space: Space, lines: tuple[str, ...]) -> Space:
    """Return `space` with the changes that a study keeps.

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
    # Layers that share weights have one width, perhaps another stage's: not where the file says widths.
    stages = {name.partition(".width.")[0] for name in values if ".width." in name}
    values = {f"{stage}.shared": "none" for stage in stages} | values
    return Space(
        tuple(
            _with(dimension, values[dimension.name]) if dimension.name in values else dimension
            for dimension in space.dimensions
        )
    )


def read_changes(path: Path, space: Space) -> tuple[str, ...]:
    """Read the changes of a file to `space` as lines `name = value`.

    Of two values for one dimension the later counts. Raises InputError that names the file and the value.
    """
    values: dict[str, str] = {}
    try:
        for name, value in _read(path):
            values |= {dimension.name: _text(_with(dimension, value)) for dimension in _named(name, space)}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply; a name has at most four parts") from error
    usual = {dimension.name: _text(dimension) for dimension in space.dimensions}
    lines = tuple(f"{name} = {values[name]}" for name in usual if values.get(name, usual[name]) != usual[name])
    if not lines:
        raise InputError(f"{path}: changes no dimension; python search.py space lists them")
    return lines


def as_file(config: SearchConfig) -> str:
    """Return the text of a space file that makes the same changes.

    Names are in quotes, so that lines on `stages` and on its dimensions are TOML together.
    """
    return "".join(f'"{name}" = {value}\n' for name, _, value in (line.partition(" = ") for line in config.dimensions))


def with_fixed(lines: tuple[str, ...], values: Mapping[str, Any], space: Space) -> tuple[str, ...]:
    """Return the lines of a changed `space` with these dimensions fixed, whatever the lines said of them."""
    texts = {name: text for name, _, text in (line.partition(" = ") for line in lines)}
    texts |= {
        dimension.name: _text(_with(dimension, values[dimension.name]))
        for dimension in space.dimensions
        if dimension.name in values
    }
    return tuple(f"{name} = {texts[name]}" for name in space.defaults if name in texts)


def fixed_at(space: Space, name: str) -> Any:
    """Return the value at which a space fixes a range, or None where it does not."""
    dimension = next(dimension for dimension in space.dimensions if dimension.name == name)
    return None if isinstance(dimension, Choice) or dimension.low != dimension.high else dimension.low


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield every value with its whole name."""
    try:
        text = read_text(path)
        top, header, tables = f"\n{text}".partition("\n[")
        of_stages = "\n".join(_OF_STAGES.findall(top))
        rest = (_OF_STAGES.sub("", top) + header + tables)[1:]
        leaves = [*_leaves(tomllib.loads(of_stages)), *_leaves(tomllib.loads(rest))]
    except OSError as error:
        raise InputError(f"cannot read the space file: {error.strerror}; name another with --space") from error
    except ValueError as error:  # also of text that is not UTF-8
        raise InputError(f"not TOML: {error}") from error
    yield from leaves


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its whole name."""
    for key, value in table.items():
        name = f"{above}{key}"
        if isinstance(value, dict) and not (value and value.keys() <= _ENDS):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _named(name: str, space: Space) -> list[Dimension]:
    """Return the dimension of that name, or all that a pattern or a group stands for.

    Raises InputError that names the nearest dimension.
    """
    dimensions = [dimension for dimension in space.dimensions if matches(name, dimension.name)]
    dimensions = dimensions or [one for one in space.dimensions if name and matches(name, _group(one.name))]
    if not dimensions:
        names = [*space.defaults, *filter(None, map(_group, space.defaults))]
        nearest = difflib.get_close_matches(name[:80], names, n=1, cutoff=0.0)[0]
        raise InputError(
            f"unknown dimension {name!r:.80}; the nearest is {nearest!r}, python search.py space lists all"
        )
    return dimensions


def _group(name: str) -> str:
    """Return a name without its last part where that is a number, else an empty one."""
    above, _, number = name.rpartition(".")
    return above if number.isdigit() else ""


def _with(dimension: Dimension, value: Any) -> Dimension:
    """Return the dimension with the fixed value, choices or range that a file gives it. Raises InputError."""
    name = dimension.name
    if isinstance(value, list):
        choices = tuple(dict.fromkeys(_checked(name, choice) for choice in value))
        if not choices:
            raise InputError(f"{name} needs at least one choice, got []")
        return Choice(name, choices, dimension.default if dimension.default in choices else choices[0])
    if isinstance(dimension, Choice):
        if isinstance(value, dict):
            raise InputError(f"{name} takes a value or a list of choices, not a range")
        fixed = _checked(name, value)
        return Choice(name, (fixed,), fixed)
    ends = value if isinstance(value, dict) else {"low": value, "high": value}
    low, high = (_checked(name, ends.get(end, getattr(dimension, end))) for end in ("low", "high"))
    if low > high:
        raise InputError(f"{name}: low must not be above high, got {low} to {high}")
    return replace(dimension, low=low, high=high, default=min(max(dimension.default, low), high))


def _checked(name: str, value: Any) -> Any:
    """Return the value in its dimension's type. Raises InputError for one that the generator cannot build."""
    buildable = widest(name)
    is_whole = type(value) is int and type(buildable.default) is float  # a whole number may stand for a real one
    if not (is_whole or type(value) is type(buildable.default)) or not buildable.holds(value):
        values = (
            "one of " + ", ".join(map(_toml, buildable.choices))
            if isinstance(buildable, Choice)
            else f"from {buildable}"
        )
        raise InputError(f"{name} must be {values}, got {_shown(value)}; nothing else can be built")
    return float(value) if is_whole else value


def _text(dimension: Dimension) -> str:
    """Return the text of a file that stands for the dimension."""
    if isinstance(dimension, Choice):
        choices = [_toml(choice) for choice in dimension.choices]
        return choices[0] if len(choices) == 1 else f"[{', '.join(choices)}]"
    low, high = _toml(dimension.low), _toml(dimension.high)
    return low if low == high else f"{{low = {low}, high = {high}}}"


def _toml(value: Any) -> str:
    return json.dumps(value, default=str)


def _shown(value: Any) -> str:
    """Return the value as its file has it, where that is short."""
    try:
        return _toml(value)[:80]
    except (ValueError, RecursionError):
        return shown(value)
