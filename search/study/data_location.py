"""A folder of images and the study that is of it: what was found there and where it lies, kept with the study.

Where it lies is no setting: a folder that was moved is the same data as long as its checksum is.
"""

from __future__ import annotations

import os
from dataclasses import replace

import optuna

from search.config import DataConfig, DataForm, data_directory
from search.data.load import Dataset

# The study's attribute.
DATA = "data"
_DIRECTORY = "directory"


def as_read(config: DataConfig, data: Dataset) -> DataConfig:
    """Of a folder that was read: with what was found, and with the size that its images were brought to."""
    return replace(config, form=data.form, image_size=data.input_shape[1:]) if data.is_folder else config


def keep_place(study: optuna.Study, config: DataConfig) -> None:
    """Note with a study what its folder of images holds, and where it lies now."""
    if config.form:
        study.set_user_attr(DATA, config.form.to_dict() | {_DIRECTORY: config.directory})


def as_kept(config: DataConfig, study: optuna.Study, given: str | None) -> DataConfig:
    """With where the data lies: the directory that was given, else of a folder where it lay, else as for any data."""
    kept = study.user_attrs.get(DATA)
    if kept is None:
        return replace(config, directory=data_directory(given))
    form = DataForm.from_dict({name: value for name, value in kept.items() if name != _DIRECTORY})
    directory = os.path.abspath(os.path.expanduser(given)) if given else str(kept[_DIRECTORY])
    return replace(config, directory=directory, form=form)
