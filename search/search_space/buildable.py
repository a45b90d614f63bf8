"""Define the widest range that can be built for each dimension, of which the space searches a part.

A row of RECIPE also names the field of the recipe that its dimension sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from models.recipe import Augmentation, RecipeConfig
from models.spec import ACTIVATIONS, BLOCK_KINDS, HEAD_KINDS, LARGEST_EXPANSION, ORDERS
from search.config import AUGMENTATIONS
from search.search_space.dimensions import Choice, Dimension, FloatRange, IntRange

MAX_STAGES = 5
MAX_DEPTH = 6
# How the map is reduced between two stages: by a pool at the end of the first one, or by a stride of 2 in the first
# convolution of the second one.
MAXIMUM, AVERAGE, STRIDED = REDUCTIONS = ("max", "avg", "stride")

_DROPOUTS = ("none", "all", *map(str, range(1, MAX_DEPTH + 1)))


@dataclass(frozen=True)
class RecipeDimension:
    """Searched training hyper-parameter, with the field of the recipe that it sets and its widest range.

    owner         record that has the field, RecipeConfig or its Augmentation
    widest        widest range, named as the field, or "*.field" if each optimizer has a separate dimension such as
                  "sgd.lr"
    augmentation  name of the augmentation in --augment
    """

    owner: type[RecipeConfig] | type[Augmentation]
    widest: Dimension
    augmentation: str = ""

    def __post_init__(self) -> None:
        if self.field not in {field.name for field in fields(self.owner)}:
            raise TypeError(f"dimension {self.widest.name!r}: {self.owner.__name__} has no field {self.field!r}")

    @property
    def field(self) -> str:
        """Return the name of the field."""
        return self.widest.name.removeprefix("*.")

    def name(self, optimizer: str) -> str:
        """Return the name of the dimension that sets the field in a recipe with that optimizer."""
        return self.widest.name.replace("*", optimizer)


RECIPE: tuple[RecipeDimension, ...] = (
    RecipeDimension(RecipeConfig, Choice("optimizer", ("sgd", "adamw", "soap"), "sgd")),
    RecipeDimension(RecipeConfig, FloatRange("*.lr", 1e-8, 100.0, 0.1)),
    RecipeDimension(RecipeConfig, FloatRange("*.weight_decay", 0.0, 1.0, 0.0)),
    RecipeDimension(RecipeConfig, IntRange("batch_size", 2, 4096, 128)),
    RecipeDimension(RecipeConfig, FloatRange("label_smoothing", 0.0, 0.9, 0.0)),
    RecipeDimension(Augmentation, FloatRange("rotation", 0.0, 180.0, 0.0), "rotation"),
    RecipeDimension(Augmentation, FloatRange("shift", 0.0, 1.0, 0.0), "shift"),
    RecipeDimension(Augmentation, FloatRange("scale", 0.0, 0.9, 0.0), "scale"),
    RecipeDimension(Augmentation, FloatRange("shear", 0.0, 80.0, 0.0), "shear"),
    RecipeDimension(Augmentation, FloatRange("crop_padding", 0.0, 1.0, 0.0), "crop"),
    RecipeDimension(Augmentation, FloatRange("mirror_p", 0.0, 1.0, 0.0), "mirror"),
    RecipeDimension(Augmentation, FloatRange("brightness", 0.0, 1.0, 0.0), "brightness"),
    RecipeDimension(Augmentation, FloatRange("contrast", 0.0, 1.0, 0.0), "contrast"),
    RecipeDimension(Augmentation, FloatRange("erase_p", 0.0, 1.0, 0.0), "erase"),
)
# Dimensions of augmentations, by their names in search.config.AUGMENTATIONS. Without its dimension, a search leaves an
# augmentation at 0.
AUGMENTATION_DIMENSIONS = {row.augmentation: row.field for row in RECIPE if row.owner is Augmentation}
if set(AUGMENTATION_DIMENSIONS) != set(AUGMENTATIONS):
    raise TypeError(f"search.config names the augmentations {AUGMENTATIONS}, RECIPE {tuple(AUGMENTATION_DIMENSIONS)}")
# Named as the dimensions of the space, with * for a number or a name. The defaults have no meaning.
BUILDABLE: tuple[Dimension, ...] = (
    IntRange("stages", 1, MAX_STAGES, 1),
    IntRange("stages.*.depth", 1, MAX_DEPTH, 1),
    IntRange("stages.*.width.*", 1, 1024, 1),
    Choice("stages.*.kernel", (3, 5, 7), 3),
    IntRange("stages.*.padded", 0, MAX_DEPTH, 0),
    Choice("stages.*.kind", BLOCK_KINDS, "conv"),
    Choice("stages.*.squeeze", (0, 2, 4, 8, 16), 0),
    Choice("stages.*.shared", ("none", "stage", "before"), "none"),
    Choice("stages.*.dropout", _DROPOUTS, "none"),
    Choice("transitions.*.reduction", REDUCTIONS, MAXIMUM),
    Choice("transitions.*.place", ("none", "before", "after"), "none"),
    IntRange("transitions.*.width", 1, 1024, 1),
    Choice("transitions.*.bare", (False, True), False),
    Choice("head.kind", HEAD_KINDS, "gap_linear"),
    Choice("head.hidden", (False, True), False),
    IntRange("head.hidden_width", 1, 1024, 1),
    Choice("head.dropout", (False, True), False),
    Choice("skip", (False, True), False),
    IntRange("expansion", 1, LARGEST_EXPANSION, 1),
    Choice("groups", (2, 3, 4, 8), 2),
    Choice("order", ORDERS, "conv-bn-act"),
    Choice("norm_scale", (True, False), True),
    Choice("activation", ACTIVATIONS, "relu"),
    FloatRange("dropout", 0.0, 0.9, 0.0),
    *(row.widest for row in RECIPE),
)


def widest(name: str) -> Dimension:
    """Return the row of BUILDABLE for a dimension. Raises KeyError for a dimension without a row."""
    for dimension in BUILDABLE:
        if matches(dimension.name, name):
            return dimension
    raise KeyError(f"dimension {name!r} has no row in search.search_space.buildable")


def is_of_recipe(name: str) -> bool:
    """Return whether a dimension is one of the recipe, and not of the network."""
    return any(row.widest.name.removeprefix("*.") == name.rpartition(".")[2] for row in RECIPE)


def matches(pattern: str, name: str) -> bool:
    """Return whether a name fits a pattern in which * stands for any single part."""
    parts, pattern_parts = name.split("."), pattern.split(".")
    return len(parts) == len(pattern_parts) and all(
        pattern_part in (part, "*") for part, pattern_part in zip(parts, pattern_parts, strict=True)
    )


def check_dimensions(dimensions: Sequence[Dimension]) -> None:
    """Raise KeyError for a dimension without a row in BUILDABLE, or a row without a dimension."""
    names = [dimension.name for dimension in dimensions]
    for name in names:
        widest(name)
    for row in BUILDABLE:
        if not any(matches(row.name, name) for name in names):
            raise KeyError(f"row {row.name!r} of search.search_space.buildable has no dimension in space.py")
    (optimizers,) = (dimension for dimension in dimensions if dimension.name == "optimizer")
    assert isinstance(optimizers, Choice)
    missing = {row.name(optimizer) for row in RECIPE for optimizer in optimizers.choices}.difference(names)
    if missing:
        raise KeyError(f"dimension {min(missing)!r} of search.search_space.buildable is not in space.py")
