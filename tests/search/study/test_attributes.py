"""The names of user attributes stand in one module."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from search.study import attributes
from search.study.trials import TrialRecord

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [ROOT / "objective.py", *(ROOT / "search").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
HOME = [ROOT / "search" / "study" / f"{name}.py" for name in ("attributes", "trials")]
NAMES = {value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}


def literal_names(source: str) -> list[int]:
    """Return the lines on which a user attribute is read or written by a name in quotes."""
    found: list[int] = []
    for node in ast.walk(ast.parse(source)):
        keys: list[ast.expr | None] = []
        match node:
            case ast.Subscript(value=ast.Attribute(attr="user_attrs"), slice=key):
                keys = [key]
            case ast.Call(func=ast.Attribute(attr="get", value=ast.Attribute(attr="user_attrs")), args=[key, *_]):
                keys = [key]
            case ast.Call(func=ast.Attribute(attr="set_user_attr"), args=[key, *_]):
                keys = [key]
            case ast.Compare(left=key, comparators=[ast.Attribute(attr="user_attrs")]):
                keys = [key]
            case ast.keyword(arg="user_attrs", value=ast.Dict(keys=given)):
                keys = given
        found += [key.lineno for key in keys if isinstance(key, ast.Constant | ast.JoinedStr)]
    return found


def test_no_attribute_is_named_in_quotes_elsewhere() -> None:
    assert len(SOURCES) > 100
    assert {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if path not in HOME and (lines := literal_names(path.read_text(encoding="utf-8")))
    } == {}


@pytest.mark.parametrize(
    "source",
    [
        "trial.user_attrs['seed']",
        "trial.user_attrs.get('seed', 0)",
        "trial.set_user_attr('seed', 1)",
        "'seed' not in trial.user_attrs",
        "study.enqueue_trial({}, user_attrs={'seed': 1})",
    ],
)
def test_a_name_in_quotes_is_noticed(source: str) -> None:
    assert literal_names(source) == [1]


def test_what_is_read_of_a_trial_is_what_is_written() -> None:
    optunas = {"number", "value", "params", "is_queued"}
    assert {field.name for field in fields(TrialRecord)} - optunas <= NAMES
