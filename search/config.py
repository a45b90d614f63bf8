"""The frozen settings of a run: what data, which search, and with models.recipe how to train. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from models.recipe import MAX_EPOCHS
from models.record import Record, RecordError, check_choice, check_range, check_types, shown
from search.errors import InputError

SCORES = ("last", "best", "last3")
SELECT_ON = ("test", "val")
METRICS = ("accuracy", "balanced_accuracy")
AUGMENTATIONS = ("rotation", "shift", "scale", "shear", "mirror")
# The data set that is a folder of images: its directory is the folder itself.
FOLDER = "folder"
# Of the images of a search, in pixels.
MIN_SIDE, MAX_SIDE = 4, 1024
# By name, with a sentence for --help.
SAMPLERS = {
    "tpe": "models where good candidates lie",
    "random": "draws from the whole space, as a control",
    "evolve": "explores as tpe, then changes the best",
}
ENGINES = ("auto", "native", "torch")
PRUNERS = {
    "median": "stops trials far behind the finished ones",
    "none": "stops none",
}
FORMATS = ("torch", "safetensors", "pt2", "onnx", "onnx-int8", "c")
# No study has larger limits or more repeats: what is beyond is a slip of the keyboard.
MAX_LIMIT = 10**15
MAX_REPEATS = 1000
# Bytes of one number, where a limit counts bytes.
NUMBER_BYTES = {"float32": 4, "int8": 1}


@dataclass(frozen=True)
class DataForm(Record):
    """Description of a data set that was read, for all code that does not need its images.

    input_shape  (C, H, W); checksum: as search.data.dataset.Dataset has it, none of a form that was not read off images
    remarks      what its user should know, a sentence each
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    checksum: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)


@dataclass(frozen=True)
class DataConfig(Record):
    """The data set, and the part of it that the search may see.

    directory   where data sets lie or are downloaded to; of FOLDER the folder of images itself
    select_on   test: train on all training images, score on the test set; val: hold out images and score on those
    image_size  height and width that images are brought to; none: of a folder by the rule of search.data.folder, of
                other data as they are
    form        of a folder, once it was read: it has to be found again
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
        """Return the data set of --dataset: a name, with `directory`, or folder:PATH. Raises InputError."""
        name, _, path = option.partition(":")
        if name != FOLDER:
            return cls(option, directory, select_on, image_size)
        if not path.strip():
            raise InputError("--dataset folder needs the path of a folder of images: folder:PATH")
        return cls(FOLDER, os.path.abspath(os.path.expanduser(path)), select_on, image_size)

    @property
    def option(self) -> str:
        """The value of --dataset that stands for this data set."""
        return f"{FOLDER}:{self.directory}" if self.dataset == FOLDER else self.dataset

    @property
    def label(self) -> str:
        """Name of the data set in a study's name: mnist, folder:shapes."""
        return self.form.name if self.form else self.dataset


def data_directory(given: str | None) -> str:
    """Return the directory of data sets: as given, else $DATA_DIR, else data/."""
    return given or os.environ.get("DATA_DIR") or "data"


@dataclass(frozen=True)
class ConfirmConfig(Record):
    """Sizes of a confirmation: the `top` best trials from `seeds` fresh seeds each, then the best of them again.

    further: seeds of that second round, the one that is reported; 0: as many as in the first.
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
    """A metric as it is called: balanced accuracy."""
    return metric.replace("_", " ")


# The settings that every study records. Any other is recorded where it is not at its default, so that a study that was
# made before there was such a setting goes on.
_ALWAYS_RECORDED = ("max_macs", "max_memory", "epochs", "score", "seed", "sampler", "pruner")


@dataclass(frozen=True)
class SearchConfig(Record):
    """Everything that decides which trials a study makes and what they are worth. Two runs of one study must agree.

    max_params ... min_rf   the limits, None: no such limit; what each bounds stands in search.limits
    bytes_in                the kind of number that limits in bytes count: float32, 4 bytes, or int8, 1 byte
    max_latency             in milliseconds, measured (search.engine.latency), so not repeatable as the others are
    dimensions              what a --space file changes of the space, as search.search_space.space_file keeps it
    metric                  what is maximised: accuracy, or the mean of the accuracies of all classes
    mirror                  whether training images are mirrored, every other one
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
    mirror: bool = False

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

    @property
    def metric_name(self) -> str:
        """The metric in words."""
        return words_of(self.metric)

    def settings(self) -> dict[str, Any]:
        """Return the settings in JSON types, under the names of the command line; the data's directory is left out."""
        own = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("data", "max_params")
            and (field.name in _ALWAYS_RECORDED or getattr(self, field.name) != field.default)
        }
        own |= {"dimensions": dict(line.split(" = ", 1) for line in self.dimensions)} if self.dimensions else {}
        size = {"image_size": "x".join(map(str, self.data.image_size))} if self.data.image_size else {}
        data = {"dataset": self.data.dataset, "select_on": self.data.select_on, **size}
        return {"budget": self.max_params, **data, **own}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], directory: str) -> SearchConfig:
        """The inverse of `settings`; `directory` is where data sets lie. Raises RecordError."""
        if not isinstance(settings, Mapping):
            raise RecordError(f"settings must be a mapping of names to values, got {shown(settings)}")
        own = {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        own |= {"max_params": settings["budget"]} if "budget" in settings else {}
        own |= {"dimensions": _dimension_lines(settings.get("dimensions", {}))}
        data = {name: settings[name] for name in ("dataset", "select_on") if name in settings}
        data |= {"image_size": _sides(settings.get("image_size", ""))}
        return cls.from_dict({**own, "data": {**data, "directory": directory}})


def _sides(image_size: object) -> list[int]:
    """Return height and width of "28x32"; nothing of ""."""
    sides = image_size.split("x") if isinstance(image_size, str) and image_size else []
    if not isinstance(image_size, str) or not all(side.isascii() and side.isdigit() for side in sides):
        raise RecordError(f"image_size must be written like 28x28, got {shown(image_size)}")
    return [int(side) for side in sides]


def optional_limits() -> tuple[str, ...]:
    """Return the fields of SearchConfig that hold a counted limit, or None for no limit."""
    return tuple(field.name for field in fields(SearchConfig) if field.type == "int | None")


def _dimension_lines(dimensions: object) -> list[str]:
    if not isinstance(dimensions, Mapping):
        raise RecordError(f"dimensions must be a mapping of names to values, got {shown(dimensions)}")
    for name, value in dimensions.items():
        if not isinstance(name, str) or " = " in name or not isinstance(value, str):
            raise RecordError(f"dimension {shown(name)} must be a name with a text, got {shown(value)}")
    return [f"{name} = {value}" for name, value in dimensions.items()]
