"""The command that serves optuna-dashboard on a storage, after everything that it shows was brought up to date."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType

import optuna
from optuna.artifacts import FileSystemArtifactStore

from models.record import RecordError
from search.dashboard.publish import publish
from search.errors import InputError
from search.files import make_folder
from search.report.summary import summary_of
from search.storage.address import address, check_address, listen_error, warn_if_reachable
from search.storage.open import open_storage
from search.storage.url import is_new, sqlite_url
from search.study.attributes import SETTINGS
from search.study.load import config_of, existing
from search.study.location import ARTIFACTS, StudyLocation, repeats_name
from search.study.read_only import can_be_written, copied
from search.study.trials import read_trials


def dashboard(location: StudyLocation, host: str, port: int, data_dir: str | None) -> int:
    """Serve until interrupted. With a name only that study is brought up to date, else all of the storage.

    Shown is the database itself, with what its readers note; of a study that has a database of its own, as published
    ones do, and of one that can only be read, a copy, so that looking changes nothing.
    """
    path = location.sqlite_path
    if path is not None and (not path.is_file() or is_new(path)):
        raise InputError(f"there is nothing to browse yet: no database {path}; name one with --storage")
    if path is None or (can_be_written(path) and not location.has_own_database):
        return _show(location, host, port, data_dir)
    with copied(path) as copy:
        way_out = f"; to keep them, add --storage {location.url}" if can_be_written(path) else ""
        print(f"search.py: shown is a copy of {path}: notes made here are not kept{way_out}", file=sys.stderr)
        return _show(replace(location, storage=sqlite_url(copy)), host, port, data_dir, copy.parent)


def _show(location: StudyLocation, host: str, port: int, data_dir: str | None, temporary: Path | None = None) -> int:
    artifacts = (temporary or location.out) / ARTIFACTS
    storage = open_storage(location.url)
    if location.name:
        existing(location)
    names = [location.name] if location.name else sorted(optuna.get_all_study_names(storage))
    check_address(host, port)
    make_folder(artifacts)
    # With the storage named, as a study of that name may also have a database of its own.
    locations = [replace(location, name=name, storage=location.url) for name in names]
    repeats = set(map(repeats_name, locations))
    for one in locations:
        if one.name not in repeats:
            _bring_up_to_date(one, artifacts, data_dir)
    warn_if_reachable(host, "dashboard")
    print(f"http://{address(host, port)}/  (Ctrl-C ends it)", file=sys.stderr)
    _serve(storage, artifacts, host, port, temporary)
    return 0


def _bring_up_to_date(location: StudyLocation, artifacts: Path, data_dir: str | None) -> None:
    """Publish a search; any other study is left as it is. One that cannot be read does not keep the others back."""
    try:
        study = existing(location)
        settings = study.user_attrs.get(SETTINGS)
        if not isinstance(settings, Mapping) or "budget" not in settings:
            return
        config = config_of(study, data_dir)
        records = read_trials(study.get_trials(deepcopy=False))
        publish(study, config, location, summary_of(study, config, location, records), records, artifacts=artifacts)
    except (InputError, RecordError) as error:
        print(f"search.py: study {location.name} is shown as it is: {error}", file=sys.stderr)


def _serve(storage: optuna.storages.BaseStorage, artifacts: Path, host: str, port: int, temporary: Path | None) -> None:
    from optuna_dashboard import run_server

    def end(number: int, _frame: FrameType | None) -> None:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # There is nothing to save, and a server in the midst of an answer would swallow what is raised there.
    signal.signal(signal.SIGTERM, end)
    try:
        run_server(storage, host=host, port=port, artifact_store=FileSystemArtifactStore(str(artifacts)))
    except OSError as error:
        raise InputError(listen_error(host, port, error)) from error
