"""Choose the augmentations of a search from those that suit its data and from the options of its user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.recipe import RecipeConfig
from search.config import AFFINE_AUGMENTATIONS, AUGMENTATIONS, OWN_KINDS, SearchConfig
from search.data.load import definition
from search.errors import InputError
from search.search_space.buildable import AUGMENTATION_DIMENSIONS
from search.search_space.space import Space
from search.search_space.space_file import changed, fixed_at, without

# Share of the training images that are mirrored in a study with the setting `mirror`.
MIRRORED = 0.5


def choose_augmentations(
    config: SearchConfig, enabled: Sequence[str], disabled: Sequence[str], space: Space
) -> SearchConfig:
    """Return the search with the augmentations of its data and the `enabled` ones, without the `disabled` ones.

    Every augmentation is a dimension, and the space of a search has those that it uses.

    space: the space with all augmentations, which a --space file may change

    Raises InputError for an enabled augmentation that makes no sense for the data or is fixed at 0, for one that is
    both enabled and disabled, and for one that a --space file sets and the search does not have.
    """
    defaults, possible = _default_and_possible(config.data.dataset)
    searched_space = changed(space, config.dimensions)
    for name in enabled:
        if name in disabled:
            raise InputError(f"{name} is given to both --augment and --no-augment; leave out one")
        if name not in possible:
            raise InputError(f"{name} makes no sense for {config.data.dataset}; it takes {', '.join(possible)}")
        if fixed_at(searched_space, AUGMENTATION_DIMENSIONS[name]) == 0:
            raise InputError(f"--augment {name}, but the --space file fixes it at 0; leave out one")
    used = tuple(name for name in AUGMENTATIONS if name in (*defaults, *enabled) and name not in disabled)
    dimensions = without(config.dimensions, [AUGMENTATION_DIMENSIONS[name] for name in disabled])
    for name in AUGMENTATIONS:
        dimension = AUGMENTATION_DIMENSIONS[name]
        if name not in used and len(without(dimensions, [dimension])) < len(dimensions):
            way_out = f"add --augment {name}, or leave it out" if name in possible else "leave it out"
            raise InputError(
                f"the --space file sets {dimension}, but a search on {config.data.dataset} has no {name}; {way_out}"
            )
    return replace(config, dimensions=dimensions, augmentations=used)


def _default_and_possible(dataset: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the augmentations that are on by default, and those that may be enabled."""
    if dataset in OWN_KINDS:  # only the user knows what does not change the meaning of its images
        return AFFINE_AUGMENTATIONS, AUGMENTATIONS
    data_set = definition("mnist" if dataset == "auto" else dataset)
    possible = tuple(name for name in AUGMENTATIONS if name != "mirror" or name in data_set.augmentations)
    return data_set.augmentations, possible


def augmentation_options(config: SearchConfig) -> dict[str, str]:
    """Return the command-line options that select the augmentations of this search, by their names."""
    defaults, _ = _default_and_possible(config.data.dataset)
    used = [*config.augmentations, *(["mirror"] if config.mirror else [])]
    options = {
        "augment": ",".join(name for name in used if name not in defaults),
        "no_augment": ",".join(name for name in defaults if name not in used),
    }
    return {name: value for name, value in options.items() if value}


def as_searched(recipe: RecipeConfig, config: SearchConfig) -> RecipeConfig:
    """Return `recipe` with the settings that the search fixes for all candidates: its epochs and its mirroring."""
    augmentation = recipe.augmentation
    if config.mirror:
        augmentation = replace(augmentation, mirror_p=MIRRORED)
    return replace(recipe, epochs=config.epochs, augmentation=augmentation)
