"""Random networks that reach every block, head, setting and end of range that a spec allows."""

from __future__ import annotations

import random
from dataclasses import replace

from models.cost import trace_features
from models.spec import (
    ACTIVATIONS,
    BLOCK_KINDS,
    HEAD_KINDS,
    KERNEL_SIZES,
    ORDERS,
    PADDED_KINDS,
    PADDINGS,
    ArchSpec,
    Block,
    Head,
    SpecError,
    Stage,
)

INPUT_SHAPES = ((1, 28, 28), (3, 32, 32), (1, 8, 8), (2, 17, 23), (3, 31, 12), (1, 5, 9))
CLASS_COUNTS = (1, 2, 10, 37)
POOLS = (0, 2, 3)


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
    return ArchSpec(input_shape, rng.choice(CLASS_COUNTS), _sharing(rng, stages, input_shape[0]), _head(rng))


def _sharing(rng: random.Random, stages: tuple[Stage, ...], channels: int) -> tuple[Stage, ...]:
    """In half of the networks all blocks are as wide as the input or the first block, and most that may be share."""
    if not any(stage.blocks for stage in stages) or rng.random() < 0.5:
        return stages
    width = rng.choice((channels, next(stage.blocks[0] for stage in stages if stage.blocks).out_channels))
    found, owned = [], set()
    for stage in stages:
        blocks = []
        for block in stage.blocks:
            alike = replace(block, out_channels=width)
            weights = alike.weight_shapes(channels)
            blocks.append(replace(alike, shared=weights in owned and rng.random() < 0.8))
            owned.add(weights)
            channels = width
        found.append(replace(stage, blocks=tuple(blocks)))
    return tuple(found)


def _stage(rng: random.Random) -> Stage:
    return Stage(tuple(_block(rng, rng.choice(KERNEL_SIZES)) for _ in range(rng.randint(0, 3))), rng.choice(POOLS))


def _block(rng: random.Random, kernel_size: int) -> Block:
    kind = rng.choice(BLOCK_KINDS)
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
