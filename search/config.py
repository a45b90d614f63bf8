"""Frozen settings of the data, the search and the confirmation; the settings of a training are in models.recipe.

This module imports nothing heavy, so that the command line starts at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from models.recipe import MAX_EPOCHS
from models.record import Record, RecordError, check_choice, check_range, check_types, short_repr
from search.errors import InputError

# Version of this program.
VERSION = "0.1.0"
SCORES = ("last", "best", "last3")
SELECT_ON = ("test", "val")
METRICS = ("accuracy", "balanced_accuracy")
# Augmentations that a search may have as dimensions. The affine ones suit any image, and every study has them whose
# settings name none.
AFFINE_AUGMENTATIONS = ("rotation", "shift", "scale", "shear")
AUGMENTATIONS = (*AFFINE_AUGMENTATIONS, "crop", "mirror", "brightness", "contrast", "erase")
# Kinds of data sets that are images of the user: a folder of pictures, or a NumPy archive, which is their directory.
# For messages: the form of the option, and what it names.
FOLDER, NPZ = "folder", "npz"
OWN_KINDS = {FOLDER: ("folder:PATH", "folder of images"), NPZ: ("npz:FILE", "NumPy archive")}
# Height and width of the images of a search, in pixels.
MIN_SIDE, MAX_SIDE = 4, 1024
# Names, with descriptions for --help.
SAMPLERS = {
    "tpe": "models which candidates are good",
    "random": "samples the whole space, as a control",
    "evolve": "recombines and changes the best trials",
}
ENGINES = ("auto", "native", "torch")
PRUNERS = {
    "halving": "lets the best quarter pass a sixteenth and a quarter of the epochs",
    "median": "stops trials far behind the finished ones",
    "none": "stops no trial",
}
# Networks stored with this program that a search trains first.
STARTS = {
    "stored": "first the hand-designed networks and those that earlier studies found, if they fit",
    "none": "only what the sampler proposes and --baseline names",
}
FORMATS = ("torch", "safetensors", "pt2", "onnx", "onnx-int8", "c")
# No study needs larger limits or more repeats; a value beyond these is a typing error.
MAX_LIMIT = 10**15
MAX_REPEATS = 1000
# Bytes of one number, for limits that count bytes.
NUMBER_BYTES = {"float32": 4, "int8": 1}


@dataclass(frozen=True)
class DataForm(Record):
    """Description of a data set, for code that does not need its images.

    input_shape  (C, H, W)
    checksum     as in search.data.dataset.Dataset; "" for a form that was not read from images
    remarks      sentences that users of the data set should know
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    checksum: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Return the number of classes."""
        return len(self.classes)


@dataclass(frozen=True)
class DataConfig(Record):
    """Data set of a search, and the part of it that the search may see.

    directory   where data sets are stored or downloaded to; for OWN_KINDS the folder or the file itself
    select_on   test: train on all training images and score on the test set; val: hold out training images and score
                on those
    image_size  height and width that images are resized to; (): by the rule of search.data.own.decode for a folder,
                and the original size for other data sets
    form        form of own images that were read before; they must have the same form when they are read again
    """

    dataset: str
    directory: str
    select_on: str = "test"
    image_size: tuple[int, ...] = ()
    form: DataForm | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("select-on", self.select_on, SELECT_ON)
        if len(self.image_size) not in (0, 2):
            raise RecordError(f"image-size must be a height and a width, got {self.image_size!r:.80}")
        for side in self.image_size:
            check_range("image-size", side, MIN_SIDE, MAX_SIDE)

    @classmethod
    def named(
        cls, option: str, directory: str, select_on: str = "test", image_size: tuple[int, ...] = ()
    ) -> DataConfig:
        """Return the data set of a --dataset option: a name, read from `directory`, folder:PATH or npz:FILE.

        Raises InputError if the path is missing.
        """
        name, _, path = option.partition(":")
        if name not in OWN_KINDS:
            return cls(option, directory, select_on, image_size)
        if not path.strip():
            form, words = OWN_KINDS[name]
            raise InputError(f"--dataset {name} needs the path of a {words}: {form}")
        return cls(name, os.path.abspath(os.path.expanduser(path)), select_on, image_size)

    @property
    def option(self) -> str:
        """Return the value of --dataset that selects this data set."""
        return f"{self.dataset}:{self.directory}" if self.is_own else self.dataset

    @property
    def is_own(self) -> bool:
        """Return whether the images are those of the user, and not of a published data set."""
        return self.dataset in OWN_KINDS

    @property
    def label(self) -> str:
        """Return the name of the data set that becomes part of a study's name, for example mnist or folder:shapes."""
        return self.form.name if self.form else self.dataset


def data_directory(directory: str | None) -> str:
    """Return the directory of data sets: `directory` if it is given, else $DATA_DIR, else data/."""
    return directory or os.environ.get("DATA_DIR") or "data"


@dataclass(frozen=True)
class ConfirmConfig(Record):
    """Sizes of the two rounds of a confirmation, which trains the best trials again from fresh seeds.

    top      number of trials that are trained in the first round
    seeds    fresh seeds of each of them
    further  fresh seeds of the second round, which trains the best of them and is reported; 0: as many as `seeds`
    """

    top: int = 5
    seeds: int = 5
    further: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_range("trials to confirm", self.top, 1, MAX_REPEATS)
        check_range("seeds to confirm with", self.seeds, 1, MAX_REPEATS)
        check_range("seeds to report on", self.further, 0, MAX_REPEATS)


def words_of(metric: str) -> str:
    """Return the name of a metric in words, for example "balanced accuracy"."""
    return metric.replace("_", " ")


# The settings that every study records. Other settings are recorded only if they differ from their defaults, so that a
# study that is older than a setting can be resumed.
_ALWAYS_RECORDED = ("max_macs", "max_memory", "epochs", "score", "seed", "sampler", "pruner")
# Values of settings that a study does not record, where these are not the defaults. A study that is older than
# --share-weights shares weights.
_UNRECORDED = {"share_weights": True}


@dataclass(frozen=True)
class SearchConfig(Record):
    """Settings that decide which trials a study makes, and what their values are; all runs of a study must agree.

    max_params ... min_rf   limits, described in search.limits; None: no limit
    bytes_in                type of the numbers that limits in bytes count: float32 (4 bytes) or int8 (1 byte)
    max_latency             in milliseconds; measured (search.engine.latency), so less repeatable than the other limits
    dimensions              changes that a --space file makes to the space, as written by search.search_space.space_file
    metric                  metric to maximise: accuracy, or balanced_accuracy, the mean accuracy over the classes
    augmentations           augmentations whose dimensions the space has, members of AUGMENTATIONS
    mirror                  whether every other training image is mirrored, in studies of version 0.1, whose space does
                            not have the dimension
    share_weights           whether convolutions may share weights, which the budget then counts once
    starts                  networks that are trained first, a key of STARTS
    """

    data: DataConfig
    max_params: int
    max_macs: int | None = None
    max_memory: int | None = None
    max_weights_bytes: int | None = None
    min_rf: int | None = None
    bytes_in: str = "float32"
    max_latency: float | None = None
    epochs: int = 15
    score: str = "last"
    seed: int = 0
    sampler: str = "tpe"
    pruner: str = "median"
    dimensions: tuple[str, ...] = ()
    metric: str = "accuracy"
    augmentations: tuple[str, ...] = AFFINE_AUGMENTATIONS
    mirror: bool = False
    share_weights: bool = False
    starts: str = "stored"

    def __post_init__(self) -> None:
        check_types(self)
        check_range("budget", self.max_params, 1, MAX_LIMIT)
        for name in optional_limits():
            if getattr(self, name) is not None:
                check_range(name.replace("_", "-"), getattr(self, name), 1, MAX_LIMIT)
        if self.max_latency is not None:
            check_range("max-latency", self.max_latency, 1e-3, 1e6)
        check_choice("bytes-in", self.bytes_in, tuple(NUMBER_BYTES))
        if self.bytes_in != "float32" and self.max_memory is None and self.max_weights_bytes is None:
            raise RecordError(f"bytes-in {self.bytes_in} counts for max-memory and max-weights-bytes; give one of them")
        check_range("epochs", self.epochs, 1, MAX_EPOCHS)
        check_choice("score", self.score, SCORES)
        check_range("seed", self.seed, 0, 2**32 - 1)
        check_choice("sampler", self.sampler, tuple(SAMPLERS))
        check_choice("pruner", self.pruner, tuple(PRUNERS))
        check_choice("metric", self.metric, METRICS)
        for name in self.augmentations:
            check_choice("augmentations", name, AUGMENTATIONS)
        check_choice("starts", self.starts, tuple(STARTS))

    @property
    def metric_name(self) -> str:
        """Return the name of the metric in words."""
        return words_of(self.metric)

    def settings(self) -> dict[str, Any]:
        """Return the settings in JSON types, named like the options; the directory of the data is left out."""
        values = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("data", "max_params", "dimensions", "augmentations")
            and (
                field.name in _ALWAYS_RECORDED
                or getattr(self, field.name) != _UNRECORDED.get(field.name, field.default)
            )
        }
        if self.augmentations != AFFINE_AUGMENTATIONS:
            values["augmentations"] = list(self.augmentations)
        values |= {"dimensions": dict(line.split(" = ", 1) for line in self.dimensions)} if self.dimensions else {}
        size = {"image_size": "x".join(map(str, self.data.image_size))} if self.data.image_size else {}
        data = {"dataset": self.data.dataset, "select_on": self.data.select_on, **size}
        return {"budget": self.max_params, **data, **values}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], directory: str) -> SearchConfig:
        """Return the configuration that `settings` was called on; `directory` is the directory of the data sets.

        Raises RecordError for settings that are missing or invalid.
        """
        if not isinstance(settings, Mapping):
            raise RecordError(f"settings must be a mapping of names to values, got {short_repr(settings)}")
        values = _UNRECORDED | {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        values |= {"max_params": settings["budget"]} if "budget" in settings else {}
        values |= {"dimensions": _dimension_lines(settings.get("dimensions", {}))}
        data = {name: settings[name] for name in ("dataset", "select_on") if name in settings}
        data |= {"image_size": _sides(settings.get("image_size", ""))}
        return cls.from_dict({**values, "data": {**data, "directory": directory}})


def _sides(image_size: object) -> list[int]:
    """Return the height and width of a text like "28x32"; an empty list for ""."""
    sides = image_size.split("x") if isinstance(image_size, str) and image_size else []
    if not isinstance(image_size, str) or not all(side.isascii() and side.isdigit() for side in sides):
        raise RecordError(f"image_size must be written like 28x28, got {short_repr(image_size)}")
    return [int(side) for side in sides]


def optional_limits() -> tuple[str, ...]:
    """Return the names of the fields of SearchConfig that hold a counted limit, or None for no limit."""
    return tuple(field.name for field in fields(SearchConfig) if field.type == "int | None")


def _dimension_lines(dimensions: object) -> list[str]:
    if not isinstance(dimensions, Mapping):
        raise RecordError(f"dimensions must be a mapping of names to values, got {short_repr(dimensions)}")
    for name, value in dimensions.items():
        if not isinstance(name, str) or " = " in name or not isinstance(value, str):
            raise RecordError(f"dimension {short_repr(name)} must be a name with a text, got {short_repr(value)}")
    return [f"{name} = {value}" for name, value in dimensions.items()]
