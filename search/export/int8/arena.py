"""Plan the memory of the maps of an integer network: one arena, in which maps that never exist at once overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from search.export.int8.fusion import Operation, operations_of, padding_bytes
from search.export.int8.network import Int8Network, map_bytes


class Block(NamedTuple):
    """Part of the arena that holds one map, or the padding pixel of one convolution.

    n_bytes  its size
    span     operations during which it exists
    within   number of the map whose memory the block takes over, or None
    """

    n_bytes: int
    span: range
    within: int | None = None


class Arena(NamedTuple):
    """Memory of all maps: its size in bytes, and the offset of each map and of each padding pixel in it.

    maps      offset by the number of the map
    paddings  offset by the number of the operation that reads the padding
    """

    n_bytes: int
    maps: dict[int, int]
    paddings: dict[int, int]


def plan_arena(network: Int8Network) -> Arena:
    """Return the smallest arena, which has the size of the blocks that exist at the same time.

    Each block takes the first free offset of these: the low end, the high end, directly after an existing block,
    directly before one. In a plain chain the maps thus alternate between the two ends. In a residual block the input
    keeps its end, the two convolutions take the other end and the middle, and the sum, which overwrites the shortcut,
    is at an end again. A map that is pooled in place stays at that end. The free memory is therefore never fragmented.
    A padding pixel exists during one operation and takes what the maps leave.
    """
    operations = list(operations_of(network))
    maps, paddings = map_blocks(network, operations), padding_blocks(network, operations)
    every_block = [*maps.values(), *paddings.values()]
    n_bytes = max(
        sum(block.n_bytes for block in every_block if number in block.span) for number in range(len(operations))
    )
    offsets: dict[int, int] = {}
    for number, block in maps.items():
        occupied = [_occupied(maps[other], offsets[other]) for other in offsets if _meet(maps[other].span, block.span)]
        if block.within is None:
            offsets[number] = _first_free(block, occupied, n_bytes)
        else:
            offsets[number] = _end_of(maps[block.within], offsets[block.within], block.n_bytes, n_bytes)
    padding_offsets = {}
    for number, block in paddings.items():
        occupied = [_occupied(maps[other], offsets[other]) for other in offsets if number in maps[other].span]
        padding_offsets[number] = _first_free(block, occupied, n_bytes)
    return Arena(n_bytes, offsets, padding_offsets)


def map_blocks(network: Int8Network, operations: Sequence[Operation]) -> dict[int, Block]:
    """Return the block of each map that is stored, by its number, in the order in which the maps are first written.

    A map exists from the operation that writes it to the last that reads it. A map that was pooled in place exists
    from the operation after that, in the memory of its source.
    """
    blocks: dict[int, Block] = {}
    for i, operation in enumerate(operations):
        for number in operation.sources:
            blocks[number] = blocks[number]._replace(span=range(blocks[number].span.start, i + 1))
        target = operation.target
        if target is not None and target not in blocks:
            within = operation.sources[0] if operation.is_in_place else None
            start = i + operation.is_in_place
            blocks[target] = Block(map_bytes(network.maps[target]), range(start, i + 1), within)
    return blocks


def padding_blocks(network: Int8Network, operations: Sequence[Operation]) -> dict[int, Block]:
    """Return the block of each padding pixel, by the number of the operation that reads it."""
    sizes = {i: padding_bytes(operation, network) for i, operation in enumerate(operations)}
    return {i: Block(size, range(i, i + 1)) for i, size in sizes.items() if size}


def _meet(first: range, second: range) -> bool:
    return first.start < second.stop and second.start < first.stop


def _occupied(block: Block, offset: int) -> range:
    return range(offset, offset + block.n_bytes)


def _end_of(source: Block, offset: int, size: int, n_bytes: int) -> int:
    """Return the offset of `size` bytes within the source: at its high end if that is the end of the arena."""
    return n_bytes - size if offset + source.n_bytes == n_bytes else offset


def _first_free(block: Block, occupied: Sequence[range], n_bytes: int) -> int:
    """Return the first of the candidate offsets at which the block meets no occupied bytes."""
    size = block.n_bytes
    candidates = [0, n_bytes - size, *(used.stop for used in occupied), *(used.start - size for used in occupied)]
    return next(
        offset
        for offset in candidates
        if 0 <= offset <= n_bytes - size and not any(_meet(range(offset, offset + size), used) for used in occupied)
    )
