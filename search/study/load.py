"""Load a study and its settings, and check that its data is present."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna

from models.record import RecordError
from search.config import DataConfig, DataForm, SearchConfig, data_directory
from search.data.load import is_available, load_dataset
from search.errors import InputError
from search.storage.open import open_storage
from search.storage.url import is_new
from search.study.attributes import DATA, SETTINGS
from search.study.find import missing_study
from search.study.location import REPEATS, StudyLocation
from search.study.study import check_settings, load_study
from space import space_of

if TYPE_CHECKING:
    from search.data.dataset import Dataset

WINNER = "winner"
# Kind of a study whose settings name no kind.
SEARCH = "search"


def is_there(location: StudyLocation) -> bool:
    """Return whether there is a study at `location`."""
    try:
        load_existing(location)
    except InputError:
        return False
    return True


def load_existing(location: StudyLocation) -> optuna.Study:
    """Load the study at `location` without creating a missing database.

    Raises InputError if there is no such study, or if it is a study of repeats.
    """
    path = location.sqlite_path
    if path is not None and (not path.is_file() or is_new(path)):
        raise missing_study(location)
    name = str(location.name)
    if name.endswith(REPEATS):
        raise InputError(f"{name!r:.120} holds what was trained again; name its study, {name.removesuffix(REPEATS)!r}")
    storage = open_storage(location.url)
    names = optuna.get_all_study_names(storage)
    if name not in names:
        raise missing_study(location, names)
    return load_study(storage, name)


def goes_on_sharing(location: StudyLocation) -> bool:
    """Return whether there is a study at `location` in which layers may share weights, as in those of version 0.1."""
    try:
        settings = load_existing(location).user_attrs.get(SETTINGS)
    except InputError:
        return False
    return isinstance(settings, Mapping) and bool(settings.get("share_weights", True))


def read_as_recorded(location: StudyLocation, config: DataConfig, data: Dataset) -> Dataset:
    """Return own images as the study at `location` read them, or `data` if there is no such study.

    Earlier versions ordered classes and split copies by other rules. `data` is also returned if they have changed
    since, for `check_resumable` to refuse.
    """
    try:
        recorded = load_existing(location).user_attrs.get(DATA) if data.is_own else None
        form = _recorded_form(recorded) if recorded else None
        return load_dataset(replace(config, form=form)) if form and form.checksum != data.checksum else data
    except InputError:
        return data


def _recorded_form(recorded: Mapping[str, Any]) -> DataForm:
    return DataForm.from_dict({name: value for name, value in recorded.items() if name != _DIRECTORY})


def check_resumable(location: StudyLocation, settings: Mapping[str, Any]) -> None:
    """Raise InputError if the study at `location` cannot be resumed with these settings.

    Raises it also if a named storage cannot be opened. A missing storage is created if possible.
    """
    path = location.sqlite_path
    if path is not None and is_new(path):
        if not location.storage:
            return
        if not path.parent.is_dir():
            raise InputError(f"cannot open the sqlite storage: there is no folder {path.parent}; check --storage")
    storage = open_storage(location.url)
    if location.name in optuna.get_all_study_names(storage):
        check_settings(load_study(storage, str(location.name)), settings)


def check_data(study: optuna.Study, data: Dataset) -> None:
    """Raise InputError if `data` has other images than those that the study was made with."""
    checksum = study.user_attrs[SETTINGS].get("data_checksum", data.checksum)
    if checksum != data.checksum:
        raise InputError(
            f"study {study.study_name!r} was made with other images: those of {data.name} had the checksum "
            f"{checksum!s:.8}, here {data.checksum:.8}; name their directory with --data-dir"
        )


def kind_of(location: StudyLocation) -> str:
    """Return the kind of the study at `location`: "search" or "baselines"."""
    settings = load_existing(location).user_attrs.get(SETTINGS)
    return str(settings.get("kind", SEARCH)) if isinstance(settings, Mapping) else SEARCH


def config_of(study: optuna.Study, data_dir: str | None = None) -> SearchConfig:
    """Return the settings that a study was made with, with the directory of its data.

    data_dir: directory of the data, None for the recorded or default one. Raises InputError for a study without
    settings of a search that this version understands.
    """
    settings = study.user_attrs.get(SETTINGS)
    if not isinstance(settings, Mapping):
        raise InputError(f"study {study.study_name!r} was not made by this program; name another")
    if settings.get("kind", SEARCH) != SEARCH:
        raise InputError(f"study {study.study_name!r} is of {settings['kind']!r:.40}, not of a search; name another")
    try:
        config = SearchConfig.from_settings(settings, "")
        config = replace(config, data=locate_data(config.data, study, data_dir))
        space_of(config)
        return config
    except (InputError, RecordError) as error:
        raise InputError(
            f"study {study.study_name!r} has settings that this version does not know: {error}; use the version that "
            "its config.json names"
        ) from error


_DIRECTORY = "directory"


def with_form(config: DataConfig, data: Dataset) -> DataConfig:
    """Return `config` with the form and the image size of `data`, if those are own images."""
    return replace(config, form=data.form, image_size=data.input_shape[1:]) if data.is_own else config


def keep_data_dir(study: optuna.Study, config: DataConfig) -> None:
    """Record the present directory of a study's data and, for own images, their form."""
    form = config.form.to_dict() if config.form else {}
    study.set_user_attr(DATA, form | {_DIRECTORY: os.path.abspath(os.path.expanduser(config.directory))})


def locate_data(config: DataConfig, study: optuna.Study, data_dir: str | None) -> DataConfig:
    """Return `config` with the directory of the data and, for own images, their recorded form.

    data_dir: directory of the data. None stands for the recorded place of own images. For other data it
    stands for the default directory, or for the recorded one if only that has the data.
    """
    recorded = study.user_attrs.get(DATA, {})
    if not config.is_own:
        default = replace(config, directory=data_directory(data_dir))
        earlier = replace(config, directory=str(recorded.get(_DIRECTORY, default.directory)))
        return earlier if data_dir is None and not is_available(default) and is_available(earlier) else default
    if not recorded:
        return replace(config, directory=data_directory(data_dir))
    form = _recorded_form(recorded)
    directory = os.path.abspath(os.path.expanduser(data_dir)) if data_dir else str(recorded[_DIRECTORY])
    return replace(config, directory=directory, form=form)
