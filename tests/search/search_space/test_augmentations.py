"""Which augmentations a search uses: by its data, and by what its user says."""

from dataclasses import replace

import pytest
import torch

from models.recipe import Augmentation, RecipeConfig
from search.config import AFFINE_AUGMENTATIONS, AUGMENTATIONS, DataConfig, DataForm, SearchConfig
from search.engine.augment import augment
from search.errors import InputError
from search.sampling.starting_points import starting_points
from search.search_space.augmentations import as_searched, augmentation_options, choose_augmentations
from search.search_space.encoding import ERASE_AREA, assemble
from space import DIMENSIONS, FURTHER_AUGMENTATIONS, SPACE_KEY, WIDEST, space_key, space_of

MIRRORED = (*AFFINE_AUGMENTATIONS, "mirror")


def chosen(dataset: str, on: str = "", off: str = "", dimensions: tuple[str, ...] = ()) -> SearchConfig:
    config = SearchConfig(DataConfig(dataset, "data"), max_params=8000, dimensions=dimensions)
    return choose_augmentations(config, tuple(filter(None, on.split(","))), tuple(filter(None, off.split(","))), WIDEST)


@pytest.mark.parametrize(
    ("dataset", "on", "off", "used", "options"),
    [
        ("mnist", "", "", AFFINE_AUGMENTATIONS, {}),
        ("auto", "rotation", "mirror", AFFINE_AUGMENTATIONS, {}),
        (
            "mnist",
            "erase,crop",
            "shift",
            ("rotation", "scale", "shear", "crop", "erase"),
            {"augment": "crop,erase", "no_augment": "shift"},
        ),
        ("cifar10", "", "", AUGMENTATIONS, {}),
        ("cifar10", "", "mirror", tuple(name for name in AUGMENTATIONS if name != "mirror"), {"no_augment": "mirror"}),
        ("fashion", "mirror", "", MIRRORED, {}),
        ("folder", "", "", AFFINE_AUGMENTATIONS, {}),
        ("folder", "mirror", "", MIRRORED, {"augment": "mirror"}),
        ("svhn", "", "shear,rotation", ("shift", "scale"), {"no_augment": "rotation,shear"}),
        ("svhn", "", ",".join(AUGMENTATIONS), (), {"no_augment": "rotation,shift,scale,shear"}),
    ],
)
def test_the_space_has_the_augmentations_that_are_used(
    dataset: str, on: str, off: str, used: tuple[str, ...], options: dict[str, str]
) -> None:
    config = chosen(dataset, on, off)
    assert (config.augmentations, augmentation_options(config)) == (used, options)
    fields = {"crop": "crop_padding", "mirror": "mirror_p", "erase": "erase_p"}
    form = DataForm("folder", (1, 28, 28), ("a", "b")) if dataset == "folder" else None
    space = space_of(replace(config, data=replace(config.data, form=form)))
    names = [dimension.name for dimension in space.dimensions]
    assert names[names.index("label_smoothing") + 1 :] == [fields.get(name, name) for name in used]


def test_a_search_with_the_usual_augmentations_has_the_space_of_earlier_studies() -> None:
    config = chosen("mnist")
    assert [dimension.name for dimension in space_of(config).dimensions] == [one.name for one in DIMENSIONS]
    assert space_key(config) == SPACE_KEY
    assert space_key(chosen("mnist", "erase")) != SPACE_KEY != space_key(chosen("mnist", off="shear"))
    assert "augmentations" not in config.settings()


def test_switched_off_beside_a_changed_space() -> None:
    config = chosen("mnist", off="rotation", dimensions=("stages = 2", "rotation = {low = 1.0, high = 5.0}"))
    assert config.dimensions == ("stages = 2",)
    assert "rotation" not in space_of(config).defaults


def test_a_space_file_may_change_an_augmentation_that_is_switched_on() -> None:
    config = chosen("mnist", "crop", dimensions=("crop_padding = {low = 0.0, high = 0.5}",))
    assert space_of(config).dimensions[-1].high == 0.5


@pytest.mark.parametrize(
    ("dataset", "on", "off", "words"),
    [
        ("mnist", "mirror", "", "mirror makes no sense for mnist; it takes rotation, shift, scale, shear, crop, b"),
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
    with pytest.raises(InputError, match="--augment erase, but the --space file fixes it at 0; leave out one"):
        chosen("mnist", "erase", dimensions=("erase_p = 0.0",))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("erase_p = 0.5", "the --space file sets erase_p, but a search on mnist has no erase; add --augment erase, or"),
        ("mirror_p = 0.5", "the --space file sets mirror_p, but a search on mnist has no mirror; leave it out$"),
    ],
)
def test_a_space_file_does_not_switch_an_augmentation_on(line: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        chosen("mnist", dimensions=("stages = 2", line))


def test_a_recipe_has_the_values_of_the_space_and_nothing_else() -> None:
    space = space_of(chosen("cifar10", off="rotation"))
    values = {"crop_padding": 0.2, "mirror_p": 0.4, "brightness": 0.1, "contrast": 0.3, "erase_p": 0.25}
    recipe = assemble(space.defaults | values, (3, 32, 32), 10).recipe
    shallow = space.defaults | {"stages": 2}
    kept = {"shift": 0.05, "scale": 0.05, "erase_area": ERASE_AREA}
    assert recipe.augmentation == Augmentation(**values, **kept)
    assert space.to_params(assemble(shallow, (3, 32, 32), 10).arch, recipe) == shallow | values
    plain = space_of(chosen("mnist")).defaults
    assert assemble(plain).recipe.augmentation == Augmentation(rotation=7.0, shift=0.05, scale=0.05)


def test_a_recipe_as_it_is_searched() -> None:
    config = chosen("folder", "mirror")
    recipe = RecipeConfig(augmentation=Augmentation(mirror_p=0.2))
    assert as_searched(recipe, config) == replace(recipe, epochs=config.epochs)
    # A study of version 0.1 has no such dimension.
    mirrored = replace(chosen("folder"), mirror=True)
    assert as_searched(RecipeConfig(), mirrored).augmentation == Augmentation(mirror_p=0.5)
    assert augmentation_options(mirrored) == {"augment": "mirror"}


def test_a_point_of_a_space_without_an_augmentation_has_nothing_of_it() -> None:
    few, all_ = space_of(chosen("mnist", off="rotation")), space_of(chosen("fashion", ",".join(AUGMENTATIONS)))
    further = {dimension.name: 0.0 for dimension in FURTHER_AUGMENTATIONS}
    assert all_.completed(few.defaults) == all_.defaults | {"rotation": 0.0} | further
    assert assemble(all_.completed(few.defaults)) == assemble(few.defaults)


def test_starting_points_have_no_more_of_an_augmentation_than_the_space() -> None:
    points = starting_points(space_of(chosen("mnist", off="rotation", dimensions=("scale = 0.0",))))
    assert {(point.get("rotation"), point["scale"]) for _, point in points} == {(None, 0.0)}
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
