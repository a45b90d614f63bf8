"""Recipes that describe how a network is trained, with its schedule and its augmentations.

The module imports no large package.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from models.record import Record, RecordError, check_choice, check_range, check_types, short_repr

OPTIMIZERS = ("sgd", "adam", "adamw", "soap")
SCHEDULES = ("constant", "onecycle", "step")
INTERPOLATIONS = ("nearest", "bilinear")
# Limits that no real training reaches: a larger value is a typing error.
MAX_EPOCHS = 10_000
LARGEST = 1_000_000


@dataclass(frozen=True)
class Augmentation(Record):
    """Random changes to training images, drawn separately for every image.

    rotation, shear            degrees; each image draws from [-x, x]
    shift                      largest shift along each axis, as a fraction of that side
    scale                      each image is scaled by a factor from [1 - scale, 1 + scale]
    interpolation              used by rotation, shift, scale and shear
    fill                       grey level in [0, 1] outside the image
    crop_p, crop_side          probability of a central crop of crop_side x crop_side pixels, resized to the full size
    crop_padding               each image gets an edge of this fraction of each side, from which a crop of its own size
                               is cut at a whole pixel, as torchvision's RandomCrop; 4 pixels around 32 are 0.125
    mirror_p                   probability of exchanging left and right
    brightness, contrast       factors from [1 - x, 1 + x], as torchvision's ColorJitter
    erase_p                    probability of setting a rectangle to the mean
    erase_area, erase_ratio    ranges of the rectangle's area as a fraction of the image, and of height / width
    """

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    interpolation: str = "bilinear"
    fill: float = 0.0
    crop_p: float = 0.0
    crop_side: int = 0
    crop_padding: float = 0.0
    mirror_p: float = 0.0
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
        for name in ("fill", "crop_p", "crop_padding", "mirror_p", "brightness", "contrast", "erase_p"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("crop_side", self.crop_side, 1 if self.crop_p else 0, LARGEST)
        for name in ("erase_area", "erase_ratio"):
            if len(getattr(self, name)) != 2:
                raise RecordError(f"{name} must be two numbers, got {short_repr(getattr(self, name))}")
            low, high = getattr(self, name)
            check_range(f"{name}[0]", low, 1e-6)
            check_range(f"{name}[1]", high, low, 1 if name == "erase_area" else float("inf"))


@dataclass(frozen=True)
class Schedule(Record):
    """Schedule of the learning rate, selected by `kind`.

    constant   the learning rate stays at lr
    onecycle   torch's OneCycleLR, stepped per batch, with lr as the peak. `epochs` is the length that it is planned for
               (0: the recipe's epochs). cycle_momentum moves SGD's momentum, or beta1 of the other optimizers, from
               max_momentum to base_momentum and back, and replaces the momentum of the recipe. A cycle of very few
               steps ends before the last one of OneCycleLR, which would learn nothing
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
    """Recipe that a network is trained with.

    lr          constant, first or peak learning rate, depending on the schedule
    momentum    SGD's momentum, or beta1 of Adam, AdamW and SOAP; replaced where the schedule cycles it
    ema_decay   decay per step of the averaged weights, which are evaluated and kept; 0 uses the weights themselves
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
