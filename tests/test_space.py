"""The space: what it asks for and reaches, that each of its points is a network, and the way back from a network."""

import json
import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

from models.baselines import BASELINES
from models.build import build_model
from models.cost import compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.config import Augmentation, RecipeConfig, Schedule
from search.dimensions import Choice, Dimension, FloatRange, IntRange
from space import (
    DEFAULTS,
    DIMENSIONS,
    MAX_DEPTH,
    MAX_STAGES,
    SPACE_KEY,
    Candidate,
    NotInSpaceError,
    Params,
    assemble,
    baseline_params,
    sample,
    suggest,
    to_params,
)

GOLDEN = Path(__file__).parent / "golden" / "space.json"
NAMES = [dimension.name for dimension in DIMENSIONS]
POINTS = [sample(random.Random(seed)) for seed in range(1000)]

# Input shape and number of classes.
DATA = [((1, 28, 28), 10), ((3, 32, 32), 7), ((1, 8, 8), 10), ((1, 28, 20), 10)]
TINY = [((1, 1, 1), 2), ((2, 3, 3), 2), ((1, 2, 9), 3)]

# A point at which every dimension has a say but those of the other optimiser, where the image is large enough to leave
# the last stage a choice.
LARGE = (1, 64, 64)
ACTIVE = DEFAULTS | {
    "stages": MAX_STAGES,
    **{f"stages.{stage}.depth": MAX_DEPTH for stage in range(1, MAX_STAGES + 1)},
    **{f"transitions.{pool}.place": "before" for pool in range(1, MAX_STAGES)},
    "head.kind": "gap_conv",
    "head.hidden": True,
    "head.dropout": True,
    "dropout": 0.1,
}


def active(dimension: Dimension) -> Params:
    """ACTIVE, with the optimiser that the dimension is of, if it is of one."""
    of, dot, _ = dimension.name.partition(".")
    return ACTIVE | ({"optimizer": of} if dot and of in ("sgd", "adamw", "soap") else {})


def ends(dimension: Dimension) -> tuple[Any, ...]:
    """Every choice, or the two ends of a range."""
    return dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)


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


# --- asking a trial -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("input_shape", "n_classes"), DATA)
def test_every_dimension_is_suggested_in_every_trial(input_shape: tuple[int, int, int], n_classes: int) -> None:
    for point in POINTS[:200]:
        trial = FixedTrial(point)
        assert suggest(trial, input_shape, n_classes) == assemble(point, input_shape, n_classes)
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


# --- both ends of every range ---------------------------------------------------------------------------------------


def check_network(spec: ArchSpec, label: str) -> None:
    """The network can be built and run, and has as many parameters as was worked out."""
    with torch.device("meta"):
        model = build_model(spec).eval()
    assert model(torch.empty(2, *spec.input_shape, device="meta")).shape == (2, spec.n_classes), label
    assert compute_cost(spec).n_params == sum(parameter.numel() for parameter in model.parameters()), label


@pytest.mark.parametrize(
    ("others", "input_shape"),
    [
        pytest.param(DEFAULTS, (1, 28, 28), id="default"),
        pytest.param(ACTIVE, (1, 28, 20), id="active"),
        pytest.param(ACTIVE, (3, 8, 8), id="active small"),
        *(pytest.param(POINTS[seed], (3, 32, 32), id=f"random {seed}") for seed in range(3)),
    ],
)
def test_every_end_is_a_network(others: Params, input_shape: tuple[int, int, int]) -> None:
    labels = {}
    for dimension in DIMENSIONS:
        for value in ends(dimension):
            labels[assemble(others | {dimension.name: value}, input_shape, 7).arch] = f"{dimension.name} = {value}"
    for spec, label in labels.items():
        check_network(spec, label)


@pytest.mark.parametrize("end", [0, -1], ids=["low", "high"])
@pytest.mark.parametrize(("input_shape", "n_classes"), DATA)
def test_all_ends_at_once_are_a_network(end: int, input_shape: tuple[int, int, int], n_classes: int) -> None:
    point = {dimension.name: ends(dimension)[end] for dimension in DIMENSIONS}
    check_network(assemble(point, input_shape, n_classes).arch, "all ends")


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=NAMES)
def test_every_value_of_an_active_dimension_is_another_candidate(dimension: Dimension) -> None:
    candidates = [assemble(active(dimension) | {dimension.name: value}, LARGE) for value in ends(dimension)]
    assert len(set(candidates)) == len(candidates) > 1


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=NAMES)
def test_random_points_reach_the_ends(dimension: Dimension) -> None:
    drawn = [point[dimension.name] for point in POINTS]
    if isinstance(dimension, Choice):
        assert set(drawn) == set(dimension.choices)
    elif isinstance(dimension, IntRange):
        assert {min(drawn), max(drawn)} == {dimension.low, dimension.high}
    else:
        nearly = 0.01 * (dimension.high - dimension.low)
        assert dimension.low <= min(drawn) < dimension.low + nearly
        assert dimension.high - 2 * nearly < max(drawn) <= dimension.high


# --- masked dimensions ----------------------------------------------------------------------------------------------

# The values that mask, and the names of what they mask.
MASKED: list[tuple[Params, list[str]]] = [
    ({"stages": 2}, [name for name in NAMES if name.startswith(("stages.3.", "transitions.2."))]),
    ({"stages.1.depth": 1}, [f"stages.1.width.{conv}" for conv in range(2, MAX_DEPTH + 1)]),
    ({"stages.2.depth": 5}, ["stages.2.width.6"]),
    ({"transitions.1.place": "none"}, ["transitions.1.width", "transitions.1.bare"]),
    ({"head.hidden": False}, ["head.hidden_width"]),
    ({"head.kind": "gap_linear"}, ["head.hidden", "head.hidden_width"]),
    ({"head.kind": "conv_gap"}, ["head.hidden", "head.hidden_width"]),
    ({"head.dropout": False}, ["dropout"]),
    ({"head.kind": "gap"}, ["head.hidden", "head.hidden_width"]),
    ({"optimizer": "sgd"}, [f"{other}.{of}" for other in ("adamw", "soap") for of in ("lr", "weight_decay")]),
    ({"optimizer": "adamw"}, [f"{other}.{of}" for other in ("sgd", "soap") for of in ("lr", "weight_decay")]),
    ({"optimizer": "soap"}, [f"{other}.{of}" for other in ("sgd", "adamw") for of in ("lr", "weight_decay")]),
    # Where weights are shared all are as wide as the first, or as the last of the stage before.
    ({"stages.1.shared": "stage"}, [f"stages.1.width.{conv}" for conv in range(2, MAX_DEPTH + 1)]),
    ({"stages.2.shared": "before"}, [f"stages.2.width.{conv}" for conv in range(1, MAX_DEPTH + 1)]),
    ({"dropout": 0.0}, [name for name in NAMES if name.endswith(".dropout")]),
    # Of a pair of convolutions with a shortcut the second decides the width, and both are padded.
    ({"stages.1.kind": "residual"}, ["stages.1.width.1", "stages.1.width.3", "stages.1.width.5", "stages.1.padded"]),
]


def test_a_separable_first_stage_starts_with_a_plain_convolution() -> None:
    first, second = assemble(ACTIVE | {f"stages.{i}.kind": "separable" for i in (1, 2)}, LARGE).arch.stages[:2]
    assert [block.kind for block in first.blocks if block.kernel_size > 1] == ["conv"] + ["separable"] * (MAX_DEPTH - 1)
    assert {block.kind for block in second.blocks if block.kernel_size > 1} == {"separable"}


@pytest.mark.parametrize(("values", "masked"), MASKED, ids=lambda value: str(value)[:60])
def test_masked_dimensions_change_nothing(values: Params, masked: list[str]) -> None:
    base = ACTIVE | values
    for dimension in [DIMENSIONS[NAMES.index(name)] for name in masked]:
        for value in ends(dimension):
            assert assemble(base | {dimension.name: value}, LARGE) == assemble(base, LARGE), f"{dimension.name}={value}"


# --- shared weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "widths", "shared"),
    [
        ({}, "8 8 8 | 14 14 14", "... | ..."),
        ({"stages.1.shared": "stage"}, "8 8 8 | 14 14 14", "..= | ..."),
        # The first of a stage is of other widths, and the second is the first of its shape.
        ({"stages.2.shared": "stage"}, "8 8 8 | 14 14 14", "... | ..="),
        ({"stages.2.shared": "stage", "stages.2.width.1": 8}, "8 8 8 | 8 8 8", "... | .=="),
        ({"stages.2.shared": "before"}, "8 8 8 | 8 8 8", "... | ==="),
        ({"stages.1.shared": "stage", "stages.2.shared": "before"}, "8 8 8 | 8 8 8", "..= | ==="),
        # Another kernel is another weight.
        ({"stages.2.shared": "before", "stages.2.kernel": 5}, "8 8 8 | 8 8 8", "... | .=="),
        ({"stages.2.shared": "before", "stages.2.kind": "separable"}, "8 8 8 | 8 8 8", "... | .=="),
        # A transition leads to a width of its own, which is no width of the convolutions.
        ({"stages.2.shared": "before", "transitions.1.place": "after"}, "8 8 8 | 5 8 8 8", "... | ..=="),
    ],
    ids=str,
)
def test_which_convolutions_share(values: Params, widths: str, shared: str) -> None:
    plain: Params = {f"stages.{stage}.depth": 3 for stage in (1, 2)} | {"transitions.1.width": 5}
    plain |= {f"stages.{stage}.width.{conv}": width for stage, width in ((1, 8), (2, 14)) for conv in (1, 2, 3)}
    arch = assemble(DEFAULTS | plain | values).arch
    assert [" ".join(str(block.out_channels) for block in stage.blocks) for stage in arch.stages] == widths.split(" | ")
    found = ["".join(".="[block.shared] for block in stage.blocks) for stage in arch.stages]
    assert found == shared.split(" | ")


def test_without_a_channel_for_every_class_the_head_is_linear() -> None:
    narrow = DEFAULTS | {"head.kind": "gap"} | {f"stages.2.width.{conv}": 9 for conv in range(1, MAX_DEPTH + 1)}
    assert assemble(narrow, n_classes=9).arch.head.kind == "gap"
    assert assemble(narrow, n_classes=10).arch.head.kind == "gap_linear"


# --- random points, and back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("input_shape", "n_classes"), DATA + TINY)
def test_random_points_there_and_back(input_shape: tuple[int, int, int], n_classes: int) -> None:
    for seed, point in enumerate(POINTS):
        candidate = assemble(point, input_shape, n_classes)
        assert (candidate.arch.input_shape, candidate.arch.n_classes) == (input_shape, n_classes)
        found = to_params(candidate.arch, candidate.recipe)
        assert list(found) == NAMES, seed
        assert assemble(found, input_shape, n_classes) == candidate, seed
        if seed % 50 == 0:
            check_network(candidate.arch, f"sample(random.Random({seed}))")


def test_a_network_alone_stands_for_the_default_recipe() -> None:
    found = to_params(assemble(POINTS[0]).arch)
    assert assemble(found) == Candidate(assemble(POINTS[0]).arch, assemble(DEFAULTS).recipe)


def test_inactive_dimensions_come_back_at_their_defaults() -> None:
    hidden = DEFAULTS | {"stages.3.depth": 4, "stages.1.width.4": 30, "head.hidden_width": 5, "transitions.2.width": 20}
    assert to_params(assemble(hidden).arch) == DEFAULTS


# --- small maps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("input_shape", "kernel", "paddings", "pool"),
    [
        ((1, 28, 28), 3, ["valid", "valid", "valid", "valid"], 2),
        ((1, 11, 11), 3, ["valid", "valid", "valid", "valid"], 2),
        ((1, 10, 10), 3, ["valid", "valid", "valid", "same"], 2),  # 8, 6, 4
        ((1, 5, 5), 3, ["valid", "same", "same", "same"], 2),  # 3
        ((1, 28, 5), 3, ["valid", "same", "same", "same"], 2),
        ((1, 5, 28), 3, ["valid", "same", "same", "same"], 2),
        ((1, 4, 4), 3, ["same", "same", "same", "same"], 2),
        ((1, 2, 2), 3, ["same", "same", "same", "same"], 2),
        ((1, 1, 1), 3, ["same", "same", "same", "same"], 0),
        ((1, 19, 19), 5, ["valid", "valid", "valid", "valid"], 2),
        ((1, 18, 18), 5, ["valid", "valid", "valid", "same"], 2),  # 14, 10, 6
        ((1, 7, 7), 5, ["valid", "same", "same", "same"], 2),  # 3
        ((1, 6, 6), 5, ["same", "same", "same", "same"], 2),
    ],
)
def test_convolutions_are_padded_before_the_map_is_smaller_than_three(
    input_shape: tuple[int, int, int], kernel: int, paddings: list[str], pool: int
) -> None:
    stage = assemble(DEFAULTS | {"stages.1.depth": 4, "stages.1.kernel": kernel}, input_shape).arch.stages[0]
    assert [block.padding for block in stage.blocks] == paddings
    assert stage.pool == pool


# --- drawing without a trial ----------------------------------------------------------------------------------------

SAMPLED = [sample(rng) for rng in [random.Random(1)] for _ in range(4000)]


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


# --- hand-designed networks -----------------------------------------------------------------------------------------

POINTS_BY_HAND = ["s001_model3", "s002_model1", "s002_model2", "s002_model3", "s004_net3"]


def test_all_hand_designed_networks_of_at_most_8000_parameters_are_points() -> None:
    small = [id_ for id_, baseline in BASELINES.items() if compute_cost(baseline.spec).n_params <= 8000]
    assert small == POINTS_BY_HAND
    assert set(baseline_params((1, 28, 28), 10)) >= set(small)


@pytest.mark.parametrize("id_", POINTS_BY_HAND)
def test_a_hand_designed_network_is_an_exact_point(id_: str) -> None:
    params = to_params(BASELINES[id_].spec)
    assert baseline_params((1, 28, 28), 10)[id_] == params
    # As a queued trial would ask; FixedTrial warns of a value outside its range.
    assert suggest(FixedTrial(params)) == Candidate(BASELINES[id_].spec, assemble(DEFAULTS).recipe)


@pytest.mark.parametrize("data", [((3, 28, 28), 10), ((1, 32, 32), 10), ((1, 28, 28), 7)])
def test_hand_designed_networks_are_points_for_their_own_data_only(data: tuple[tuple[int, int, int], int]) -> None:
    assert baseline_params(*data) == {}


# --- what the space does not hold -----------------------------------------------------------------------------------


def net(*stages: Iterable[Block], head: Head | None = None) -> ArchSpec:
    """Stages of these blocks with a pool between them; by default with the head of the default point."""
    last = len(stages) - 1
    parts = tuple(Stage(tuple(blocks), 0 if i == last else 2) for i, blocks in enumerate(stages))
    return ArchSpec((1, 28, 28), 10, parts, head or Head("gap_linear", bias=True))


def convs(*widths: int, **settings: Any) -> list[Block]:
    return [Block(width, **settings) for width in widths]


TWO_STAGES = net(convs(8, 8), convs(8, 8))


@pytest.mark.parametrize(
    "spec",
    [
        *(pytest.param(BASELINES[id_].spec, id=id_) for id_ in BASELINES if id_.startswith(("s000", "s003"))),
        pytest.param(net(), id="no stage"),
        pytest.param(net(convs(8, 8)), id="one stage"),
        pytest.param(net(*[convs(8, padding="same")] * 4), id="four stages"),
        pytest.param(net([], convs(8)), id="no convolution"),
        pytest.param(net(convs(*[8] * 7), convs(8)), id="seven convolutions"),
        pytest.param(net(convs(2, 8), convs(8)), id="too narrow"),
        pytest.param(net(convs(8, 65), convs(8)), id="too wide"),
        pytest.param(net(convs(8, kernel_size=7), convs(8)), id="7x7"),
        pytest.param(net(convs(8, bias=True), convs(8)), id="bias"),
        pytest.param(net(convs(8, batch_norm=False), convs(8)), id="no batch norm"),
        pytest.param(net(convs(8, activation="gelu"), convs(8)), id="gelu"),
        pytest.param(net(convs(8), convs(8, activation="silu")), id="two activations"),
        pytest.param(net(convs(8), convs(8, order="conv-act-bn")), id="two orders"),
        pytest.param(net(convs(8), convs(8, norm_scale=False)), id="two kinds of batch norm"),
        # Of equal blocks either all share or none.
        pytest.param(net(convs(8, 8, 8), [*convs(8), *convs(8, shared=True), *convs(8)]), id="shared in the middle"),
        pytest.param(net(convs(8, 8), convs(9, 8), convs(8, shared=True)), id="shared over a stage"),
        pytest.param(net([*convs(8, padding="same"), *convs(8)], convs(8)), id="padded first"),
        pytest.param(net([*convs(8), *convs(8, kernel_size=5)], convs(8)), id="two kernels"),
        pytest.param(net(convs(8, kind="separable"), convs(8)), id="separable first"),
        pytest.param(net(convs(8), [*convs(8), *convs(8, kind="separable")]), id="two kinds"),
        pytest.param(net([*convs(8, dropout=0.1), *convs(8, dropout=0.2)], convs(8)), id="two dropouts"),
        pytest.param(net([*convs(8, 8, dropout=0.1), *convs(8)], convs(8)), id="dropout twice of three"),
        pytest.param(net(convs(8, dropout=0.3), convs(8)), id="much dropout"),
        pytest.param(replace(TWO_STAGES, head=Head("gap_linear")), id="head without bias"),
        pytest.param(replace(TWO_STAGES, head=Head("flatten_linear")), id="flatten"),
        pytest.param(replace(TWO_STAGES, head=Head("conv", hidden=tuple(convs(8, 8, kernel_size=1)))), id="two hidden"),
        pytest.param(
            replace(TWO_STAGES, stages=(*TWO_STAGES.stages[:1], replace(TWO_STAGES.stages[1], pool=2))), id="last pool"
        ),
    ],
)
def test_networks_outside_the_space_are_refused(spec: ArchSpec) -> None:
    with pytest.raises(NotInSpaceError):
        to_params(spec)


RECIPE = assemble(DEFAULTS).recipe


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, lr=1.5),
        replace(RECIPE, batch_size=100),
        replace(RECIPE, weight_decay=0.01),
        replace(RECIPE, label_smoothing=0.2),
        replace(RECIPE, augmentation=Augmentation(rotation=20.0)),
        replace(RECIPE, augmentation=replace(RECIPE.augmentation, erase_p=0.1)),
        replace(RECIPE, optimizer="adam"),
        replace(RECIPE, optimizer="adam", nesterov=False),
        replace(RECIPE, optimizer="adamw", nesterov=False),  # its learning rate is ten times too high
        replace(RECIPE, optimizer="adamw", nesterov=True, lr=0.01),
        replace(RECIPE, nesterov=False),
        replace(RECIPE, epochs=16),
        replace(RECIPE, schedule=Schedule("constant")),
    ],
    ids=repr,
)
def test_recipes_outside_the_space_are_refused(recipe: RecipeConfig) -> None:
    with pytest.raises(NotInSpaceError):
        to_params(TWO_STAGES, recipe)
