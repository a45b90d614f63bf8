"""Load data sets into memory: find or download them, verify them and split them.

Images stay uint8; training scales and normalises them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from search.config import FOLDER, DataConfig, DataForm
from search.data.dataset import (
    OWN_FOLDER,
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

if TYPE_CHECKING:
    from search.data.own.folder import FolderData

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


# By the names on the command line. A folder of images has no definition, as nothing is known before it is read.
DATASETS: MutableMapping[str, Definition] = {**BUILT_IN, **DEFINITIONS}


def definition(name: str) -> Definition:
    """Return the definition of a data set without touching a file. Raises InputError for an unknown name."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r:.80}; the known ones are {', '.join(DATASETS)} and folder:PATH")
    return DATASETS[name]


def form_of(config: DataConfig) -> DataForm:
    """Return the description of a data set.

    A folder is read unless `config` contains its description. Raises InputError as `load_dataset` does.
    """
    if config.form is not None:
        return config.form
    if config.dataset == FOLDER:
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
        if config.dataset != FOLDER:
            definition(config.dataset)
        return config, None
    try:
        definition("mnist").load(_data_directory(replace(config, dataset="mnist")))
    except UnavailableError as error:
        notice = "THIS IS NOT MNIST but scikit-learn's 1,797 small digits; accuracies do not compare with MNIST's."
        return replace(config, dataset="digits"), f"{notice}\n{error}"
    return replace(config, dataset="mnist"), None


def _data_directory(config: DataConfig) -> Path:
    """Return the folder of images, or the directory below which the data set has torchvision's layout."""
    try:
        directory = Path(config.directory).expanduser()
        return directory if config.dataset == FOLDER else root_of(directory, definition(config.dataset).files)
    except RuntimeError as error:
        raise InputError(
            f"there is no such user: {config.directory}; name another directory with --data-dir"
        ) from error


def is_available(config: DataConfig) -> bool:
    """Return whether `load_dataset` would read the data set without a download."""
    directory = _data_directory(config)
    return directory.is_dir() if config.dataset == FOLDER else definition(config.dataset).is_present(directory)


def load_dataset(config: DataConfig) -> Dataset:
    """Read, verify and split a data set; a published one that is absent is downloaded.

    If the writers of the images are known, no writer has images among both the validation and the training images.
    Raises InputError for an unknown name, for files that are wrong, unreadable, or absent and not to be downloaded, and
    for a folder whose images differ from those that `config.form` describes.
    """
    if config.dataset == FOLDER:
        return _load_folder(config)
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


def _load_folder(config: DataConfig) -> Dataset:
    from search.data.own.folder import TERMS

    if config.form and not Path(config.directory).is_dir():
        raise InputError(
            f"the images of {config.form.name} are not in {config.directory} any more; say where they are now: "
            "--data-dir PATH, or for a search --dataset folder:PATH"
        )
    folder, checksum = _read_recorded(config)
    train, val, held_out, remarks = folder.train, None, "", folder.remarks
    if config.select_on == "val":
        train, val, held_out = _folder_validation(folder)
        n_left_out = len(folder.train) - len(train) - len(val)
        if n_left_out:
            remarks += (f"Left out of the training images, as they are copies of validation images: {n_left_out:,}.",)
    mean, std = channel_statistics(train.images)
    return Dataset(
        folder.name,
        folder.classes,
        train,
        val,
        folder.test,
        mean,
        std,
        checksum,
        held_out,
        terms=TERMS,
        remarks=remarks,
        # An exported model.py could not choose test images among copies as an earlier version did.
        files=() if folder.has_test or folder.keeps_copies else tuple((file.label, file.path) for file in folder.files),
        level_ranges=folder.level_ranges,
    )


def _read_recorded(config: DataConfig) -> tuple[FolderData, str]:
    """Return a folder of images and its checksum. If earlier rules give the images of `config.form`, they are used.

    Earlier versions left copies of test images among the training images. Raises InputError for other images.
    """
    from search.data.own.folder import read_folder

    arguments = Path(config.directory), config.image_size, config.form.classes if config.form else ()
    folder = read_folder(*arguments)
    checksum = checksum_of((folder.train, folder.test), folder.classes)
    if config.form is None or config.form.checksum in ("", checksum):
        return folder, checksum
    earlier = read_folder(*arguments, keeps_copies=True)
    if checksum_of((earlier.train, earlier.test), earlier.classes) == config.form.checksum:
        return earlier, config.form.checksum
    raise InputError(
        f"{config.directory} holds other images than {config.form.name} had: their checksum begins {checksum[:8]}, "
        f"not {config.form.checksum[:8]}; put back what was there, or search in a new study, which "
        "is also needed if an earlier version read the same files by other rules"
    )


def _folder_validation(folder: FolderData) -> tuple[Split, Split, str]:
    """Return (training images, validation images, way of choosing the latter)."""
    import torch

    from search.data.own.copies import copies_of, first_copies
    from search.data.own.folder_rules import choose_pictures

    labels = folder.train.labels
    firsts = torch.arange(len(labels)) if folder.keeps_copies else first_copies(folder.train.images)
    has_validation_folder = bool(folder.is_val.any())
    everything = torch.ones(len(labels), dtype=torch.bool)
    chosen = folder.is_val if has_validation_folder else choose_pictures(labels, firsts, everything, VAL_PARTS)
    if not chosen.any():
        raise InputError(f"{folder.name} has no class with two images to hold one out of; use --select-on test")
    is_train = ~copies_of(firsts, chosen)
    missing = sorted(set(labels.tolist()) - set(labels[is_train].tolist()))
    if missing:
        names = ", ".join(folder.classes[label] for label in missing)
        raise InputError(
            f"all images of {names} to train with in {folder.name} are copies of validation images; add others"
        )
    split = folder.train.take(is_train), folder.train.take(chosen)
    return *split, OWN_FOLDER if has_validation_folder else STRATIFIED
