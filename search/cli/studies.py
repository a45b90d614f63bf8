"""Describe the studies of a folder or of a storage, each in one row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna

from models.record import RecordError
from search.cli.winner import confirmed
from search.errors import InputError
from search.storage.open import open_storage
from search.storage.url import is_new, sqlite_url
from search.study.attributes import DATA, SETTINGS
from search.study.load import SEARCH, config_of, load_existing
from search.study.location import DATABASE, OWN_DATABASE, REPEATS, StudyLocation
from search.study.loop import n_trained
from search.study.read_only import readable
from search.study.trials import ranked, read_trials
from search.text import percent, text_table

_COLUMNS = ("study", "data", "budget", "trials", "best", "confirmed", "n", "storage")


def read_studies(out: Path, storage: str | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a description of every study in JSON types, and the errors of those that cannot be read.

    out: folder of the studies. storage: URL of the storage; None for all SQLite files below `out`
    """
    if storage is None:
        locations, errors = _locations_below(out)
    else:
        locations, errors = _studies_of(out, storage), []
    rows = []
    for name, location in sorted(locations.items()):
        try:
            with readable(location) as readable_location:
                rows.append({"study": name, **_facts(readable_location), "storage": location.shown_url})
        except (InputError, RecordError) as error:
            errors.append(f"{name}: {error}")
    return rows, errors


def _locations_below(out: Path) -> tuple[dict[str, StudyLocation], list[str]]:
    """Return the locations of the studies in the SQLite files below a folder, and the errors of unreadable files.

    The files are read through Optuna, so that studies in the write-ahead log of a running search are found too.
    """
    locations: dict[str, StudyLocation] = {}
    own_locations: dict[str, StudyLocation] = {}
    errors = []
    for path in (*sorted(out.glob(f"*/{OWN_DATABASE}")), out / DATABASE):
        if is_new(path):
            continue
        try:
            locations_in_file = _studies_of(out, sqlite_url(path))
        except InputError as error:
            errors.append(str(error))
            continue
        locations |= locations_in_file
        own_locations |= {name: item for name, item in locations_in_file.items() if name == path.parent.name}
    # A study is read from the database of its own folder, else from the default one, else from that of another folder.
    return locations | own_locations, errors


def _studies_of(out: Path, storage: str) -> dict[str, StudyLocation]:
    with readable(StudyLocation(out, None, storage)) as location:
        names = optuna.get_all_study_names(open_storage(location.url))
    return {name: StudyLocation(out, name, storage) for name in names if not name.endswith(REPEATS)}


def _facts(location: StudyLocation) -> dict[str, Any]:
    """Return data, budget, number of trials, best value and confirmed mean of a study; None where there is none."""
    study = load_existing(location)
    settings = study.user_attrs.get(SETTINGS)
    trials = study.get_trials(deepcopy=False)
    kind = settings.get("kind", SEARCH) if isinstance(settings, Mapping) else None
    facts: dict[str, Any] = {
        "kind": kind,
        "data": settings.get("dataset") if isinstance(settings, Mapping) else None,
        "budget": None,
        "trials": n_trained(trials) if kind else len(trials),
        "best": None,
        "confirmed": None,
        "n_confirmed": None,
    }
    if kind != SEARCH:
        return facts
    config, records = config_of(study), read_trials(trials)
    facts |= {"data": study.user_attrs.get(DATA, {}).get("name", config.data.label), "budget": config.max_params}
    if best := ranked(records):
        facts["best"] = best[0].value
    if winner := confirmed(location, records, config):
        facts |= {"confirmed": fmean(winner[1]), "n_confirmed": len(winner[1])}
    return facts


def studies_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `read_studies` as a table."""
    cells = [
        (
            row["study"],
            row["data"] or "-",
            "-" if row["budget"] is None else f"{row['budget']:,}",
            f"{row['trials']:,}",
            "-" if row["best"] is None else percent(row["best"]),
            "-" if row["confirmed"] is None else percent(row["confirmed"]),
            str(row["n_confirmed"] or "-"),
            row["storage"],
        )
        for row in rows
    ]
    return text_table(_COLUMNS, cells, "<<>>>>><")
