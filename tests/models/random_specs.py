"""Random networks that reach every block, head, setting and end of range that a spec allows."""

from __future__ import annotations

import random
from dataclasses import replace

from models.cost import trace_features
from models.spec import (
    ACTIVATIONS,
    DEPTHWISE_KINDS,
    HEAD_KINDS,
    KERNEL_SIZES,
    LARGEST_EXPANSION,
    ORDERS,
    PADDED_KINDS,
    PADDINGS,
    POOL_KINDS,
    ArchSpec,
    Block,
    Head,
    SpecError,
    Stage,
)

INPUT_SHAPES = ((1, 28, 28), (3, 32, 32), (1, 8, 8), (2, 17, 23), (3, 31, 12), (1, 5, 9))
CLASS_COUNTS = (1, 2, 10, 37)
POOLS = (0, 2, 3)
PLAIN_KINDS = ("conv", "separable", "residual")


def random_spec(rng: random.Random) -> ArchSpec:
    """A valid network drawn with `rng`: up to three stages of up to three blocks, 1 to 24 channels wide."""
    while True:
        try:
            return _with_head_side(rng, _draw(rng))
        except SpecError:  # the maps shrank to nothing, or a stage came out empty
            continue


def _draw(rng: random.Random) -> ArchSpec:
    stages = tuple(_stage(rng) for _ in range(rng.randint(0, 3)))
    input_shape = rng.choice(INPUT_SHAPES)
    n_classes = rng.choice(CLASS_COUNTS)
    return ArchSpec(input_shape, n_classes, _sharing(rng, stages, input_shape[0]), _head(rng))


def _sharing(rng: random.Random, stages: tuple[Stage, ...], channels: int) -> tuple[Stage, ...]:
    """In half of the networks all blocks are as wide as the input or the first block, and most that may be share."""
    found: list[Stage] = []
    if not any(stage.blocks for stage in stages) or rng.random() < 0.5:
        for stage in stages:
            found.append(_with_options(rng, stage, channels, 0))
            channels = found[-1].blocks[-1].out_channels if found[-1].blocks else channels
        return tuple(found)
    width = rng.choice((channels, next(stage.blocks[0] for stage in stages if stage.blocks).out_channels))
    owned = set()
    for stage in stages:
        alike = replace(stage, blocks=tuple(replace(block, out_channels=width) for block in stage.blocks))
        blocks = []
        chosen = _with_options(rng, alike, channels, width)
        for block in chosen.blocks:
            weights = block.weight_shapes(channels)
            blocks.append(replace(block, shared=weights in owned and rng.random() < 0.8))
            owned.add(weights)
            channels = width
        found.append(replace(chosen, blocks=tuple(blocks)))
    return tuple(found)


def _with_options(rng: random.Random, stage: Stage, channels: int, width: int) -> Stage:
    """A separable block becomes one of DEPTHWISE_KINDS, each block may get a stride and squeeze-and-excitation.

    All widths of the stage are `width`, unless that is 0.
    """
    blocks = []
    for plain in stage.blocks:
        draw, block = rng, plain
        if width:  # blocks that may share weights have few combinations of settings
            draw = random.Random(width * 4 + rng.randint(0, 3))
            kind, kernel_size = draw.choice(("conv", "residual", *DEPTHWISE_KINDS)), draw.choice((1, 3))
            kind = "separable" if kind in DEPTHWISE_KINDS else kind
            padding = "same" if kind in PADDED_KINDS else block.padding
            block = replace(block, kind=kind, kernel_size=kernel_size, padding=padding, bias=draw.random() < 0.5)
        if block.kind == "separable":
            block = _depthwise(draw, block, channels, width)
        block = replace(block, squeeze=draw.choice((0, 0, 0, 1, 4, 100)))
        if not block.skip:
            block = replace(block, stride=rng.choice((1, 1, 2)))
        blocks.append(block)
        channels = block.out_channels
    return replace(stage, blocks=tuple(blocks), pool_kind=rng.choice(POOL_KINDS) if stage.pool else "max")


def _depthwise(rng: random.Random, block: Block, channels: int, width: int) -> Block:
    kind, keeps_width = rng.choice(DEPTHWISE_KINDS), rng.random() < 0.5
    out = channels if keeps_width and not width else block.out_channels
    block = replace(block, out_channels=out)
    if kind == "inverted":
        block = replace(block, kind=kind, expansion=rng.choice((1, 2, 3, LARGEST_EXPANSION)))
    divisors = [groups for groups in range(2, 25) if channels % groups == 0]
    if kind == "shuffle" and divisors:
        groups = rng.choice(divisors)
        if out % groups and not width:
            block = replace(block, out_channels=groups * rng.randint(1, 24 // groups))
        if block.out_channels % groups == 0:
            block = replace(block, kind=kind, groups=groups)
    if block.out_channels == channels and not block.shrink and rng.random() < 0.7:
        block = replace(block, skip=True)
    return block


def _stage(rng: random.Random) -> Stage:
    return Stage(tuple(_block(rng, rng.choice(KERNEL_SIZES)) for _ in range(rng.randint(0, 3))), rng.choice(POOLS))


def _block(rng: random.Random, kernel_size: int) -> Block:
    kind = rng.choice(PLAIN_KINDS)
    return Block(
        out_channels=rng.randint(1, 24),
        kernel_size=kernel_size,
        kind=kind,
        padding="same" if kind in PADDED_KINDS else rng.choice(PADDINGS),
        bias=rng.random() < 0.5,
        batch_norm=rng.random() < 0.5,
        activation=rng.choice((*ACTIVATIONS, None)),
        order=rng.choice(ORDERS),
        dropout=rng.choice((0.0, 0.1)),
        norm_scale=rng.random() < 0.7,
    )


def _head(rng: random.Random) -> Head:
    kind = rng.choice(HEAD_KINDS)
    n_hidden = rng.randint(0, 2) if kind in ("gap_conv", "conv") else 0
    hidden = tuple(_block(rng, 1) for _ in range(n_hidden))
    return Head(kind, hidden, bias=kind != "gap" and rng.random() < 0.5, dropout=rng.choice((0.0, 0.1)))


def _with_head_side(rng: random.Random, spec: ArchSpec) -> ArchSpec:
    """Half of the conv heads on square maps name the side of their kernel."""
    last_map = trace_features(spec)[-1]
    if spec.head.kind != "conv" or last_map.height != last_map.width or rng.random() < 0.5:
        return spec
    return replace(spec, head=replace(spec.head, kernel_size=last_map.height))
