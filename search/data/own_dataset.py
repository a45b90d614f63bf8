"""Make the images of a folder or an archive the data set of a study, and hold out validation images."""

from __future__ import annotations

from pathlib import Path

import torch

from search.config import FOLDER, OWN_KINDS, DataConfig
from search.data.dataset import OWN_FOLDER, OWN_IMAGES, STRATIFIED, VAL_PARTS, Dataset, Split, channel_statistics
from search.data.own.copies import copies_of, first_copies
from search.data.own.folder import read_folder
from search.data.own.folder_rules import choose_pictures
from search.data.own.npz import read_npz
from search.data.own.own_images import OwnImages
from search.errors import InputError

_TERMS = "They are the images of {}; on what terms they may be used, only those who have them can say."


def load_own(config: DataConfig) -> Dataset:
    """Read the images of a folder or an archive, and hold out validation images if `config` says so.

    Raises InputError as `read_folder` and `read_npz` do, and for other images than those that `config.form` describes.
    """
    if config.form and not Path(config.directory).exists():
        option, _ = OWN_KINDS[config.dataset]
        raise InputError(
            f"the images of {config.form.name} are not in {config.directory} any more; say where they are now: "
            f"--data-dir PATH, or for a search --dataset {option}"
        )
    own, checksum = _read_recorded(config)
    train, val, held_out, remarks = own.train, None, "", own.remarks
    if config.select_on == "val":
        train, val, held_out = _hold_out(own)
        n_left_out = len(own.train) - len(train) - len(val)
        if n_left_out:
            remarks += (f"Left out of the training images, as they are copies of validation images: {n_left_out:,}.",)
    mean, std = channel_statistics(train.images)
    # An exported model.py could not choose test images among copies as an earlier version did.
    files = () if own.has_test or own.keeps_copies else tuple((file.label, file.path) for file in own.files)
    return Dataset(
        own.name,
        own.classes,
        train,
        val,
        own.test,
        mean,
        std,
        checksum,
        held_out,
        terms=_TERMS.format("a folder" if config.dataset == FOLDER else "an archive"),
        remarks=remarks,
        files=files,
        level_ranges=own.level_ranges,
    )


def _read_recorded(config: DataConfig) -> tuple[OwnImages, str]:
    """Return own images and their checksum. If earlier rules give the images of `config.form`, they are used.

    Earlier versions left copies of test images among the training images. Raises InputError for other images.
    """
    place, size, is_folder = Path(config.directory), config.image_size, config.dataset == FOLDER
    order = config.form.classes if config.form else ()
    own = read_folder(place, size, order) if is_folder else read_npz(place, size)
    checksum = own.checksum
    if config.form is None or config.form.checksum in ("", checksum):
        return own, checksum
    if is_folder:
        earlier = read_folder(place, size, order, keeps_copies=True)
        if earlier.checksum == config.form.checksum:
            return earlier, config.form.checksum
    raise InputError(
        f"{config.directory} holds other images than {config.form.name} had: their checksum begins {checksum[:8]}, "
        f"not {config.form.checksum[:8]}; put back what was there, or search in a new study, which "
        "is also needed if an earlier version read the same files by other rules"
    )


def _hold_out(own: OwnImages) -> tuple[Split, Split, str]:
    """Return (training images, validation images, way of choosing the latter)."""
    labels = own.train.labels
    firsts = torch.arange(len(labels)) if own.keeps_copies else first_copies(own.train.images)
    has_val = bool(own.is_val.any())
    everything = torch.ones(len(labels), dtype=torch.bool)
    chosen = own.is_val if has_val else choose_pictures(labels, firsts, everything, VAL_PARTS)
    if not chosen.any():
        raise InputError(f"{own.name} has no class with two images to hold one out of; use --select-on test")
    is_train = ~copies_of(firsts, chosen)
    missing = sorted(set(labels.tolist()) - set(labels[is_train].tolist()))
    if missing:
        names = ", ".join(own.classes[label] for label in missing)
        raise InputError(
            f"all images of {names} to train with in {own.name} are copies of validation images; add others"
        )
    split = own.train.take(is_train), own.train.take(chosen)
    way = STRATIFIED if not has_val else OWN_FOLDER if own.files else OWN_IMAGES
    return *split, way
