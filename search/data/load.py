"""Data sets in memory: find or download, verify, split. Images stay uint8; training scales and normalises them."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path

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
    chosen_by_class,
    hold_out,
)
from search.data.definitions import OWN
from search.data.folder import TERMS, FolderData, read_folder
from search.data.idx import UnavailableError
from search.data.torchvision import DEFINITIONS
from search.errors import InputError

__all__ = [
    "DATASETS",
    "Dataset",
    "Definition",
    "Split",
    "definition",
    "form_of",
    "is_at_hand",
    "load_dataset",
    "resolve_auto",
]


# By the names of the command line. A folder of images has none: it is known when it was read.
DATASETS: MutableMapping[str, Definition] = {**OWN, **DEFINITIONS}


def definition(name: str) -> Definition:
    """Look up a data set; touches no file. Raises InputError for an unknown name."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r:.80}; the known ones are {', '.join(DATASETS)} and folder:PATH")
    return DATASETS[name]


def form_of(config: DataConfig) -> DataForm:
    """Return the description of a data set; a folder that was never read is read. Raises InputError."""
    if config.form is not None:
        return config.form
    if config.dataset == FOLDER:
        return load_dataset(config).form
    known = definition(config.dataset)
    channels, *sides = known.input_shape
    height, width = config.image_size or sides
    return DataForm(config.dataset, (channels, height, width), known.classes)


def resolve_auto(config: DataConfig) -> tuple[DataConfig, str | None]:
    """Replace "auto" by "mnist", or by "digits" and a notice to show where MNIST is absent and cannot be downloaded.

    Any other name comes back as it is. Raises InputError for an unknown name, and for MNIST files that are there but
    wrong: to go on with other data would hide the fault.
    """
    if config.dataset != "auto":
        if config.dataset != FOLDER:
            definition(config.dataset)
        return config, None
    try:
        definition("mnist").load(_root(config))
    except UnavailableError as error:
        notice = "THIS IS NOT MNIST but scikit-learn's 1,797 small digits; accuracies do not compare with MNIST's."
        return replace(config, dataset="digits"), f"{notice}\n{error}"
    return replace(config, dataset="mnist"), None


def _root(config: DataConfig) -> Path:
    try:
        return Path(config.directory).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"there is no such user: {config.directory}; name another directory with --data-dir"
        ) from error


def is_at_hand(config: DataConfig) -> bool:
    """Return whether load_dataset would read the data set without a download."""
    return _root(config).is_dir() if config.dataset == FOLDER else definition(config.dataset).is_at(_root(config))


def load_dataset(config: DataConfig) -> Dataset:
    """Read, verify and split a data set; one that is absent is downloaded where it is published.

    Where the writers of the images are known, none of them has images in both the validation and the training images.
    Raises InputError for an unknown name and for files that are wrong, unreadable, or absent and not to be downloaded;
    for a folder whose images are not those that `config.form` tells of.
    """
    if config.dataset == FOLDER:
        return _of_folder(config)
    known = definition(config.dataset)
    root = _root(config)
    train, test = known.load(root)
    test_files = known.test_files
    if config.image_size not in ((), known.input_shape[1:]):
        height, width = config.image_size
        # The files hold the images in another size.
        train, test, test_files = train.resized(height, width), test.resized(height, width), ()
    checksum = checksum_of((train, test))
    val, held_out = None, ""
    if config.select_on == "val":
        writers = known.writers(root, train.labels)
        held_out = STRATIFIED if writers is None else WRITER_DISJOINT
        train, val = hold_out(train, VAL_PARTS, writers)
    mean, std = channel_statistics(train.images)
    facts = (test_files, known.terms)
    return Dataset(config.dataset, known.classes, train, val, test, mean, std, checksum, held_out, *facts)


def _of_folder(config: DataConfig) -> Dataset:
    if config.form and not Path(config.directory).is_dir():
        raise InputError(
            f"the images of {config.form.name} are not in {config.directory} any more; say where they are now: "
            "--data-dir PATH, or for a search --dataset folder:PATH"
        )
    found = read_folder(Path(config.directory), config.image_size)
    checksum = checksum_of((found.train, found.test), found.classes)
    if config.form and config.form.checksum not in ("", checksum):
        raise InputError(
            f"{config.directory} holds other images than {config.form.name} had: their checksum begins {checksum[:8]}, "
            f"not {config.form.checksum[:8]}; put back what was there, or search in a new study"
        )
    train, val, held_out = found.train, None, ""
    if config.select_on == "val":
        train, val, held_out = _folder_validation(found)
    mean, std = channel_statistics(train.images)
    return Dataset(
        found.name, found.classes, train, val, found.test, mean, std, checksum, held_out, (), TERMS, found.remarks
    )


def _folder_validation(found: FolderData) -> tuple[Split, Split, str]:
    """(training images, validation images, how these were chosen)."""
    own = bool(found.of_val.any())
    chosen = found.of_val if own else chosen_by_class(found.train.labels, VAL_PARTS)
    if not chosen.any():
        raise InputError(f"{found.name} has no class with two images to hold one out of; use --select-on test")
    return found.train.take(~chosen), found.train.take(chosen), OWN_FOLDER if own else STRATIFIED
