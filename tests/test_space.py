"""The space: its list of dimensions, what it asks a trial for, and what it draws without one."""

import json
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

from models.recipe import RecipeConfig
from models.spec import BLOCK_KINDS, HEAD_KINDS
from search.search_space.buildable import RecipeDimension, check_dimensions
from search.search_space.dimensions import Choice, Dimension, FloatRange, IntRange
from space import DIMENSIONS, SPACE_KEY, WHOLE, WIDEST, assemble, suggest
from tests.space_points import DATA, NAMES, POINTS

GOLDEN = Path(__file__).parent / "golden" / "space.json"


# --- the list of dimensions -----------------------------------------------------------------------------------------


def test_golden(update_golden: bool) -> None:
    found = {
        "key": SPACE_KEY,
        "dimensions": {dimension.name: f"{dimension}, default {dimension.default}" for dimension in DIMENSIONS},
    }
    if update_golden:
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert found == golden
    assert list(golden["dimensions"]) == NAMES


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    "dimension", [IntRange("x", 1, 8, 2), FloatRange("x", 1.0, 8.0, 2.0), Choice("x", ("a", "b"), "a")], ids=repr
)
def test_the_key_sees_every_field_of_a_dimension(dimension: Dimension) -> None:
    # SPACE_KEY is a hash of the dimensions' repr.
    for field in fields(dimension):
        value = getattr(dimension, field.name)
        other: Any = not value if isinstance(value, bool) else value * 2
        assert repr(replace(dimension, **{field.name: other})) != repr(dimension), field.name


def test_a_dimension_without_a_row_and_a_row_without_a_dimension_are_named() -> None:
    with pytest.raises(KeyError, match="dimension 'cutmix' has no row"):
        check_dimensions([*WIDEST.dimensions, FloatRange("cutmix", 0.0, 1.0, 0.0)])
    with pytest.raises(KeyError, match=r"row 'shear' of .* has no dimension in space\.py"):
        check_dimensions([dimension for dimension in WIDEST.dimensions if dimension.name != "shear"])
    with pytest.raises(KeyError, match=r"dimension 'soap.lr' of .* is not in space\.py"):
        check_dimensions([dimension for dimension in WIDEST.dimensions if dimension.name != "soap.lr"])
    with pytest.raises(TypeError, match="dimension 'cutmix': RecipeConfig has no field 'cutmix'"):
        RecipeDimension(RecipeConfig, FloatRange("cutmix", 0.0, 1.0, 0.0))


# --- asking a trial -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("input_shape", "n_classes"), DATA)
def test_every_dimension_is_suggested_in_every_trial(input_shape: tuple[int, int, int], n_classes: int) -> None:
    for point in POINTS[:200]:
        trial = FixedTrial(point)
        assert suggest(trial, input_shape, n_classes, WHOLE) == assemble(point, input_shape, n_classes)
        assert list(trial.params) == NAMES


def test_suggest_with_an_optuna_study() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    distributions = []
    for _ in range(30):
        trial = study.ask()
        candidate = suggest(trial)
        assert list(trial.params) == NAMES
        assert candidate == assemble(trial.params)
        assert (candidate.arch.input_shape, candidate.arch.n_classes) == ((1, 28, 28), 10)
        distributions.append(trial.distributions)
    # A range that moved between trials would take it out of a multivariate sampler's joint space.
    assert all(one == distributions[0] for one in distributions)


# --- drawing without a trial ----------------------------------------------------------------------------------------

SAMPLED = [WHOLE.sample(rng) for rng in [random.Random(1)] for _ in range(4000)]


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("stages.1.width.1", IntDistribution(3, 64, log=True)),
        ("stages.1.depth", IntDistribution(1, 6)),
        ("sgd.lr", FloatDistribution(0.02, 1.0, log=True)),
        ("rotation", FloatDistribution(0.0, 15.0)),
        ("batch_size", CategoricalDistribution((32, 64, 128))),
    ],
)
def test_sample_draws_as_a_random_search_of_optuna_does(name: str, distribution: BaseDistribution) -> None:
    ours = [point[name] for point in SAMPLED]
    theirs = list(draw_with_optuna(distribution, len(ours)))
    # Kolmogorov and Smirnov's distance; 1.95 * sqrt(2 / 4000) = 0.044 is exceeded by chance once in a thousand times.
    # Without their half units at the ends of a log range of whole numbers the distance would be 0.07.
    assert greatest_distance(sorted(ours), sorted(theirs)) < 0.044


def draw_with_optuna(distribution: BaseDistribution, n: int) -> Iterator[Any]:
    study = optuna.create_study()
    trial = optuna.trial.create_trial(value=0.0)
    sampler = RandomSampler(seed=2)
    for _ in range(n):
        yield sampler.sample_independent(study, trial, "x", distribution)


def greatest_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Between the two cumulative distributions, each given by sorted draws."""
    return max(
        abs(bisect_right(first, value) / len(first) - bisect_right(second, value) / len(second))
        for value in {*first, *second}
    )


# Kinds that a network may have and that no search proposes, because they have shown no use at these sizes.
NOT_SEARCHED = {"flatten_linear"}


@pytest.mark.parametrize(("dimension", "kinds"), [("stages.2.kind", BLOCK_KINDS), ("head.kind", HEAD_KINDS)])
def test_every_kind_is_searched(dimension: str, kinds: tuple[str, ...]) -> None:
    (searched,) = (choice for choice in DIMENSIONS if choice.name == dimension)
    assert isinstance(searched, Choice)
    assert set(kinds) - set(searched.choices) <= NOT_SEARCHED
