"""Specs: what is refused and why, equality and keys, and the way to JSON and back."""

import json
import random
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.recipe import Augmentation, RecipeConfig
from models.record import RecordError
from models.spec import BLOCK_KINDS, HEAD_KINDS, ArchSpec, Block, Head, SpecError, Stage
from tests.models.random_specs import random_spec

SPEC = ArchSpec(
    input_shape=(1, 28, 28),
    n_classes=10,
    stages=(Stage((Block(8), Block(16, dropout=0.1)), pool=2), Stage((Block(16, kind="residual", padding="same"),))),
    head=Head("conv", hidden=(Block(10, kernel_size=1),), kernel_size=12),
)
NAN = float("nan")


GAP = Head("gap_linear")


def spec(*stages: Stage, head: Any = GAP, shape: Any = (1, 28, 28), n_classes: Any = 10) -> ArchSpec:
    return ArchSpec(shape, n_classes, stages, head)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Block(0), "out_channels must be between 1 and 1,000,000, got 0"),
        (lambda: Block(10**6 + 1), "out_channels must be between 1 and 1,000,000, got 1000001"),
        (lambda: Block(16**5000), "out_channels must be .*, got a int that is too large to be shown"),
        (lambda: Block(8, kernel_size=4), "kernel_size must be one of 1, 3, 5, 7, got 4"),
        (lambda: Block(8, kernel_size=9), "kernel_size must be one of 1, 3, 5, 7, got 9"),
        (lambda: Block(8, kind="dense"), f"block kind must be one of {', '.join(BLOCK_KINDS)}, got 'dense'"),
        (lambda: Block(8, padding="full"), "padding must be one of valid, same, got 'full'"),
        (lambda: Block(8, activation="tanh"), "activation must be one of .*None, got 'tanh'"),
        (lambda: Block(8, order="bn-conv"), "order must be one of .*, got 'bn-conv'"),
        (lambda: Block(8, dropout=1.0), "dropout must be at least 0 and below 1, got 1.0"),
        (lambda: Block(8, dropout=-0.1), "dropout .* got -0.1"),
        (lambda: Block(8, dropout=NAN), "dropout .* got nan"),
        (lambda: Block(8, dropout=10**400), "dropout .* below 1"),
        (lambda: Block(8, kind="residual"), "residual .* 'same', got 'valid'"),
        (lambda: Block(8, kind="inverted", stride=3), "stride must be one of 1, 2, got 3"),
        (lambda: Block(8, kind="inverted", expansion=0), "expansion must be between 1 and 16, got 0"),
        (lambda: Block(8, kind="inverted", expansion=17), "expansion must be between 1 and 16, got 17"),
        (lambda: Block(8, expansion=2), "expansion belongs to inverted blocks, not to conv; got 2"),
        (lambda: Block(8, squeeze=-1), "squeeze must be between 0 and 1,000,000, got -1"),
        (lambda: Block(8, groups=2), "groups belong to shuffle blocks, not to conv; got 2"),
        (lambda: Block(8, kind="shuffle"), "groups .* at least 2 and divide its 8 output channels, got 1"),
        (lambda: Block(8, kind="shuffle", groups=3), "groups .* divide its 8 output channels, got 3"),
        (lambda: Block(8, skip=True), "skip adds .*, but a conv block has no such choice"),
        (lambda: Block(8, kind="residual", padding="same", skip=True), "skip .*, but a residual block has no such"),
        (lambda: Block(8, kind="inverted", skip=True), "skip .* changes the map, stride 1, padding 'valid'"),
        (lambda: Block(8, 1, "separable", skip=True, stride=2), "skip .* changes the map, stride 2, padding 'valid'"),
        (
            lambda: spec(Stage((Block(6), Block(8, 1, "separable", skip=True)))),
            "stage 1 block 2: skip .* 6 input and 8 output channels",
        ),
        (
            lambda: spec(Stage((Block(6), Block(8, kind="shuffle", groups=4)))),
            "stage 1 block 2: 4 groups do not divide its 6 input channels",
        ),
        (
            lambda: spec(Stage((Block(6),)), head=Head("gap_conv", (Block(8, 1, "shuffle", groups=4),))),
            "hidden block 1 of the head: 4 groups do not divide its 6 input channels",
        ),
        (lambda: Head("gap_conv", (Block(8, 1, stride=2),)), "hidden blocks .* stride 1"),
        (lambda: Stage((Block(8),), 2, "min"), "pool_kind must be one of max, avg, got 'min'"),
        (lambda: Stage((Block(8),), pool_kind="avg"), "a stage without a pool has no pool_kind, got 'avg'"),
        (lambda: Stage((Block(8),), pool=1), r"pool must be 0 \(none\) or from 2 to 1,000,000, got 1"),
        (lambda: Stage((Block(8),), pool=-2), "pool .* got -2"),
        (lambda: Stage((Block(8),), pool=10**6 + 1), "pool .* from 2 to 1,000,000, got 1000001"),
        (lambda: Stage(()), "at least one block or a pool"),
        (lambda: Head("softmax"), "head kind must be one of .*, got 'softmax'"),
        (lambda: Head("gap_linear", dropout=1.5), "dropout .* got 1.5"),
        (lambda: Head("gap_linear", dropout=NAN), "dropout .* got nan"),
        (lambda: Head("gap_linear", hidden=(Block(8, 1),)), "gap_linear head has no hidden blocks, got 1"),
        (lambda: Head("gap_conv", hidden=(Block(8, 3),)), "hidden blocks .* kernel_size 1"),
        (lambda: Head("conv_gap", kernel_size=7), "kernel_size belongs to the conv head, not to conv_gap"),
        (lambda: Head("conv", kernel_size=0), "a head's kernel_size must be between 1 and 1,000,000, got 0"),
        (lambda: spec(shape=(28, 28)), r"input_shape .* got \(28, 28\)"),
        (lambda: spec(shape=(1, 0, 28)), r"input_shape .* got \(1, 0, 28\)"),
        (lambda: spec(shape=(1, 10**6 + 1, 28)), "input_shape's largest number must be .* 1,000,000, got 1000001"),
        (lambda: spec(n_classes=0), "n_classes must be between 1 and 1,000,000, got 0"),
        (lambda: spec(n_classes=10**6 + 1), "n_classes must be between 1 and 1,000,000, got 1000001"),
        (lambda: spec(Stage((Block(8, 7),)), shape=(1, 6, 28)), "stage 1 block 1: a 7x7 .* map of 6x28"),
        (lambda: spec(Stage((Block(8), Block(8))), shape=(1, 4, 4)), "stage 1 block 2: a 3x3 .* 2x2"),
        (lambda: spec(Stage((), 3), Stage((), 2), shape=(1, 9, 5)), "stage 2: a 2x2 pool .* map of 3x1"),
        (lambda: spec(Stage((), 2), head=Head("conv", kernel_size=15)), "15x15 head is larger than its map of 14x14"),
        (lambda: spec(Stage((), 2), head=Head("conv", kernel_size=7)), "7x7 head does not cover its map of 14x14"),
    ],
)
def test_impossible_networks_are_refused_by_name(build: Callable[[], object], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        build()


@pytest.mark.parametrize(
    ("record", "values", "message"),
    [
        (Block, {"out_channels": "8"}, "Block.out_channels must be a whole number, got '8'"),
        (Block, {"out_channels": 8.0}, "Block.out_channels must be a whole number, got 8.0"),
        (Block, {"out_channels": True}, "Block.out_channels must be a whole number, got True"),
        (Block, {"out_channels": None}, "Block.out_channels must be a whole number, got None"),
        (Block, {"out_channels": 8, "kernel_size": 3.0}, "Block.kernel_size must be a whole number, got 3.0"),
        (Block, {"out_channels": 8, "bias": 1}, "Block.bias must be true or false, got 1"),
        (Block, {"out_channels": 8, "activation": 0}, "Block.activation must be a text or none, got 0"),
        (Block, {"out_channels": 8, "dropout": "0.1"}, "Block.dropout must be a number, got '0.1'"),
        (Block, {"out_channels": 8, "dropout": True}, "Block.dropout must be a number, got True"),
        (Stage, {"blocks": [Block(8)]}, "Stage.blocks must be a tuple, each item Block"),
        (Stage, {"blocks": (8,)}, "Stage.blocks must be a tuple, each item Block"),
        (Stage, {"blocks": (), "pool": 2.0}, "Stage.pool must be a whole number, got 2.0"),
        (Head, {"kind": "conv", "kernel_size": 7.0}, "Head.kernel_size must be a whole number or none, got 7.0"),
        (spec, {"head": "gap_linear"}, "ArchSpec.head must be Head, got 'gap_linear'"),
        (spec, {"shape": [1, 28, 28]}, r"ArchSpec.input_shape must be a tuple, .* got \[1, 28, 28\]"),
        (spec, {"shape": (1, 28.0, 28)}, "ArchSpec.input_shape .* whole number"),
        (spec, {"n_classes": "10"}, "ArchSpec.n_classes must be a whole number, got '10'"),
    ],
)
def test_constructors_refuse_wrong_types(record: Callable[..., object], values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        record(**values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 3}, "unknown key 'depth' in ArchSpec; its keys are input_shape, n_classes, stages, head"),
        ({"input_shap": 3}, "unknown key 'input_shap' in ArchSpec; the nearest is 'input_shape', its keys are"),
        ({"head": {"kind": "gap_linear", "width": 3}}, "unknown key 'width' in Head"),
        ({"head": {}}, "Head needs the key 'kind'"),
        ({"head": "gap_linear"}, "Head must be a mapping .* got 'gap_linear'"),
        ({"n_classes": True}, "ArchSpec.n_classes must be a whole number, got True"),
        ({"n_classes": 10.0}, "ArchSpec.n_classes must be a whole number, got 10.0"),
        ({"n_classes": None}, "ArchSpec.n_classes must be a whole number, got None"),
        ({"input_shape": [1, 28]}, "ArchSpec.input_shape must have 3 entries, got 2"),
        ({"input_shape": "abc"}, "ArchSpec.input_shape must be a list, got 'abc'"),
        ({"input_shape": [1, "28", 28]}, r"ArchSpec.input_shape\[1\] must be a whole number, got '28'"),
        ({"stages": {}}, "ArchSpec.stages must be a list"),
        ({"stages": [{"blocks": [{"out_channels": 8, "bias": 1}]}]}, "Block.bias must be true or false, got 1"),
        ({"stages": [{"blocks": [{"out_channels": 8, "dropout": True}]}]}, "Block.dropout must be a number, got True"),
        ({"stages": [{"blocks": [{"out_channels": 8, "dropout": 10**400}]}]}, "Block.dropout is too large"),
        ({"stages": [{"blocks": [{"out_channels": 8, "activation": 1}]}]}, "Block.activation must be a text, got 1"),
        ({"stages": [{"blocks": [{"out_channels": 99, "kernel_size": 2}]}]}, "kernel_size must be one of"),
    ],
)
def test_from_dict_names_the_key_and_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        ArchSpec.from_dict({**SPEC.to_dict(), **changes})


def test_from_dict_says_where_a_nested_value_is() -> None:
    values = SPEC.to_dict()
    values["stages"][1]["pool"] = "avg"
    message = r"^ArchSpec.stages\[1\]: Stage.pool must be a whole number, got 'avg'$"
    with pytest.raises(RecordError, match=message):
        ArchSpec.from_dict(values)
    values = SPEC.to_dict()
    values["stages"][0]["blocks"][1]["out_channels"] = 0
    with pytest.raises(RecordError, match=r"^ArchSpec.stages\[0\]: Stage.blocks\[1\]: out_channels must be"):
        ArchSpec.from_dict(values)


@pytest.mark.parametrize("data", [None, 3, "spec", [], [1, 2], {}, {"input_shape": [1, 28, 28]}])
def test_from_dict_refuses_what_is_no_spec(data: object) -> None:
    with pytest.raises(RecordError, match="ArchSpec"):
        ArchSpec.from_dict(data)


def test_from_dict_alone_refuses_a_bool_for_a_number() -> None:
    # RecipeConfig's constructor checks ranges, not types.
    with pytest.raises(RecordError, match="batch_size must be a whole number, got True"):
        RecipeConfig.from_dict({"batch_size": True})


def test_a_spec_error_is_a_record_error_is_a_value_error() -> None:
    assert issubclass(SpecError, RecordError)
    assert issubclass(RecordError, ValueError)


# --- frozen, equal, hashable, keyed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "field"),
    [(SPEC, "n_classes"), (SPEC.head, "bias"), (SPEC.stages[0], "pool"), (SPEC.stages[0].blocks[0], "dropout")],
)
def test_records_are_frozen(record: object, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(record, field, 1)


def different_specs() -> list[ArchSpec]:
    """Twelve networks that differ from SPEC, and from each other, in one setting each."""
    first, second = SPEC.stages
    block = first.blocks[0]
    blocks = [
        replace(block, **change)
        for change in (
            {"out_channels": 9},
            {"kind": "separable"},
            {"bias": True},
            {"batch_norm": False},
            {"activation": None},
            {"activation": "gelu"},
            {"order": "conv-act-bn"},
            {"dropout": 0.1},
            {"squeeze": 4},
            {"kind": "inverted"},
            {"kind": "inverted", "expansion": 2},
        )
    ]
    return [
        *(replace(SPEC, stages=(replace(first, blocks=(other, *first.blocks[1:])), second)) for other in blocks),
        *(
            replace(SPEC, stages=(first, Stage((Block(16, kind="shuffle", padding="same", groups=groups, skip=skip),))))
            for groups, skip in ((2, False), (2, True), (4, False))
        ),
        replace(SPEC, stages=(replace(first, pool_kind="avg"), second)),
        replace(SPEC, stages=(first, replace(second, blocks=(replace(second.blocks[0], stride=2),))), head=GAP),
        replace(SPEC, n_classes=11),
        replace(SPEC, input_shape=(3, 28, 28)),
        replace(SPEC, head=replace(SPEC.head, bias=True)),
        replace(SPEC, head=replace(SPEC.head, kernel_size=None)),
    ]


def test_equal_specs_hash_and_key_alike() -> None:
    twin = ArchSpec.from_dict(SPEC.to_dict())
    assert twin == SPEC
    assert twin is not SPEC
    assert hash(twin) == hash(SPEC)
    assert twin.key() == SPEC.key()


def test_unequal_specs_have_unequal_keys() -> None:
    specs = [SPEC, *different_specs()]
    assert len(set(specs)) == len(specs)
    assert len({one.key() for one in specs}) == len(specs)


def test_key_is_the_one_that_stored_studies_hold() -> None:
    assert SPEC.key() == "d243dae91b756594"


def test_a_whole_number_stands_for_a_float_in_the_key_too() -> None:
    assert Augmentation(rotation=7) == Augmentation(rotation=7.0)
    assert Augmentation(rotation=7).key() == Augmentation(rotation=7.0).key()


# --- to JSON and back -----------------------------------------------------------------------------------------------


def test_random_specs_survive_json() -> None:
    for seed in range(300):
        original = random_spec(random.Random(seed))
        data = json.loads(json.dumps(original.to_dict(), allow_nan=False))
        assert ArchSpec.from_dict(data) == original, seed
        assert ArchSpec.from_dict(data).key() == original.key(), seed


def test_fields_at_their_defaults_are_left_out() -> None:
    assert Block(8).to_dict() == {"out_channels": 8}
    assert Block(8, bias=True).to_dict() == {"out_channels": 8, "bias": True}
    assert Stage((), pool=2).to_dict() == {"blocks": [], "pool": 2}


def test_defaults_are_those_that_stored_specs_leave_out() -> None:
    assert Block(8) == Block(8, 3, "conv", "valid", False, True, "relu", "conv-bn-act", 0.0)
    assert Block(8) == Block(8, shared=False, norm_scale=True, stride=1, skip=False, expansion=1, groups=1, squeeze=0)
    assert Stage((Block(8),)) == Stage((Block(8),), 0, "max")
    assert Head("conv") == Head("conv", (), False, 0.0, None)


KEYS = st.sampled_from([field.name for record in (ArchSpec, Stage, Block, Head) for field in fields(record)])
WORDS = st.sampled_from([*BLOCK_KINDS, *HEAD_KINDS, "same", "relu", "conv-act-bn"])
LEAVES = st.none() | st.booleans() | st.integers(-3, 30) | st.integers() | st.floats() | WORDS | st.text(max_size=4)
JSON_LIKE = st.recursive(
    LEAVES,
    lambda items: st.lists(items, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), items, max_size=5),
    max_leaves=12,
)


@st.composite
def damaged_specs(draw: st.DrawFn) -> dict[str, Any]:
    """A valid spec's dictionary in which one to three values, at any depth, were replaced."""
    data = random_spec(random.Random(draw(st.integers(0, 300)))).to_dict()
    for _ in range(draw(st.integers(1, 3))):
        place: Any = data
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
                place[key] = draw(JSON_LIKE)
                break
            place = place[key]
    return data


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(damaged_specs(), JSON_LIKE, st.dictionaries(KEYS, JSON_LIKE, max_size=4)))
def test_arbitrary_data_is_read_or_refused(data: Any) -> None:
    try:
        read = ArchSpec.from_dict(data)
    except RecordError:
        return
    assert ArchSpec.from_dict(json.loads(json.dumps(read.to_dict(), allow_nan=False))) == read
