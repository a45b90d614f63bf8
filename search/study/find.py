"""Find studies by their names in the databases below a folder, and name those that come near to a missing one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from search.errors import InputError
from search.storage.url import is_new, sqlite_url, study_names
from search.study.location import DATABASE, OWN_DATABASE, REPEATS, StudyLocation


def located(location: StudyLocation) -> StudyLocation:
    """Return `location` with the storage that holds the study, if that is the database of another study's folder.

    The studies of a published frontier share one such database.
    """
    if location.storage or location.name is None or location.has_own_database:
        return location
    if location.name in study_names(location.out / DATABASE):
        return location
    return _shared_databases(location.out).get(location.name, location)


def all_studies(out: Path) -> dict[str, StudyLocation]:
    """Return the locations of all studies in the SQLite files below `out`, by name, without studies of repeats."""
    default = {name: StudyLocation(out, name) for name in _without_repeats(study_names(out / DATABASE))}
    return dict(sorted((_shared_databases(out) | default).items()))


def _shared_databases(out: Path) -> dict[str, StudyLocation]:
    """Return the locations of the studies in databases of their own folders, by name."""
    locations = {}
    for path in sorted(out.glob(f"*/{OWN_DATABASE}")):
        for name in _without_repeats(study_names(path)):
            location = StudyLocation(out, name)
            locations[name] = location if path.parent.name == name else replace(location, storage=sqlite_url(path))
    return locations


def _without_repeats(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(REPEATS)]


def is_surely_missing(location: StudyLocation) -> bool:
    """Return whether a look into its SQLite file shows that the study is missing, without importing Optuna.

    False if that is not certain: for a server, a damaged file, and one whose write-ahead log may hold the study.
    """
    path, name = location.sqlite_path, str(location.name)
    if path is None or name.endswith(REPEATS):
        return False
    if not path.exists() or is_new(path):
        return True
    names = study_names(path)
    return bool(names) and name not in names and not Path(f"{path}-wal").exists()


def missing_study(location: StudyLocation, names: Iterable[str] = ()) -> InputError:
    """Return the error for a missing study, which names the nearest study.

    names: names of the studies of its storage, if they were read; those of SQLite files are read here
    """
    path = location.sqlite_path
    others = (study_names(path) if path else ()) if location.storage else all_studies(location.out)
    known = _without_repeats({*names, *others})
    if not known:
        is_missing = path is not None and (not path.is_file() or is_new(path))
        reason = f"no database {path}" if is_missing else "its storage has no study yet"
        return InputError(
            f"there is no study {location.name!r:.120}: {reason}; name another, or its --storage or folder"
        )
    nearest = "".join(
        f"the nearest is {name!r:.120}; " for name in difflib.get_close_matches(str(location.name), known, 1)
    )
    return InputError(
        f"there is no study {location.name!r:.120} here; {nearest}there are: {', '.join(sorted(known)):.600}"
    )
