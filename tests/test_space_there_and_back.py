"""The way back from a network to its point, and networks that are no point of the space."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import FixedTrial

from models.baselines import BASELINES
from models.cost import compute_cost
from models.recipe import Augmentation, RecipeConfig, Schedule
from models.spec import ArchSpec, Block, Head, Stage
from search.search_space.space import NotInSpaceError
from space import DEFAULTS, Candidate, assemble, baseline_params, suggest, to_params
from tests.space_points import DATA, NAMES, POINTS, check_network

TINY = [((1, 1, 1), 2), ((2, 3, 3), 2), ((1, 2, 9), 3)]


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
        pytest.param(net([*convs(8), *convs(8, squeeze=4)], convs(8)), id="squeeze in half of a stage"),
        pytest.param(net(convs(8, squeeze=2), convs(8)), id="another squeeze"),
        pytest.param(net(convs(8), convs(8, stride=2)), id="stride after a pool"),
        pytest.param(net(convs(8, 8, kind="inverted", expansion=7), convs(8)), id="large expansion"),
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
