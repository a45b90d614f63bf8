"""Where each map of an integer network lies in the one array that all of them share."""

from __future__ import annotations

from typing import NamedTuple

from search.export.int8.network import Affine, Classify, Int8Network, ReadImage, Step, Table, map_bytes


class Arena(NamedTuple):
    """Bytes in all, and of each map the place of its first byte."""

    n_bytes: int
    offsets: tuple[int, ...]


def lifetimes(network: Int8Network) -> list[range]:
    """The steps during which each map must exist: from the one that makes it to the last that reads it."""
    spans: dict[int, range] = {}
    for i, step in enumerate([*network.steps, network.last]):
        for number in _maps_of(step):
            spans[number] = range(spans[number].start if number in spans else i, i + 1)
    return [spans[number] for number in range(len(network.maps))]


def plan_arena(network: Int8Network) -> Arena:
    """The smallest arena: as many bytes as the maps that exist at once.

    Each map goes to the low end, the high end or next to a map that is there, whichever is free first. In a plain chain
    the maps then take the two ends in turn. In a residual block the input keeps its end, the two convolutions take the
    other end and the middle, and the sum, in the place of the shortcut, lies at an end again; so nothing is ever cut
    into pieces.
    """
    sizes = [map_bytes(shape) for shape in network.maps]
    spans = lifetimes(network)
    n_steps = len(network.steps) + 1
    n_bytes = max(sum(size for size, span in zip(sizes, spans, strict=True) if i in span) for i in range(n_steps))
    offsets: list[int] = []
    for size, span in zip(sizes, spans, strict=True):
        taken = [
            range(offset, offset + other)
            for offset, other, its in zip(offsets, sizes, spans, strict=False)
            if its.stop > span.start
        ]
        places = [0, n_bytes - size, *(place.stop for place in taken), *(place.start - size for place in taken)]
        free = [place for place in places if 0 <= place <= n_bytes - size and _is_free(place, size, taken)]
        offsets.append(free[0])
    return Arena(n_bytes, tuple(offsets))


def _maps_of(step: Step | Classify) -> tuple[int, ...]:
    match step:
        case ReadImage() | Table() | Affine():
            return (step.target,)
        case Classify():
            return (step.source,)
        case _:
            return (step.source, step.target)


def _is_free(place: int, size: int, taken: list[range]) -> bool:
    return all(place + size <= other.start or place >= other.stop for other in taken)
