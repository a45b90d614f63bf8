"""Find the dimensions of a point that act, that is whose values change its network or its recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.record import RecordError
from search.search_space.dimensions import Choice, Dimension, IntRange
from search.search_space.encoding import Candidate, Params, assemble

# All values of a range of whole numbers up to this size are tried, of a larger one the ends and the neighbours.
MAX_TRIED = 8


class _ReadParams(dict[str, Any]):
    """Point that records which of its values are read."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self.read_names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read_names.add(name)
        return super().__getitem__(name)


def active_dimensions(
    dimensions: tuple[Dimension, ...], params: Params, input_shape: tuple[int, int, int], n_classes: int
) -> set[str]:
    """Return the names of the dimensions of which another value alone would give another candidate.

    dimensions: those of the space, of which `params` has a value for each.
    """
    read_params = _ReadParams(params)
    candidate = assemble(read_params, input_shape, n_classes)
    return {
        dimension.name
        for dimension in dimensions
        # The candidate does not depend on a value that is not read.
        if dimension.name in read_params.read_names
        and any(
            _assembled(params | {dimension.name: value}, input_shape, n_classes) != candidate
            for value in _other_values(dimension, params[dimension.name])
        )
    }


def _assembled(params: Params, input_shape: tuple[int, int, int], n_classes: int) -> Candidate | None:
    try:
        return assemble(params, input_shape, n_classes)
    except RecordError:  # no such network can be built
        return None


def _other_values(dimension: Dimension, value: Any) -> Iterator[Any]:
    """Yield values of a dimension that differ from `value`."""
    if isinstance(dimension, Choice):
        values = list(dimension.choices)
    elif isinstance(dimension, IntRange) and dimension.high - dimension.low < MAX_TRIED:
        values = list(range(dimension.low, dimension.high + 1))
    elif isinstance(dimension, IntRange):
        values = [value + 1, value - 1, dimension.low, dimension.high]
    else:
        values = [dimension.low, dimension.high]
    yield from (other for other in values if other != value)
