"""Which augmentations a search uses: by its data, and by what its user says."""

import pytest
import torch

from models.recipe import Augmentation, RecipeConfig
from search.config import DataConfig, SearchConfig
from search.engine.augment import augment
from search.errors import InputError
from search.sampling.starting_points import starting_points
from search.search_space.augmentations import as_searched, choose_augmentations, mirror_options
from space import WHOLE, space_of


def chosen(dataset: str, on: str = "", off: str = "", dimensions: tuple[str, ...] = ()) -> SearchConfig:
    config = SearchConfig(DataConfig(dataset, "data"), max_params=8000, dimensions=dimensions)
    return choose_augmentations(config, tuple(filter(None, on.split(","))), tuple(filter(None, off.split(","))), WHOLE)


@pytest.mark.parametrize(
    ("dataset", "on", "off", "mirror", "dimensions", "options"),
    [
        ("mnist", "", "", False, (), {}),
        ("auto", "rotation", "mirror", False, (), {}),
        ("cifar10", "", "", True, (), {}),
        ("cifar10", "", "mirror", False, (), {"no_augment": "mirror"}),
        ("fashion", "mirror", "", True, (), {}),
        ("folder", "", "", False, (), {}),
        ("folder", "mirror", "", True, (), {"augment": "mirror"}),
        ("svhn", "", "shear,rotation", False, ("rotation = 0.0", "shear = 0.0"), {}),
    ],
)
def test_what_is_used(
    dataset: str, on: str, off: str, mirror: bool, dimensions: tuple[str, ...], options: dict[str, str]
) -> None:
    config = chosen(dataset, on, off)
    assert (config.mirror, config.dimensions, mirror_options(config)) == (mirror, dimensions, options)
    for line in dimensions:
        name = line.partition(" ")[0]
        one = next(one for one in space_of(config).dimensions if one.name == name)
        assert (one.low, one.high, one.default) == (0, 0, 0)


def test_switched_off_beside_a_changed_space() -> None:
    config = chosen("mnist", off="rotation", dimensions=("stages = 2", "rotation = {low = 1.0, high = 5.0}"))
    assert config.dimensions == ("stages = 2", "rotation = 0.0")


@pytest.mark.parametrize(
    ("dataset", "on", "off", "words"),
    [
        ("mnist", "mirror", "", "mirror makes no sense for mnist; it takes rotation, shift, scale, shear"),
        ("emnist-letters", "mirror", "", "mirror makes no sense for emnist-letters"),
        ("folder", "mirror", "mirror", "mirror is given to both --augment and --no-augment; leave out one"),
        ("nowhere", "", "", "unknown data set 'nowhere'"),
    ],
)
def test_what_makes_no_sense_is_refused(dataset: str, on: str, off: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        chosen(dataset, on, off)


def test_wanted_but_fixed_at_nothing() -> None:
    with pytest.raises(InputError, match="--augment shift, but the --space file fixes it at 0; leave out one"):
        chosen("mnist", "shift", dimensions=("shift = 0.0",))


def test_a_recipe_as_it_is_searched() -> None:
    config = chosen("folder", "mirror")
    recipe = as_searched(RecipeConfig(augmentation=Augmentation(rotation=3.0)), config)
    assert (recipe.augmentation.mirror_p, recipe.augmentation.rotation, recipe.epochs) == (0.5, 3.0, config.epochs)
    plain = chosen("mnist")
    assert as_searched(RecipeConfig(), plain).key() == RecipeConfig(epochs=plain.epochs).key()


def test_starting_points_have_no_more_of_an_augmentation_than_the_space() -> None:
    points = starting_points(space_of(chosen("mnist", off="rotation,scale")))
    assert {(point["rotation"], point["scale"]) for _, point in points} == {(0.0, 0.0)}
    assert {point["shift"] for _, point in points} == {0.02, 0.04, 0.06}
    assert {point["rotation"] for _, point in starting_points()} == {3.0, 6.0, 7.0, 9.0}


def test_half_of_the_images_are_mirrored_each_on_its_own() -> None:
    images = torch.arange(2000 * 3 * 2 * 5, dtype=torch.float32).view(2000, 3, 2, 5)
    found = augment(images, Augmentation(mirror_p=0.5), torch.Generator().manual_seed(1), (0.0, 0.0, 0.0))
    mirrored = (found == images.flip(3)).flatten(1).all(1)
    assert ((found == images).flatten(1).all(1) ^ mirrored).all()
    assert 900 < int(mirrored.sum()) < 1100
    every = augment(images, Augmentation(mirror_p=1.0), torch.Generator().manual_seed(1), (0.0, 0.0, 0.0))
    assert torch.equal(every, images.flip(3))
