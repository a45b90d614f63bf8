"""The points that a study tries first: each is in the space, and there is one for every budget."""

import pytest
from optuna.trial import FixedTrial

from models.cost import compute_cost
from search.cli.commands.frontier import BUDGETS
from search.sampling.starting_points import SMALL_RECIPE, starting_points
from search.search_space.dimensions import Choice, FloatRange
from search.search_space.space import Space
from space import DIMENSIONS, WHOLE, Params, assemble, suggest, to_params

STARTS = starting_points()


@pytest.mark.parametrize(("name", "params"), STARTS, ids=[f"{i} {name}" for i, (name, _) in enumerate(STARTS)])
def test_a_starting_point_is_a_point_of_the_space(name: str, params: Params) -> None:
    candidate = suggest(FixedTrial(params), space=WHOLE)  # which warns of a value outside its range
    assert to_params(candidate.arch, candidate.recipe) == params
    assert name.endswith(f"-{candidate.recipe.optimizer}")


@pytest.mark.parametrize("name", ["separable-sgd", "separable-adamw", "deep-sgd", "shared-soap"])
def test_each_starting_point_has_sizes_from_the_largest_budget_of_a_frontier_to_the_smallest(name: str) -> None:
    sizes = [compute_cost(assemble(params).arch).n_params for found, params in STARTS if found == name]
    assert sizes == sorted(set(sizes), reverse=True)
    for budget in BUDGETS:
        assert 0.9 * budget < max(size for size in sizes if size <= budget)


def test_starting_points_of_at_most_2000_parameters_have_the_small_recipe() -> None:
    for name, params in STARTS:
        if name == "shared-soap":
            continue  # has a recipe of its own for them, of which it wants more augmentation
        is_small = compute_cost(assemble(params).arch).n_params <= 2000
        assert (params.items() >= SMALL_RECIPE.items()) == is_small


def test_sharing_starting_points_share_one_set_of_weights() -> None:
    archs = [assemble(params).arch for name, params in STARTS if name == "shared-soap"]
    assert [compute_cost(arch).n_params for arch in archs] == [7895, 5739, 3803, 1878, 954]
    for arch in archs:
        of_stages = ["".join(".="[block.shared] for block in stage.blocks) for stage in arch.stages]
        assert of_stages == ["..", "..=", "==="]
        assert arch.head.kind == "gap"


def test_of_their_recipe_starting_points_have_what_a_narrower_space_has() -> None:
    batches = Choice("batch_size", (32, 128), 32)
    rotation = Choice("rotation", (0.0, 7.0), 0.0)
    shift = FloatRange("shift", 0.0, 0.05, 0.0)
    narrowed = {"batch_size": batches, "rotation": rotation, "shift": shift}
    points = starting_points(Space(tuple(narrowed.get(one.name, one) for one in DIMENSIONS)))
    assert len(points) == len(STARTS)
    found = {tuple(point[name] for name in narrowed) for _, point in points}
    # Small ones, then separable, deep and shared ones.
    assert found == {(32, 0.0, 0.02), (32, 0.0, 0.05), (32, 7.0, 0.04), (32, 0.0, 0.04)}
