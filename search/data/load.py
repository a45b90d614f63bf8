"""Load data sets into memory: find or download them, verify them and split them.

Images stay uint8; training scales and normalises them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path

from search.config import FOLDER, OWN_KINDS, DataConfig, DataForm
from search.data.dataset import (
    STRATIFIED,
    VAL_PARTS,
    WRITER_DISJOINT,
    Dataset,
    Definition,
    Split,
    channel_statistics,
    checksum_of,
    hold_out,
)
from search.data.definitions import BUILT_IN
from search.data.idx import UnavailableError
from search.data.root import root_of
from search.data.torchvision import DEFINITIONS
from search.errors import InputError

__all__ = [
    "DATASETS",
    "Dataset",
    "Definition",
    "Split",
    "definition",
    "form_of",
    "is_available",
    "load_dataset",
    "resolve_auto",
]


# By the names on the command line. Images of users have no definition, as nothing is known before they are read.
DATASETS: MutableMapping[str, Definition] = {**BUILT_IN, **DEFINITIONS}


def definition(name: str) -> Definition:
    """Return the definition of a data set without touching a file. Raises InputError for an unknown name."""
    if name not in DATASETS:
        raise InputError(
            f"unknown data set {name!r:.80}; the known ones are {', '.join(DATASETS)}, "
            f"{' and '.join(form for form, _ in OWN_KINDS.values())}"
        )
    return DATASETS[name]


def form_of(config: DataConfig) -> DataForm:
    """Return the description of a data set.

    Images of users are read unless `config` contains their description. Raises InputError as `load_dataset` does.
    """
    if config.form is not None:
        return config.form
    if config.is_own:
        return load_dataset(config).form
    data_definition = definition(config.dataset)
    channels, *sides = data_definition.input_shape
    height, width = config.image_size or sides
    return DataForm(config.dataset, (channels, height, width), data_definition.classes)


def resolve_auto(config: DataConfig) -> tuple[DataConfig, str | None]:
    """Replace "auto" by "mnist", or by "digits" where MNIST is absent and cannot be downloaded.

    The second result is a notice to show in the latter case, else None. Any other name is returned unchanged. Raises
    InputError for an unknown name, and for MNIST files that exist but are wrong, as other data would hide that.
    """
    if config.dataset != "auto":
        if not config.is_own:
            definition(config.dataset)
        return config, None
    try:
        definition("mnist").load(_data_directory(replace(config, dataset="mnist")))
    except UnavailableError as error:
        notice = "THIS IS NOT MNIST but scikit-learn's 1,797 small digits; accuracies do not compare with MNIST's."
        return replace(config, dataset="digits"), f"{notice}\n{error}"
    return replace(config, dataset="mnist"), None


def _data_directory(config: DataConfig) -> Path:
    """Return the place of own images, or the directory below which the data set has torchvision's layout."""
    try:
        directory = Path(config.directory).expanduser()
        return directory if config.is_own else root_of(directory, definition(config.dataset).files)
    except RuntimeError as error:
        raise InputError(
            f"there is no such user: {config.directory}; name another directory with --data-dir"
        ) from error


def is_available(config: DataConfig) -> bool:
    """Return whether `load_dataset` would read the data set without a download."""
    directory = _data_directory(config)
    if config.is_own:
        return directory.is_dir() if config.dataset == FOLDER else directory.is_file()
    return definition(config.dataset).is_present(directory)


def load_dataset(config: DataConfig) -> Dataset:
    """Read, verify and split a data set; a published one that is absent is downloaded.

    If the writers of the images are known, no writer has images among both the validation and the training images.
    Raises InputError for an unknown name, for files that are wrong, unreadable, or absent and not to be downloaded, and
    for a folder whose images differ from those that `config.form` describes.
    """
    if config.is_own:
        from search.data.own_dataset import load_own

        return load_own(config)
    data_definition = definition(config.dataset)
    root = _data_directory(config)
    train, test = data_definition.load(root)
    test_files = data_definition.test_files
    if config.image_size not in ((), data_definition.input_shape[1:]):
        height, width = config.image_size
        # The files hold the images in their original size.
        train, test, test_files = train.resized(height, width), test.resized(height, width), ()
    checksum = checksum_of((train, test))
    val, held_out = None, ""
    if config.select_on == "val":
        writers = data_definition.writers(root, train.labels)
        held_out = STRATIFIED if writers is None else WRITER_DISJOINT
        train, val = hold_out(train, VAL_PARTS, writers)
    mean, std = channel_statistics(train.images)
    facts = (test_files, data_definition.terms)
    return Dataset(config.dataset, data_definition.classes, train, val, test, mean, std, checksum, held_out, *facts)
