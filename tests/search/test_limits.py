"""The table of limits: every row read off a network, said in words, and known to the settings and the command line."""

from dataclasses import fields, replace
from typing import Any

import pytest

from models.baselines import BASELINES
from models.cost import Cost, compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.cli.main import make_parser
from search.config import DataConfig, SearchConfig
from search.limits import BYTES, LIMITS, Limit, describe_limits, listed_limits, refusal, standings

ROOMY = SearchConfig(DataConfig("mnist", "data"), max_params=10**9)
# Its field is 28 at the logits.
COST = compute_cost(BASELINES["s004_net3"].spec)

# Limit, kind of number, what the network has of it, and how it is refused by one less room.
ROWS = [
    ("max_params", "float32", 7496, "7,496 parameters, 1 over the budget of 7,495"),
    ("max_macs", "float32", 1_031_808, "1,031,808 multiply-adds, 1 over the limit of 1,031,807"),
    ("max_memory", "float32", 58_496, "58,496 bytes of activations in float32, 1 over the limit of 58,495"),
    ("max_memory", "int8", 7_712, "7,712 bytes of activations in int8, 1 over the limit of 7,711"),
    ("max_weights_bytes", "float32", 29_984, "29,984 bytes of weights in float32, 1 over the limit of 29,983"),
    ("max_weights_bytes", "int8", 7496, "7,496 bytes of weights in int8, 1 over the limit of 7,495"),
    ("min_rf", "float32", 18, "18 pixels of receptive field before the head, 1 below the floor of 19"),
]


def config(name: str, bound: int, bytes_in: str = "float32") -> SearchConfig:
    return replace(ROOMY, **{name: bound, "bytes_in": bytes_in})


def test_every_limit_has_rows() -> None:
    assert {name for name, *_ in ROWS} == {limit.name for limit in LIMITS}


def row(name: str) -> Limit:
    return next(limit for limit in LIMITS if limit.name == name)


@pytest.mark.parametrize(("name", "bytes_in", "value", "reason"), ROWS)
def test_a_network_at_its_limit_fits_and_beyond_it_is_refused(
    name: str, bytes_in: str, value: int, reason: str
) -> None:
    closer = 1 if row(name).is_floor else -1
    constraints, found = refusal(COST, config(name, value, bytes_in))
    assert found == ""
    assert max(constraints.values()) == 0.0
    constraints, found = refusal(COST, config(name, value + closer, bytes_in))
    assert found == reason
    assert [what for what, excess in constraints.items() if excess > 0] == [row(name).noun]


def test_every_limit_is_in_the_reason_and_a_constraint_of_its_own() -> None:
    tight = replace(ROOMY, **{limit.name: 1000 if limit.is_floor else 1 for limit in LIMITS})
    constraints, reason = refusal(COST, tight)
    assert list(constraints) == [limit.noun for limit in LIMITS]
    assert min(constraints.values()) > 0
    assert len(reason.split("; ")) == len(LIMITS)


@pytest.mark.parametrize(
    ("limits", "distance"),
    [
        ({"max_params": 8000}, "504 below the budget of 8,000"),
        ({"max_macs": 1_100_000}, "68,192 below the limit of 1,100,000"),
        ({"min_rf": 16}, "2 above the floor of 16"),
        ({"min_rf": 18}, "0 above the floor of 18"),
    ],
)
def test_slack_in_words(limits: dict[str, Any], distance: str) -> None:
    assert standings(COST, replace(ROOMY, **limits))[-1].distance == distance


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "8,000 parameters"),
        ({"max_macs": 1_000_000}, "8,000 parameters, 1,000,000 multiply-adds"),
        ({"max_memory": 65_536}, "8,000 parameters, 65,536 bytes of activations in float32"),
        (
            {"max_memory": 20, "max_weights_bytes": 30, "bytes_in": "int8", "min_rf": 16},
            "8,000 parameters, 20 bytes of activations in int8, 30 bytes of weights in int8, "
            "at least 16 pixels of receptive field before the head",
        ),
    ],
)
def test_limits_in_words(limits: dict[str, Any], words: str) -> None:
    found = replace(ROOMY, max_params=8000, **limits)
    assert listed_limits(found) == words
    assert describe_limits(found) == f"the budget of {words}"


def test_every_limit_is_a_setting_and_an_option() -> None:
    assert {limit.name for limit in LIMITS} <= {field.name for field in fields(SearchConfig)}
    for limit in LIMITS[1:]:
        text, value = ("64KiB", 65_536) if limit.unit is BYTES else ("1.5M", 1_500_000)
        for command in (["run", "--budget", "8k"], ["frontier"], ["space"]):
            assert getattr(make_parser().parse_args([*command, limit.flag, text]), limit.name) == value
            assert getattr(make_parser().parse_args(command), limit.name) is None


def test_shared_weights_count_once() -> None:
    blocks = (Block(4), Block(4), Block(4, shared=True))
    cost = compute_cost(ArchSpec((1, 8, 8), 4, (Stage(blocks),), Head("gap")))
    n_params = 36 + 144 + 3 * 8 + 1
    found = {limit.name: limit.read(cost, "int8") for limit in LIMITS}
    assert (found["max_params"], found["max_weights_bytes"]) == (n_params, n_params)


def test_nothing_is_limited_that_is_not_asked_for() -> None:
    cost = Cost(10**9, 10**9, 10**12, 10**12, 10**12, 0, 0, ())
    assert refusal(cost, ROOMY)[1] == ""
