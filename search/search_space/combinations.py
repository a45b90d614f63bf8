"""List the points of a space that differ in a dimension that acts, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from search.search_space.dimensions import Choice, Dimension, FloatRange


class Combination(Mapping[str, Any]):
    """Point of a space whose values are chosen when they are read, so that dimensions that do not act have none.

    chosen          values that were read, by name
    positions       (index, number of values) of every dimension that was read, in the order of reading
    has_open_range  whether a range of real numbers was read, of which the lowest one stands for all
    """

    def __init__(self, dimensions: Mapping[str, Dimension], indices: Sequence[int]) -> None:
        self._dimensions, self._indices = dimensions, indices
        self.chosen: dict[str, Any] = {}
        self.positions: list[tuple[int, int]] = []
        self.has_open_range = False

    def __getitem__(self, name: str) -> Any:
        """Return the value of a dimension: the one at its index, or the first one for a dimension without an index."""
        if name not in self.chosen:
            values = _values(self._dimensions[name])
            index = self._indices[len(self.positions)] if len(self.positions) < len(self._indices) else 0
            self.positions.append((index, len(values)))
            self.has_open_range |= self._dimensions[name].n_values is None
            self.chosen[name] = values[index]
        return self.chosen[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)


def combinations(dimensions: Sequence[Dimension], read: Callable[[Mapping[str, Any]], object]) -> Iterator[Combination]:
    """Yield every combination of the values that `read` reads from a point; it must read the same from equal values."""
    by_name = {dimension.name: dimension for dimension in dimensions}
    indices: list[int] = []
    while True:
        combination = Combination(by_name, indices)
        read(combination)
        yield combination
        positions = combination.positions
        while positions and positions[-1][0] == positions[-1][1] - 1:
            positions.pop()
        if not positions:
            return
        indices = [index for index, _ in positions]
        indices[-1] += 1


def _values(dimension: Dimension) -> Sequence[Any]:
    if isinstance(dimension, Choice):
        return dimension.choices
    return (dimension.low,) if isinstance(dimension, FloatRange) else range(dimension.low, dimension.high + 1)
