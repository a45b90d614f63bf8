"""Serve optuna-dashboard on a storage, after the notes, figures and files of its studies are updated."""

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
from search.study.load import config_of, load_existing
from search.study.location import ARTIFACTS, StudyLocation, repeats_name
from search.study.read_only import can_be_written, copied
from search.study.trials import read_trials


def dashboard(location: StudyLocation, host: str, port: int, data_dir: str | None) -> int:
    """Serve the dashboard until it is interrupted.

    If the location names a study, only that study is updated, else all studies of the storage. The dashboard works on
    the database itself, which keeps the notes of its readers. A study with its own database, such as a published one,
    and a database that cannot be written are served as a copy, so that viewing does not change them.

    Raises InputError if there is no database or if the address cannot be used.
    """
    path = location.sqlite_path
    if path is not None and (not path.is_file() or is_new(path)):
        raise InputError(f"there is nothing to browse yet: no database {path}; name one with --storage")
    if path is None or (can_be_written(path) and not location.has_own_database):
        return _show(location, host, port, data_dir)
    with copied(path) as copy:
        hint = f"; to keep them, add --storage {location.url}" if can_be_written(path) else ""
        print(f"search.py: shown is a copy of {path}: notes made here are not kept{hint}", file=sys.stderr)
        return _show(replace(location, storage=sqlite_url(copy)), host, port, data_dir, copy.parent)


def _show(location: StudyLocation, host: str, port: int, data_dir: str | None, temporary: Path | None = None) -> int:
    artifacts = (temporary or location.out) / ARTIFACTS
    storage = open_storage(location.url)
    if location.name:
        load_existing(location)
    names = [location.name] if location.name else sorted(optuna.get_all_study_names(storage))
    check_address(host, port)
    make_folder(artifacts)
    # The storage is set, as a study of the same name may also have its own database.
    locations = [replace(location, name=name, storage=location.url) for name in names]
    repeats_names = set(map(repeats_name, locations))
    for study_location in locations:
        if study_location.name not in repeats_names:
            _update(study_location, artifacts, data_dir)
    warn_if_reachable(host, "dashboard")
    print(f"http://{address(host, port)}/  (Ctrl-C ends it)", file=sys.stderr)
    _serve(storage, artifacts, host, port, temporary)
    return 0


def _update(location: StudyLocation, artifacts: Path, data_dir: str | None) -> None:
    """Publish a search and leave any other study as it is.

    A study that cannot be read is reported on standard error, so that the others are still published.
    """
    try:
        study = load_existing(location)
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

    # Nothing has to be saved, and the server would catch an exception that is raised while it answers a request.
    signal.signal(signal.SIGTERM, end)
    try:
        run_server(storage, host=host, port=port, artifact_store=FileSystemArtifactStore(str(artifacts)))
    except OSError as error:
        raise InputError(listen_error(host, port, error)) from error
