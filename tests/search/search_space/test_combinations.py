"""Lists of the points of a space, in which dimensions that are not read have no part."""

from collections.abc import Mapping
from typing import Any

from search.search_space.combinations import combinations
from search.search_space.dimensions import Choice, FloatRange, IntRange

DIMENSIONS = (
    Choice("kind", ("a", "b"), "a"),
    IntRange("width", 3, 5, 3),
    FloatRange("rate", 0.1, 0.5, 0.1),
    FloatRange("fixed", 0.2, 0.2, 0.2),
)


def read(point: Mapping[str, Any]) -> None:
    """Read the width of kind a twice, and the rates of kind b."""
    if point["kind"] == "a":
        assert point["width"] == point["width"]
    else:
        assert (point["rate"], point["fixed"]) == (0.1, 0.2)


def test_every_combination_of_the_values_that_are_read_is_listed_once() -> None:
    listed = list(combinations(DIMENSIONS, read))
    assert [combination.chosen for combination in listed] == [
        *({"kind": "a", "width": width} for width in (3, 4, 5)),
        {"kind": "b", "rate": 0.1, "fixed": 0.2},
    ]
    assert [combination.has_open_range for combination in listed] == [False, False, False, True]


def test_a_point_of_which_nothing_is_read_is_one_combination() -> None:
    assert [combination.chosen for combination in combinations(DIMENSIONS, lambda _point: None)] == [{}]
