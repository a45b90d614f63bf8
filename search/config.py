"""The frozen settings of a run: what data, which recipe, which search. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from models.record import Record, RecordError, check_choice, check_range, check_types, shown

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "onecycle", "step")
INTERPOLATIONS = ("nearest", "bilinear")
SCORES = ("last", "best", "last3")
SELECT_ON = ("test", "val")
SAMPLERS = ("tpe", "random", "evolve")
ENGINES = ("auto", "native", "torch")
PRUNERS = ("median", "none")
FORMATS = ("torch", "safetensors", "pt2", "onnx", "onnx-int8", "c")
# No training is longer, and no study has larger limits or more of anything: what is beyond is a slip of the keyboard.
MAX_EPOCHS = 10_000
MAX_LIMIT = 10**15
LARGEST = 1_000_000
MAX_REPEATS = 1000
# Bytes of one number, where a limit counts bytes.
NUMBER_BYTES = {"float32": 4, "int8": 1}


class InputError(Exception):
    """Something its user can put right. Shown as one line, exit status 2."""


class FailureError(Exception):
    """The job could not be done, and not for want of better input. Shown as one line, exit status 1."""


@dataclass(frozen=True)
class Augmentation(Record):
    """Random changes to training images, drawn for every image on its own.

    rotation, shear            degrees; each image draws from [-x, x]
    shift                      largest shift along each axis, as a fraction of that side
    scale                      each image is scaled by a factor from [1 - scale, 1 + scale]
    interpolation, fill        of rotation, shift, scale and shear; fill is a grey level in [0, 1]
    crop_p, crop_side          with probability crop_p the central crop_side x crop_side pixels, resized back
    brightness, contrast       factors from [1 - x, 1 + x], as torchvision's ColorJitter on a grey image
    erase_p, erase_area        with probability erase_p a rectangle of that range of area fractions is set to the mean
    """

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    interpolation: str = "bilinear"
    fill: float = 0.0
    crop_p: float = 0.0
    crop_side: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    erase_p: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.05)
    erase_ratio: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        check_types(self)
        check_range("rotation", self.rotation, 0, 180)
        check_range("shift", self.shift, 0, 1)
        check_range("scale", self.scale, 0, 0.9)
        check_range("shear", self.shear, 0, 80)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        for name in ("fill", "crop_p", "brightness", "contrast", "erase_p"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("crop_side", self.crop_side, 1 if self.crop_p else 0, LARGEST)
        for name in ("erase_area", "erase_ratio"):
            if len(getattr(self, name)) != 2:
                raise RecordError(f"{name} must be two numbers, got {shown(getattr(self, name))}")
            low, high = getattr(self, name)
            check_range(f"{name}[0]", low, 1e-6)
            check_range(f"{name}[1]", high, low, 1 if name == "erase_area" else float("inf"))


@dataclass(frozen=True)
class Schedule(Record):
    """How the learning rate moves.

    constant   stays at lr
    onecycle   torch's OneCycleLR, stepped per batch, lr being the peak; `epochs` is the length it is laid out for (0:
               the recipe's epochs). cycle_momentum moves SGD's momentum, or Adam's beta1, from max_momentum to
               base_momentum and back, whatever the optimiser was given
    step       torch's StepLR, stepped per epoch: lr is multiplied by gamma every step_size epochs
    """

    kind: str = "onecycle"
    epochs: int = 0
    pct_start: float = 0.2
    anneal: str = "cos"
    div_factor: float = 10.0
    final_div_factor: float = 100.0
    cycle_momentum: bool = True
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    step_size: int = 1
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("schedule kind", self.kind, SCHEDULES)
        check_choice("anneal", self.anneal, ("cos", "linear"))
        check_range("schedule epochs", self.epochs, 0, LARGEST)
        check_range("pct_start", self.pct_start, 0, 0.999)
        check_range("div_factor", self.div_factor, 1)
        check_range("final_div_factor", self.final_div_factor, 1)
        check_range("base_momentum", self.base_momentum, 0, 1)
        check_range("max_momentum", self.max_momentum, 0, 1)
        check_range("step_size", self.step_size, 1, LARGEST)
        check_range("gamma", self.gamma, 0, 1)


@dataclass(frozen=True)
class RecipeConfig(Record):
    """How a network is trained. lr is the constant, first or peak learning rate, as the schedule says.

    momentum    SGD's momentum, or Adam's beta1; replaced where the schedule cycles it
    ema_decay   per step, of the averaged weights that are evaluated and kept; 0 evaluates the weights themselves
    """

    epochs: int = 15
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    schedule: Schedule = field(default=Schedule())
    augmentation: Augmentation = field(default=Augmentation())

    def __post_init__(self) -> None:
        check_types(self)
        check_range("epochs", self.epochs, 1, MAX_EPOCHS)
        check_range("batch_size", self.batch_size, 2, LARGEST)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_range("lr", self.lr, 1e-8, 100)
        check_range("momentum", self.momentum, 0, 0.9999)
        check_range("weight_decay", self.weight_decay, 0, 1)
        check_range("label_smoothing", self.label_smoothing, 0, 0.9)
        check_range("ema_decay", self.ema_decay, 0, 0.99999)
        if self.nesterov and not self.momentum:
            raise RecordError("nesterov needs a momentum above 0, got 0")
        if self.schedule.epochs:
            check_range("schedule epochs", self.schedule.epochs, self.epochs)


@dataclass(frozen=True)
class DataConfig(Record):
    """Which data set, and what the search may see of it. `directory` is where data sets lie or are downloaded to.

    select_on   test: train on all training images, score on the test set; val: hold out images and score on those
    """

    dataset: str
    directory: str
    select_on: str = "test"

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("select-on", self.select_on, SELECT_ON)


@dataclass(frozen=True)
class ConfirmConfig(Record):
    """How the winner is confirmed: the `top` best trials from `seeds` fresh seeds each, then the best of them again.

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


# A study that was made before there was such a setting has none, so that one at its default is left out of all.
_ADDED_LATER = ("max_weights_bytes", "min_rf", "bytes_in", "max_latency", "dimensions")


@dataclass(frozen=True)
class SearchConfig(Record):
    """Everything that decides which trials a study makes and what they are worth. Two runs of one study must agree.

    max_params ... min_rf   the limits, None: no such limit; what each bounds stands in search.limits
    bytes_in                the kind of number that limits in bytes count: float32, 4 bytes, or int8, 1 byte
    max_latency             in milliseconds, measured (search.latency), so not repeatable as the others are
    dimensions              what a --space file changes of the space, as search.space_file keeps it
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

    def __post_init__(self) -> None:
        check_types(self)
        check_range("budget", self.max_params, 1, MAX_LIMIT)
        for name in ("max_macs", "max_memory", "max_weights_bytes", "min_rf"):
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
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("pruner", self.pruner, PRUNERS)

    def settings(self) -> dict[str, Any]:
        """The same, flat, under the names of the command line; where the data lies is left out."""
        own = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("data", "max_params")
            and not (field.name in _ADDED_LATER and getattr(self, field.name) == field.default)
        }
        own |= {"dimensions": dict(line.split(" = ", 1) for line in self.dimensions)} if self.dimensions else {}
        return {"budget": self.max_params, "dataset": self.data.dataset, "select_on": self.data.select_on, **own}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], directory: str) -> SearchConfig:
        """The inverse of `settings`; `directory` is where data sets lie. Raises RecordError."""
        if not isinstance(settings, Mapping):
            raise RecordError(f"settings must be a mapping of names to values, got {shown(settings)}")
        own = {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        own |= {"max_params": settings["budget"]} if "budget" in settings else {}
        own |= {"dimensions": _dimension_lines(settings.get("dimensions", {}))}
        data = {name: settings[name] for name in ("dataset", "select_on") if name in settings}
        return cls.from_dict({**own, "data": {**data, "directory": directory}})


def _dimension_lines(dimensions: object) -> list[str]:
    if not isinstance(dimensions, Mapping):
        raise RecordError(f"dimensions must be a mapping of names to values, got {shown(dimensions)}")
    for name, value in dimensions.items():
        if not isinstance(name, str) or " = " in name or not isinstance(value, str):
            raise RecordError(f"dimension {shown(name)} must be a name with a text, got {shown(value)}")
    return [f"{name} = {value}" for name, value in dimensions.items()]
