"""Choose the augmentations of a search from those that suit its data and from the options of its user."""

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
# Share of the training images that are mirrored if mirroring is on.
MIRRORED = 0.5


def choose_augmentations(
    config: SearchConfig, enabled: Sequence[str], disabled: Sequence[str], space: Space
) -> SearchConfig:
    """Return the search with the augmentations of its data and the `enabled` ones, without the `disabled` ones.

    Mirroring is on or off. Every other augmentation is a dimension of `space`, which is fixed at 0 if it is disabled; a
    --space file may fix it too. Raises InputError for an enabled augmentation that makes no sense for the data or is
    fixed at 0, and for one that is both enabled and disabled.
    """
    defaults, possible = _default_and_possible(config.data.dataset)
    searched_space = changed(space, config.dimensions)
    for name in enabled:
        if name in disabled:
            raise InputError(f"{name} is given to both --augment and --no-augment; leave out one")
        if name not in possible:
            raise InputError(f"{name} makes no sense for {config.data.dataset}; it takes {', '.join(possible)}")
        if name != MIRROR and fixed_at(searched_space, name) == 0:
            raise InputError(f"--augment {name}, but the --space file fixes it at 0; leave out one")
    fixed = {name: 0.0 for name in AUGMENTATIONS if name != MIRROR and name in disabled}
    dimensions = with_fixed(config.dimensions, fixed, space)
    return replace(config, dimensions=dimensions, mirror=MIRROR in (*defaults, *enabled) and MIRROR not in disabled)


def _default_and_possible(dataset: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the augmentations that are on by default, and those that may be enabled."""
    if dataset == FOLDER:  # only the user knows whether its images may be mirrored
        return CHARACTER_AUGMENTATIONS, AUGMENTATIONS
    data_set = definition("mnist" if dataset == "auto" else dataset)
    return data_set.augmentations, data_set.augmentations


def mirror_options(config: SearchConfig) -> dict[str, str]:
    """Return the command-line options that set the mirroring of this search."""
    defaults, _ = _default_and_possible(config.data.dataset)
    if config.mirror == (MIRROR in defaults):
        return {}
    return {"augment" if config.mirror else "no_augment": MIRROR}


def as_searched(recipe: RecipeConfig, config: SearchConfig) -> RecipeConfig:
    """Return `recipe` with the settings that the search fixes for all candidates, its epochs and its mirroring."""
    mirrored = MIRRORED if config.mirror else 0.0
    return replace(recipe, epochs=config.epochs, augmentation=replace(recipe.augmentation, mirror_p=mirrored))
