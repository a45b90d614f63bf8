"""Networks with random weights and a past: batch norm has seen something. And images with more in them than noise."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from itertools import cycle, product

import torch
from torch import Tensor, nn

from models.build import build_model
from models.cost import compute_cost
from models.layers import UnscaledBatchNorm2d
from models.spec import (
    ACTIVATIONS,
    BLOCK_KINDS,
    DEPTHWISE_KINDS,
    HEAD_KINDS,
    ORDERS,
    PADDED_KINDS,
    ArchSpec,
    Block,
    Head,
    Stage,
)
from search.export.int8.network import Int8Network
from search.export.int8.quantise import quantise
from tests.models.random_specs import PLAIN_KINDS, random_spec

MEAN, STD = (0.13, 0.4, 0.5), (0.31, 0.2, 0.25)


def systematic_specs() -> dict[str, ArchSpec]:
    """Every plain kind of block with every activation in either order; heads, paddings, shapes and options in turn."""
    shapes, n_classes, options = cycle([(1, 14, 14), (2, 15, 13), (3, 12, 16)]), cycle([10, 3]), cycle(range(8))
    heads = cycle([*(Head(kind) for kind in HEAD_KINDS), Head("gap_linear", bias=True), Head("conv_gap", bias=True)])
    specs = {}
    for kind, order, activation in product(PLAIN_KINDS, ORDERS, (*ACTIVATIONS, None)):
        option = next(options)
        settings = {
            "activation": activation,
            "order": order,
            "bias": bool(option & 1),
            "batch_norm": option != 5 or order == "conv-act-bn",
        }
        padding = "same" if kind in PADDED_KINDS or option & 2 else "valid"
        first = Block(6, 3, "conv", "valid" if option & 4 else "same", **settings)
        ours = Block(6 if option & 1 else 8, 3, kind, padding, dropout=0.1, **settings)
        head = next(heads)
        if head.kind in ("gap_conv", "conv") and option & 1:
            head = replace(head, hidden=(Block(7, 1, **settings),))
        stages = (Stage((first, ours), pool=2), Stage((ours,)))
        name = f"{kind} {order} {activation}"
        specs[name] = ArchSpec(next(shapes), next(n_classes), stages, head)
    return specs


def shared_specs() -> dict[str, ArchSpec]:
    """Blocks of every plain kind that share their weights, batch norm that only adds, and no classifying layer."""
    specs = {}
    for kind, order, activation in product(PLAIN_KINDS, ORDERS, ("relu", "silu")):
        ours = Block(10, 3, kind, "same", activation=activation, order=order, norm_scale=False)
        stages = (Stage((replace(ours, kind="conv"), ours), pool=2), Stage((replace(ours, shared=True),)))
        specs[f"shared {kind} {order} {activation}"] = ArchSpec((1, 14, 14), 10, stages, Head("gap"))
    return specs


def reducing_specs() -> dict[str, ArchSpec]:
    """Every plain kind of block with strides, on maps with odd and even sides, and average pools."""
    specs = {}
    shapes = {"conv": (2, 17, 14), "separable": (2, 16, 19), "residual": (3, 18, 18)}
    for kind, order in product(PLAIN_KINDS, ORDERS):
        padding = "same" if kind in PADDED_KINDS or order == "conv-act-bn" else "valid"
        ours = Block(6, 3, kind, padding, stride=2, order=order, activation="silu" if kind == "conv" else "relu")
        stages = (Stage((ours, replace(ours, kernel_size=1)), 2, "avg"), Stage((replace(ours, padding="same"),)))
        specs[f"strides {kind} {order}"] = ArchSpec(shapes[kind], 4, stages, Head("gap_linear"))
        pools = Stage((Block(5, order=order),), 3, "avg"), Stage((replace(ours, stride=1, padding="same"),), 2, "avg")
        specs[f"averages {kind} {order}"] = ArchSpec(shapes[kind], 4, pools, Head("flatten_linear"))
    return specs


def depthwise_specs() -> dict[str, ArchSpec]:
    """Every kind of block with depthwise convolutions in either order: sums, strides, pools and shared weights."""
    specs = {}
    shapes, activations = cycle([(1, 15, 13), (2, 14, 14)]), cycle(["relu", "hardswish", "silu"])
    for kind, order in product(DEPTHWISE_KINDS, ORDERS):
        options = {"inverted": {"expansion": 3}, "shuffle": {"groups": 4}}.get(kind, {})
        ours = Block(8, 3, kind, "same", order=order, activation=next(activations), skip=True, **options)
        single = replace(ours, expansion=1, groups=2) if options.get("groups") else replace(ours, expansion=1)
        wider = replace(ours, out_channels=12, kernel_size=5, skip=False)
        blocks = (Block(8), ours, replace(ours, shared=True), replace(single, bias=True))
        stages = (Stage(blocks, 2), Stage((replace(wider, stride=2), replace(wider, padding="valid", kernel_size=3))))
        specs[f"sums {kind} {order}"] = ArchSpec(next(shapes), 5, stages, Head("gap_linear"))
    return specs


def squeeze_specs() -> dict[str, ArchSpec]:
    """Every kind of block in either order with squeeze-and-excitation, also with shared weights and before a pool."""
    specs = {}
    shapes, activations = cycle([(1, 14, 14), (3, 13, 16)]), cycle(["relu", "silu", None])
    for kind, order in product(BLOCK_KINDS, ORDERS):
        options = {"inverted": {"expansion": 2}, "shuffle": {"groups": 2}}.get(kind, {})
        skip, padding = kind in DEPTHWISE_KINDS, "same" if kind in PADDED_KINDS + DEPTHWISE_KINDS else "valid"
        ours = Block(8, 3, kind, padding, order=order, activation=next(activations), squeeze=4, skip=skip, **options)
        blocks = (Block(8, order=order, squeeze=1), ours, replace(ours, shared=True))
        stages = (Stage(blocks, 2), Stage((replace(ours, skip=False, padding="same", stride=2, squeeze=100),)))
        specs[f"squeeze {kind} {order}"] = ArchSpec(
            next(shapes), 4, stages, Head("gap_conv", (Block(6, 1, squeeze=2),))
        )
    return specs


def small_random_specs(n: int) -> dict[str, ArchSpec]:
    """The first `n` of the random networks that are quickly run."""
    drawn = ((seed, random_spec(random.Random(seed))) for seed in range(1000))
    quick = ((f"random {seed}", spec) for seed, spec in drawn if compute_cost(spec).macs < 300_000)
    return dict(next(quick) for _ in range(n))


def thrifty_spec(input_shape: tuple[int, int, int] = (1, 28, 28), n_classes: int = 10) -> ArchSpec:
    """With every means of saving parameters: shared weights, batch norm without a scale, a head of one number."""
    ours = Block(12, kind="separable", padding="same", activation="silu", norm_scale=False)
    first = replace(ours, out_channels=5, kind="conv", padding="valid")
    again = replace(ours, shared=True)
    stages = (Stage((first, replace(ours, padding="valid"), ours, again), pool=2), Stage((again,)))
    return ArchSpec(input_shape, n_classes, stages, Head("gap"))


SPECS = (
    systematic_specs()
    | shared_specs()
    | reducing_specs()
    | depthwise_specs()
    | squeeze_specs()
    | small_random_specs(12)
    | {"thrifty": thrifty_spec((2, 16, 14))}
)


def made_up_model(spec: ArchSpec, seed: int = 0) -> nn.Sequential:
    """In evaluation mode. Batch norm's factors are of both signs and now and then zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(spec).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            if not isinstance(module, UnscaledBatchNorm2d):
                module.weight.data = torch.rand(n, generator=generator) * 2 - 0.5
                module.weight.data[torch.rand(n, generator=generator) < 0.1] = 0
            module.bias.data = torch.randn(n, generator=generator) * 0.3
            module.running_mean = torch.randn(n, generator=generator) * 0.2
            module.running_var = torch.rand(n, generator=generator) * 0.3 + 0.05
    return model


def made_up_images(shape: tuple[int, int, int], n_images: int, seed: int = 0) -> Tensor:
    """uint8 (N, C, H, W): soft spots of every brightness, black around them."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    coarse = torch.rand(n_images, channels, 3, 3, generator=generator)
    contrast = torch.rand(n_images, 1, 1, 1, generator=generator) * 2
    soft = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    fine = torch.rand(n_images, channels, height, width, generator=generator) * 0.3
    return (((soft + fine - 0.5) * contrast * 255).clip(0, 255)).to(torch.uint8)


def normalised(images: Tensor) -> Tensor:
    """(N, C, H, W) in floating point, as a network reads them."""
    n = images.shape[1]
    mean, std = torch.tensor(MEAN[:n]).view(-1, 1, 1), torch.tensor(STD[:n]).view(-1, 1, 1)
    return (images.float() / 255 - mean) / std


def float_logits(model: nn.Module, images: Tensor) -> Tensor:
    """(N, classes) in floating point."""
    with torch.inference_mode():
        return model(normalised(images))


@cache
def quantised(spec: ArchSpec, seed: int = 0, n_images: int = 200) -> Int8Network:
    """The int8 form of made_up_model(spec, seed)."""
    images = made_up_images(spec.input_shape, n_images, seed=1)
    n = spec.input_shape[0]
    return quantise(spec, made_up_model(spec, seed).state_dict(), images, MEAN[:n], STD[:n])
