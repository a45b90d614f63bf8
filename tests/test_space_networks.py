"""Each point of the space is a network: at the ends, with masked dimensions, and on small maps."""

import random
from typing import Any

import pytest

from models.cost import trace_features
from models.spec import BLOCK_KINDS, DEPTHWISE_KINDS
from search.search_space.buildable import MAX_DEPTH
from search.search_space.dimensions import Choice, Dimension, IntRange
from space import DEFAULTS, DIMENSIONS, SMALL_STAGES, Params, assemble, n_stages, unshared_space, whole_space
from tests.space_points import DATA, NAMES, POINTS, check_network

# A point at which every dimension has a say but those of the other optimizer, where the image is large enough to leave
# the last stage a choice.
LARGE = (1, 64, 64)
ACTIVE = DEFAULTS | {
    "stages": SMALL_STAGES,
    **{f"stages.{stage}.depth": MAX_DEPTH for stage in range(1, SMALL_STAGES + 1)},
    **{f"transitions.{pool}.place": "before" for pool in range(1, SMALL_STAGES)},
    "head.kind": "gap_conv",
    "head.hidden": True,
    "head.dropout": True,
    "dropout": 0.1,
}


# Values with which a dimension of some kinds of blocks has a say.
BLOCKS_OF: dict[str, Params] = {
    "skip": {"stages.2.kind": "separable", "stages.2.padded": 2},
    "expansion": {"stages.2.kind": "inverted"},
    "groups": {"stages.2.kind": "shuffle"},
}


def active(dimension: Dimension) -> Params:
    """ACTIVE, with the optimizer or the blocks that the dimension is of, if it is of one."""
    of, dot, _ = dimension.name.partition(".")
    optimizer = {"optimizer": of} if dot and of in ("sgd", "adamw", "soap") else {}
    return ACTIVE | optimizer | BLOCKS_OF.get(dimension.name, {})


def ends(dimension: Dimension) -> tuple[Any, ...]:
    """Every choice, or the two ends of a range."""
    return dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)


# --- both ends of every range ---------------------------------------------------------------------------------------


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
    ({"stages.2.kind": "conv"}, ["skip", "expansion", "groups"]),
    ({"stages.2.kind": "inverted"}, ["groups"]),
    ({"stages.2.kind": "shuffle"}, ["expansion", "skip"]),  # of which none is padded
    # Of a pair of convolutions with a shortcut the second decides the width, and both are padded.
    ({"stages.1.kind": "residual"}, ["stages.1.width.1", "stages.1.width.3", "stages.1.width.5", "stages.1.padded"]),
]


@pytest.mark.parametrize("kind", DEPTHWISE_KINDS)
def test_a_first_stage_with_depthwise_convolutions_starts_with_a_plain_convolution(kind: str) -> None:
    first, second = assemble(ACTIVE | {f"stages.{i}.kind": kind for i in (1, 2)}, LARGE).arch.stages[:2]
    assert [block.kind for block in first.blocks if block.kernel_size > 1] == ["conv"] + [kind] * (MAX_DEPTH - 1)
    assert {block.kind for block in second.blocks if block.kernel_size > 1} == {kind}


# --- blocks and reductions ------------------------------------------------------------------------------------------


def test_widths_of_a_shuffle_stage_are_multiples_of_the_groups() -> None:
    shuffle = {"stages.1.width.2": 13, "stages.2.kind": "shuffle", "groups": 4, "stages.2.depth": 3}
    stage = assemble(DEFAULTS | shuffle | {"stages.2.width.1": 17}).arch.stages[1]
    # The input has 13 channels, which are no multiple.
    assert [(block.kind, block.groups, block.out_channels) for block in stage.blocks] == [
        ("separable", 1, 20),
        ("shuffle", 4, 12),
        ("shuffle", 4, 12),
    ]


def test_blocks_add_their_input_where_they_keep_its_shape() -> None:
    values = {"skip": True, "stages.2.kind": "inverted", "stages.2.depth": 4, "stages.2.padded": 3}
    values |= {"stages.2.width.3": 16, "expansion": 4, "stages.2.squeeze": 4}
    stage = assemble(DEFAULTS | values).arch.stages[1]
    assert [block.skip for block in stage.blocks] == [False, True, False, False]
    assert {(block.kind, block.expansion, block.squeeze) for block in stage.blocks} == {("inverted", 4, 4)}


@pytest.mark.parametrize(
    ("reduction", "pool", "stride"), [("max", (2, "max"), 1), ("avg", (2, "avg"), 1), ("stride", (0, "max"), 2)]
)
def test_reductions(reduction: str, pool: tuple[int, str], stride: int) -> None:
    values = {"transitions.1.reduction": reduction, "transitions.1.place": "after", "stages.2.padded": 2}
    arch = assemble(DEFAULTS | values).arch
    assert (arch.stages[0].pool, arch.stages[0].pool_kind) == pool
    assert [block.stride for block in arch.stages[1].blocks] == [1, stride, 1]  # the 1x1 transition first
    assert trace_features(arch)[-1].height == 12  # half of 24


# --- larger images --------------------------------------------------------------------------------------------------

LARGER = [((3, 32, 32), 4), ((1, 64, 48), 4), ((3, 64, 64), 5), ((3, 96, 96), 5)]


@pytest.mark.parametrize(
    ("input_shape", "stages"), [((1, 1, 1), 3), ((1, 28, 28), 3), ((1, 31, 40), 3), *LARGER, ((3, 224, 224), 5)]
)
def test_stages_by_size(input_shape: tuple[int, int, int], stages: int) -> None:
    assert n_stages(input_shape) == stages
    space = unshared_space(input_shape)
    assert space.max_stages == stages
    assert {f"transitions.{stages - 1}.width", f"stages.{stages}.kind"} <= set(space.defaults)
    assert not any(f".{stages + 1}." in name and not name.endswith(f".width.{stages + 1}") for name in space.defaults)
    if stages == SMALL_STAGES:
        assert space == unshared_space((1, 28, 28))


@pytest.mark.parametrize(("input_shape", "stages"), LARGER)
def test_random_points_of_larger_images_are_networks_and_come_back(
    input_shape: tuple[int, int, int], stages: int
) -> None:
    space = whole_space(input_shape)
    kinds, n_drawn = set(), set()
    for seed in range(1000):
        point = space.sample(random.Random(seed))
        candidate = assemble(point, input_shape, 7)
        found = space.to_params(candidate.arch, candidate.recipe)
        assert list(found) == list(point), seed
        assert assemble(found, input_shape, 7) == candidate, seed
        kinds |= {block.kind for stage in candidate.arch.stages for block in stage.blocks}
        n_drawn.add(len(candidate.arch.stages))
        if seed % 50 == 0:
            check_network(candidate.arch, f"whole_space({input_shape}).sample(random.Random({seed}))")
    assert kinds == set(BLOCK_KINDS)
    assert n_drawn == set(range(max(2, stages - 2), stages + 1))


@pytest.mark.parametrize(("input_shape", "_stages"), LARGER)
def test_every_end_of_larger_images_is_a_network(input_shape: tuple[int, int, int], _stages: int) -> None:
    space = whole_space(input_shape)
    for end in (0, -1):
        check_network(assemble({one.name: ends(one)[end] for one in space.dimensions}, input_shape).arch, "all ends")
    for dimension in space.dimensions:
        for value in ends(dimension):
            point = space.defaults | {dimension.name: value}
            assert space.holds(space.to_params(assemble(point, input_shape).arch)), dimension.name


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
