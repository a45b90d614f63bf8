"""Read networks from JSON or TOML files with the fields of models.spec.ArchSpec."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from models.baselines import BASELINES
from models.record import RecordError
from models.spec import ArchSpec
from search.errors import InputError
from search.files import parse_json, read_text

_EXAMPLE = "describe ID --json prints one"


def read_network(network: str) -> tuple[str, ArchSpec]:
    """Return the name and the network of a network file, or of the id of a hand-designed network.

    The network of a file is named as the file, without its ending. Raises InputError for a file that holds no network,
    and for one that is named as a hand-designed network but holds another.
    """
    baseline = BASELINES.get(network)
    if baseline:
        return baseline.id, baseline.spec
    path = Path(network)
    spec = read_spec(path)
    if path.stem in BASELINES and BASELINES[path.stem].spec != spec:
        raise InputError(f"{path} is not the hand-designed network {path.stem}; rename the file")
    return path.stem, spec


def read_spec(path: Path) -> ArchSpec:
    """Read the network in a file. Raises InputError for a file without a network or with an invalid one."""
    try:
        text = read_text(path)
    except OSError as error:
        names = ", ".join(BASELINES)
        raise InputError(
            f"no hand-designed network or readable file {str(path)!r:.120}; the networks are {names}"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not text: {error}; {_EXAMPLE}") from error
    is_toml = path.suffix == ".toml"
    try:
        data = _without_none(tomllib.loads(text)) if is_toml else parse_json(text)
        # A card.json of an exported model holds the network under "arch".
        return ArchSpec.from_dict(data["arch"] if isinstance(data, dict) and "arch" in data else data)
    except RecordError as error:
        raise InputError(f"{path}: {error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a {'TOML' if is_toml else 'JSON'} file: {error}; {_EXAMPLE}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be a network; {_EXAMPLE}") from error


def _without_none(value: Any) -> Any:
    """Return TOML data with the activation "none" as None, which TOML has no value for."""
    if isinstance(value, dict):
        return {
            name: None if (name, item) == ("activation", "none") else _without_none(item)
            for name, item in value.items()
        }
    return [_without_none(item) for item in value] if isinstance(value, list) else value
