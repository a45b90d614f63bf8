"""Documents that were valid before something in them was changed, and values of any kind that JSON has."""

from __future__ import annotations

import os
from copy import deepcopy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# A few in every run of the tests; FUZZ_EXAMPLES=20000 for many, and others every time.
FEW = 60
N_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", FEW))
fuzzed = settings(max_examples=N_EXAMPLES, deadline=None, derandomize=N_EXAMPLES == FEW, database=None)

NUMBERS = (
    st.integers(-3, 30)
    | st.integers()
    | st.floats()
    | st.sampled_from([10**30, -(10**30), 10**400, float("nan"), float("inf"), -0.0, 1e-320, 2**31, 2**63])
    # Beyond what Python writes in decimals, hypothesis included.
    | st.just(5000).map(lambda n: 16**n)
)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)


def json_like(words: list[str]) -> st.SearchStrategy[Any]:
    """Any value, with these words where they may matter."""
    names = st.sampled_from(words)
    return st.recursive(
        LEAVES | names,
        lambda items: st.lists(items, max_size=4) | st.dictionaries(names | st.text(max_size=4), items, max_size=5),
        max_leaves=10,
    )


@st.composite
def damaged(draw: st.DrawFn, valid: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """A document in which one to three values, at any depth, were replaced, taken away or added."""
    data = deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = data
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
                _change(draw, place, key, words)
                break
            place = place[key]
    return data


def _change(draw: st.DrawFn, place: Any, key: Any, words: list[str]) -> None:
    match draw(st.integers(0, 5)):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[draw(st.sampled_from(words) | st.text(max_size=4))] = draw(json_like(words))
        case _:
            place[key] = draw(json_like(words))


@st.composite
def damaged_bytes(draw: st.DrawFn, valid: bytes) -> bytes:
    """A file in which some bytes were replaced, taken away, added or repeated, or whose end is missing."""
    content = valid
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        new = draw(st.binary(max_size=6) | st.text(max_size=4).map(str.encode) | st.just(content[start:end] * 2))
        content = content[:start] + new + (b"" if draw(st.integers(0, 8)) == 0 else content[end:])
    return content
