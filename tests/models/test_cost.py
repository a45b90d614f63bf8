"""The arithmetic of models.cost held against torch, over random networks and by hand."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.build import build_model
from models.cost import Cost, compute_cost
from models.layer_cost import LayerCost, ModuleCost, module_costs
from models.spec import (
    ACTIVATIONS,
    BLOCK_KINDS,
    DEPTHWISE_KINDS,
    HEAD_KINDS,
    KERNEL_SIZES,
    LARGEST_EXPANSION,
    ORDERS,
    PADDINGS,
    POOL_KINDS,
    STRIDES,
    ArchSpec,
    Block,
    Head,
    Stage,
)
from tests.models.random_specs import CLASS_COUNTS, INPUT_SHAPES, random_spec

N_SPECS = 1000
BATCH = 2

SPECS = [random_spec(random.Random(seed)) for seed in range(N_SPECS)]


def build_on_meta(spec: ArchSpec) -> nn.Sequential:
    """The network without storage, in evaluation mode (batch norm of a 1x1 map of one image cannot train)."""
    with torch.device("meta"):
        return build_model(spec).eval()


def all_blocks(spec: ArchSpec) -> Iterator[Block]:
    for stage in spec.stages:
        yield from stage.blocks
    yield from spec.head.hidden


def map_shape(row: LayerCost) -> tuple[int, int, int]:
    return row.channels, row.height, row.width


# --- random networks ------------------------------------------------------------------------------------------------


def test_random_specs_reach_every_choice() -> None:
    blocks = [block for spec in SPECS for block in all_blocks(spec)]
    assert {block.kind for block in blocks} == set(BLOCK_KINDS)
    for kind in BLOCK_KINDS:
        ours = [block for block in blocks if block.kind == kind]
        assert len(ours) > 100
        assert {block.kernel_size for block in ours} == set(KERNEL_SIZES)
        assert {(block.stride, block.squeeze > 0) for block in ours} == set(product(STRIDES, (False, True)))
        assert {block.skip for block in ours} == ({False, True} if kind in DEPTHWISE_KINDS else {False})
        assert {block.padding for block in ours} == ({"same"} if kind == "residual" else set(PADDINGS))
        assert {block.order for block in ours} == set(ORDERS)
        assert {block.activation for block in ours} == {*ACTIVATIONS, None}
        assert {(block.bias, block.batch_norm, block.dropout > 0) for block in ours} == {
            (bias, norm, drop) for bias in (False, True) for norm in (False, True) for drop in (False, True)
        }
        assert {block.norm_scale for block in ours if block.batch_norm} == {False, True}
        assert {2 if kind == "shuffle" else 1, 24} <= {block.out_channels for block in ours}
    assert {1, LARGEST_EXPANSION} <= {block.expansion for block in blocks}
    assert {2, 3, 4, 5} <= {block.groups for block in blocks}
    assert {(stage.pool, stage.pool_kind) for spec in SPECS for stage in spec.stages} == {
        (0, "max"),
        *product((2, 3), POOL_KINDS),
    }
    assert {len(spec.stages) for spec in SPECS} == {0, 1, 2, 3}
    assert {spec.input_shape for spec in SPECS} == set(INPUT_SHAPES)
    assert {spec.n_classes for spec in SPECS} == set(CLASS_COUNTS)
    assert {(spec.head.kind, spec.head.bias, spec.head.dropout > 0) for spec in SPECS} == {
        (kind, bias, drop)
        for kind in HEAD_KINDS
        for bias in (False, True)
        for drop in (False, True)
        if not (kind == "gap" and bias)
    }
    shared_blocks = [block for block in blocks if block.shared]
    assert {block.kind for block in shared_blocks} == {block.kind for block in shared_blocks if block.squeeze}
    assert {block.kind for block in shared_blocks} == set(BLOCK_KINDS)
    assert {len(spec.head.hidden) for spec in SPECS} == {0, 1, 2}
    assert any(spec.head.kernel_size for spec in SPECS)


@pytest.mark.parametrize("first", range(0, N_SPECS, 100))
def test_cost_equals_torch(first: int) -> None:
    for seed, spec in enumerate(SPECS[first : first + 100], start=first):
        check_against_torch(spec, f"random_spec(random.Random({seed}))")


def check_against_torch(spec: ArchSpec, label: str) -> None:
    cost, model = compute_cost(spec), build_on_meta(spec)
    assert cost.n_params == sum(parameter.numel() for parameter in model.parameters()), label

    with_copies = model.named_parameters(remove_duplicate=False)
    assert cost.n_stored == sum(parameter.numel() for _, parameter in with_copies), label

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shapes = output_shapes(model, torch.empty(BATCH, *spec.input_shape, device="meta"))
    assert counter.get_total_flops() == 2 * BATCH * cost.macs, label

    assert shapes.pop("head") == (BATCH, spec.n_classes), label
    assert shapes == {name: (BATCH, *map_shape(row)) for name, row in last_rows(cost).items() if name != "head"}, label
    assert map_shape(cost.layers[-1]) == (spec.n_classes, 1, 1), label

    assert module_costs(spec.input_shape, cost.layers) == modules_of(model, spec), label

    first, second = model.state_dict(), build_on_meta(spec).state_dict()
    assert {key: value.shape for key, value in first.items()} == {key: value.shape for key, value in second.items()}
    assert list(first) == list(second), label


def modules_of(model: nn.Sequential, spec: ArchSpec) -> list[ModuleCost]:
    """Return the modules in the order in which they run, as torchsummary counts them."""
    found: list[ModuleCost] = []

    def record(module: nn.Module, _: object, output: Tensor) -> None:
        n_params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        found.append(ModuleCost(type(module).__name__, tuple(output.shape[1:]), n_params))

    for module in model.modules():
        if not isinstance(module, nn.Sequential):
            module.register_forward_hook(record)
    model(torch.empty(BATCH, *spec.input_shape, device="meta"))
    return found


def output_shapes(model: nn.Sequential, images: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape after each stage and after the head, by the child's name."""
    shapes = {}
    for name, child in model.named_children():
        images = child(images)
        shapes[name] = tuple(images.shape)
    return shapes


def last_rows(cost: Cost) -> dict[str, LayerCost]:
    """The last row of each stage and of the head; rows are named "stage1.block2", "stage1.pool", "head.linear"."""
    return {row.name.split(".")[0]: row for row in cost.layers}


# --- receptive field ------------------------------------------------------------------------------------------------


def linear_positive(spec: ArchSpec) -> nn.Sequential:
    """The network of `spec`, narrow, and with nothing in it that could hide a path from a pixel to an output value.

    Activations, batch norm, dropout and squeeze-and-excitation are taken out, all weights are 1 (no two paths cancel),
    and average pools stand for max pools (a max passes the gradient to one pixel only).
    """

    def bare(block: Block) -> Block:
        # Widths of 1 and 2 keep both kinds of shortcut and cost little.
        width, kind = 1 + block.out_channels % 2, "separable" if block.kind == "shuffle" else block.kind
        block = replace(block, out_channels=width, kind=kind, groups=1, activation=None, batch_norm=False, dropout=0.0)
        return replace(block, skip=False, squeeze=0, expansion=min(block.expansion, 2))

    stages = tuple(replace(stage, blocks=tuple(map(bare, stage.blocks))) for stage in spec.stages)
    head = replace(spec.head, hidden=tuple(map(bare, spec.head.hidden)), dropout=0.0)
    model = build_model(replace(spec, stages=stages, head=head)).double()
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    for part in model.children():
        for name, layer in part.named_children():
            if isinstance(layer, nn.MaxPool2d):
                setattr(part, name, nn.AvgPool2d(layer.kernel_size))
    return model


def gradient_extent(images: Tensor, value: Tensor) -> tuple[int, int]:
    """Rows and columns between the first and last input pixel, both included, that `value` depends on."""
    (gradient,) = torch.autograd.grad(value, images)
    touched = gradient.sum(dim=(0, 1)) != 0
    rows, columns = touched.any(dim=1).nonzero(), touched.any(dim=0).nonzero()
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def enlarged(spec: ArchSpec) -> ArchSpec | None:
    """`spec` on an image so large that no border clips a field in the middle; None where the field is very large."""
    field = compute_cost(spec).feature_receptive_field
    if not spec.stages or field > 60:
        return None
    side = 2 * field + 20  # pools that drop a row move the middle unit by a jump or two
    # Whose weights they are changes no field, and with other widths other blocks would be alike.
    stages = tuple(
        replace(one, blocks=tuple(replace(block, shared=False) for block in one.blocks)) for one in spec.stages
    )
    return replace(spec, input_shape=(spec.input_shape[0], side, side), stages=stages, head=Head("gap_linear"))


def test_receptive_field_of_features_is_what_the_gradient_reaches() -> None:
    specs = [large for spec in SPECS[:200] if (large := enlarged(spec))][:60]
    assert len(specs) == 60
    for spec in specs:
        images = torch.ones(1, *spec.input_shape, dtype=torch.float64, requires_grad=True)
        features = linear_positive(spec)[:-1](images)
        middle = features[0, 0, features.shape[2] // 2, features.shape[3] // 2]
        field = compute_cost(spec).feature_receptive_field
        assert gradient_extent(images, middle) == (field, field), spec


@pytest.mark.parametrize("kind", HEAD_KINDS)
@pytest.mark.parametrize(("side", "field"), [(18, 18), (19, 18), (28, 28)])
def test_receptive_field_at_the_logits_is_what_the_gradient_reaches(kind: str, side: int, field: int) -> None:
    # Without padding no field reaches beyond the image. A side of 19 leaves the pool a row and a column that it drops.
    stages = (Stage((Block(4), Block(6, 5, "separable")), pool=2), Stage((Block(5),)))
    spec = ArchSpec((2, side, side), 2, stages, Head(kind))
    images = torch.ones(1, *spec.input_shape, dtype=torch.float64, requires_grad=True)
    logit = linear_positive(spec)(images)[0, 0]
    assert compute_cost(spec).receptive_field == field
    assert gradient_extent(images, logit) == (field, field)


# --- by hand --------------------------------------------------------------------------------------------------------

PLAIN = ArchSpec((1, 8, 8), 10, (Stage((Block(4),), pool=2),), Head("gap_linear", bias=True))
RESIDUAL = ArchSpec((4, 6, 6), 3, (Stage((Block(4, kind="residual", padding="same"),)),), Head("flatten_linear"))
WIDENING = ArchSpec((4, 6, 6), 3, (Stage((Block(8, kind="residual", padding="same"),)),), Head("conv_gap"))
GAP = ArchSpec((1, 8, 8), 3, (Stage((Block(4), Block(4), Block(4, shared=True))),), Head("gap"))


INVERTED = Block(4, 3, "inverted", "same", skip=True, expansion=3, squeeze=4)
SQUEEZED = ArchSpec((4, 6, 6), 3, (Stage((INVERTED,)),), Head("gap_linear"))
STRIDED = ArchSpec(
    (4, 7, 7),
    3,
    (
        Stage((Block(6, kind="residual", padding="same", stride=2, bias=True),)),
        Stage((Block(4, kind="shuffle", groups=2),), 2, "avg"),
    ),
    Head("gap_linear"),
)


@pytest.mark.parametrize(
    ("spec", "live"),
    [
        # conv 1x8x8 -> 4x6x6: 64 + 144 = 208
        # pool 4x6x6 -> 4x3x3: 144 + 36 = 180
        # average 36 + 4 = 40, linear 4 + 10 = 14
        pytest.param(PLAIN, [208, 180, 40, 14], id="plain"),
        # All maps are 4x6x6 = 144 values. First convolution: in and out, 288. Second: in, out and the block's input,
        # which waits for the sum, 432. Sum, in place: 288. Linear: 144 + 3 = 147.
        pytest.param(RESIDUAL, [288, 432, 288, 147], id="residual"),
        # 4x6x6 = 144 -> 8x6x6 = 288. First: 144 + 288 = 432. Second: 288 + 288 + 144 waiting = 720. The 1x1 shortcut
        # reads 144 and writes 288 beside the 288 of the main path: 720. Head: 288 + 3x6x6 = 396, then 108 + 3 = 111.
        pytest.param(WIDENING, [432, 720, 720, 396, 111], id="widening residual"),
        # 1x8x8 -> 4x6x6 -> 4x4x4 -> 4x2x2: 208, 208, 80; average 16 + 4, three of its channels 4 + 3.
        pytest.param(GAP, [208, 208, 80, 20, 7], id="gap, shared"),
        # The input of 144 values waits for the sum from the second row on, which adds it to as many. 12x6x6 = 432 wide:
        # 144 + 432; 2 * 432 + 144. Twelve means, three values between and twelve factors beside 432 + 144: 12, 12 + 3,
        # 3 + 12, 12. Projection 432 + 144 + 144, sum 2 * 144. Means 144 + 4, linear 4 + 3.
        pytest.param(SQUEEZED, [576, 1008, 588, 591, 591, 588, 720, 288, 148, 7], id="inverted, squeeze, skip"),
        # 4x7x7 = 196 -> 6x4x4 = 96: 196 + 96; 2 * 96 + 196; the shortcut's 96 beside them. 6x2x2 = 24, 4x2x2 = 16.
        pytest.param(STRIDED, [292, 388, 388, 120, 40, 20, 8, 7], id="strides, groups, average pool"),
    ],
)
def test_peak_activation_bytes_by_hand(spec: ArchSpec, live: list[int]) -> None:
    cost = compute_cost(spec)
    assert [row.live for row in cost.layers] == live
    assert cost.peak_activation_bytes == 4 * max(live)


POOLED = ArchSpec((2, 8, 8), 3, (Stage((Block(4, kind="residual", padding="same"),), pool=2),), Head("gap"))
MIXED = ArchSpec(
    (1, 9, 9),
    3,
    (Stage((Block(4, kind="separable"),), pool=2), Stage((Block(6, kind="separable", padding="same"),))),
    Head("gap_conv", (Block(5, 1),)),
)


@pytest.mark.parametrize(
    ("spec", "live"),
    [
        # conv and pool at once, 64 + 36; the means and the logits read 36.
        pytest.param(PLAIN, [100, 100, 36, 4], id="plain"),
        # As in float32; the logits are not counted.
        pytest.param(WIDENING, [432, 720, 720, 288, 288], id="widening residual"),
        # 2x8x8 = 128 -> 4x8x8 = 256. The sum is pooled in place.
        pytest.param(POOLED, [384, 640, 640, 256, 64, 64], id="pooled residual"),
        # 81 + 49; 49 and the pooled 4x3x3 = 36. With a pixel of padding 36 + 36 + 4, 36 + 54. Six means beside 54,
        # then 6 + 5, 5.
        pytest.param(MIXED, [130, 85, 85, 76, 90, 60, 11, 5], id="separable"),
    ],
)
def test_peak_activation_bytes_in_int8_by_hand(spec: ArchSpec, live: list[int]) -> None:
    cost = compute_cost(spec)
    assert [row.live_int8 for row in cost.layers] == live
    assert cost.peak_activation_bytes_int8 == max(live)


def test_counts_by_hand() -> None:
    rows = {row.name: row for row in compute_cost(WIDENING).layers}
    # 3x3x4x8 weights and 2x8 of batch norm; 3x3x8x8 and 2x8; 1x1x4x8 without; 8x3 without bias
    assert [row.n_params for row in rows.values()] == [288 + 16, 576 + 16, 32, 24, 0]
    # the weights once for each of the 36 pixels
    assert [row.macs for row in rows.values()] == [288 * 36, 576 * 36, 32 * 36, 24 * 36, 0]
    assert list(rows) == ["stage1.block1.conv1", "stage1.block1.conv2", "stage1.block1.sum", "head.conv", "head.gap"]


def test_counts_of_squeeze_and_excitation_by_hand() -> None:
    rows = {row.name.rpartition(".")[2]: row for row in compute_cost(SQUEEZED).layers}
    # 4 channels to 12 and 2x12 of batch norm; 3x3 for each of 12, and 2x12; 12 to 3 and 3 biases; 3 to 12 and 12
    # biases; 12 to 4 and 2x4; 4x3 without bias
    counts = {"expansion": 72, "depthwise": 132, "reduce": 39, "expand": 48, "projection": 56, "linear": 12}
    assert {name: row.n_params for name, row in rows.items() if row.n_params} == counts
    macs = {name: row.macs for name, row in rows.items() if row.macs}
    assert macs == {
        **{"expansion": 48 * 36, "depthwise": 108 * 36, "reduce": 36, "expand": 36},
        **{"projection": 48 * 36, "linear": 12},
    }
    # Squeeze-and-excitation leaves the receptive field as it is.
    assert [row.receptive_field for row in rows.values()] == [1, 3, 8, 8, 8, 3, 3, 3, 8, 8]


def test_counts_of_strides_and_groups_by_hand() -> None:
    rows = compute_cost(STRIDED).layers
    # 3x3x4x6 weights, 6 biases, 2x6; 3x3x6x6 and as many; 4x6; 3x3 for each of 6; two groups of 3 to 2, and 2x4; 4x3
    assert [row.n_params for row in rows] == [234, 342, 24, 54, 20, 0, 0, 12]
    # 4x4 pixels after a stride of 2, of which a valid kernel leaves 2x2
    assert [row.macs for row in rows] == [216 * 16, 324 * 16, 24 * 16, 54 * 4, 12 * 4, 0, 0, 12]
    assert [(row.receptive_field, row.jump) for row in rows] == [
        *((3, 2), (7, 2), (7, 2), (11, 2), (11, 2), (13, 4), (13, 4), (13, 4))
    ]


def test_a_network_larger_than_any_memory_is_costed_without_tensors() -> None:
    stage = Stage((Block(100_000, padding="same"), Block(100_000, padding="same")))
    cost = compute_cost(ArchSpec((3, 4096, 4096), 10, (stage,), Head("gap_linear")))
    assert cost.n_params == 9 * 3 * 10**5 + 9 * 10**10 + 2 * 2 * 10**5 + 10 * 10**5
