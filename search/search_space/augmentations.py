"""Choose the augmentations of a search: those that make sense for its data, switched on or off by its user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.recipe import RecipeConfig
from search.config import AUGMENTATIONS, FOLDER, SearchConfig
from search.data.dataset import CHARACTER_AUGMENTATIONS
from search.data.load import definition
from search.errors import InputError
from search.search_space.space import Space
from search.search_space.space_file import changed, fixed_at, with_fixed

MIRROR = "mirror"
# Share of the training images that are mirrored, where any are.
MIRRORED = 0.5


def choose_augmentations(config: SearchConfig, on: Sequence[str], off: Sequence[str], space: Space) -> SearchConfig:
    """Return the search with the augmentations of its data and those `on`, without those `off`.

    Mirroring is on or off. The others are dimensions of `space`: off, they are fixed at 0, as a --space file may fix
    them too. Raises InputError for one that makes no sense for the data, and for one that is both on and fixed at 0.
    """
    usual, possible = _of(config.data.dataset)
    searched = changed(space, config.dimensions)
    for name in on:
        if name in off:
            raise InputError(f"{name} is given to both --augment and --no-augment; leave out one")
        if name not in possible:
            raise InputError(f"{name} makes no sense for {config.data.dataset}; it takes {', '.join(possible)}")
        if name != MIRROR and fixed_at(searched, name) == 0:
            raise InputError(f"--augment {name}, but the --space file fixes it at 0; leave out one")
    fixed = {name: 0.0 for name in AUGMENTATIONS if name != MIRROR and name in off}
    dimensions = with_fixed(config.dimensions, fixed, space)
    return replace(config, dimensions=dimensions, mirror=MIRROR in (*usual, *on) and MIRROR not in off)


def _of(dataset: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the augmentations that are on by default, and those that may be switched on."""
    if dataset == FOLDER:  # only the user knows whether its images may be mirrored
        return CHARACTER_AUGMENTATIONS, AUGMENTATIONS
    known = definition("mnist" if dataset == "auto" else dataset)
    return known.augmentations, known.augmentations


def mirror_options(config: SearchConfig) -> dict[str, str]:
    """Return the options of the command line that repeat this search's mirroring."""
    usual, _ = _of(config.data.dataset)
    if config.mirror == (MIRROR in usual):
        return {}
    return {"augment" if config.mirror else "no_augment": MIRROR}


def as_searched(recipe: RecipeConfig, config: SearchConfig) -> RecipeConfig:
    """Return a recipe of the space with what the search fixes for all: the epochs, and whether images are mirrored."""
    mirrored = MIRRORED if config.mirror else 0.0
    return replace(recipe, epochs=config.epochs, augmentation=replace(recipe.augmentation, mirror_p=mirrored))
