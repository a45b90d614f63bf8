from __future__ import annotations

import json

import pytest

from models.baselines import BASELINES, MNIST_BASELINES
from models.cost import compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.report.architecture import architecture_line, describe_baseline, describe_json, layer_table, legend
from search.text import TEXT_WIDTH, percent, text_table, wrapped
from tests.search.made_up_networks import thrifty_spec

NET3 = BASELINES["s004_net3"]


def net(*blocks: Block, pool: int = 0, pool_kind: str = "max", head: Head | None = None) -> ArchSpec:
    return ArchSpec((1, 28, 28), 10, (Stage(blocks, pool, pool_kind),), head or Head("gap_linear"))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (BASELINES["s000_net"].spec, "14 14 16 · pool · 18 20 · pool · 22p 22 · GAP linear 10"),
        (BASELINES["s001_model1"].spec, "16 32 (1x1)10b · pool · 16 16 16 16p · GAP (1x1)10"),
        (BASELINES["s002_model1"].spec, "4 4 8 · pool · (1x1)4 8 16 · (1x1)10 (7x7)10"),
        (BASELINES["s002_model2"].spec, "8 8 16 · pool · (1x1)8 8 16 16 · (1x1)10 GAP"),
        (
            BASELINES["s003_iter1"].spec,
            "16p 16p 32p · pool · (1x1)16 32p · pool · (1x1)16 16 · flatten linear 10",
        ),
        (NET3.spec, "8 16 · pool · (1x1)8 12 16 20 · GAP (1x1)16 (1x1)10"),
        (net(Block(8, kind="separable"), Block(9, kind="separable", padding="same")), "8s 9sp · GAP linear 10"),
        (net(Block(8, kind="residual", padding="same")), "8r · GAP linear 10"),
        (net(Block(8, kernel_size=5, padding="same"), pool=3), "(5x5)8p · pool3 · GAP linear 10"),
        (net(Block(8, kernel_size=1, padding="same")), "(1x1)8 · GAP linear 10"),
        (net(Block(8, batch_norm=False), Block(9, activation=None)), "8 9 · GAP linear 10"),
        (net(pool=2), "pool · GAP linear 10"),
        (
            net(Block(8, 5, "inverted", "same", expansion=4, squeeze=2), Block(9, 3, "inverted", stride=2)),
            "(5x5)8i4pe2 9i/2 · GAP linear 10",
        ),
        (
            net(Block(8), Block(8, 3, "shuffle", "same", groups=4, skip=True), pool=2, pool_kind="avg"),
            "8 8g4p+ · avgpool · GAP linear 10",
        ),
        (thrifty_spec(), "5 12s 12sp 12sp= · pool · 12sp= · GAP first 10"),
    ],
)
def test_architecture_line(spec: ArchSpec, line: str) -> None:
    assert architecture_line(spec) == line


def test_marks_of_few_networks_are_explained_where_they_stand() -> None:
    assert legend(None) == legend(NET3.spec)
    assert "=" not in legend(NET3.spec)
    more = legend(thrifty_spec()).removeprefix(legend(NET3.spec)).split("; ")
    assert [text.partition(":")[0] for text in more] == ["", "=", "first 10"]
    strided = Block(8, 3, "inverted", "same", expansion=2, squeeze=4, stride=2)
    rare = net(strided, Block(8, 3, "shuffle", "same", skip=True, groups=2), pool=2, pool_kind="avg")
    more = legend(rare).removeprefix(legend(NET3.spec)).split("; ")
    assert [text.partition(":")[0] for text in more] == ["", "i", "g", "e", "+", "/2", "avgpool"]
    gap = legend(net(Block(10), head=Head("gap")))
    assert "=" not in gap
    assert "first 10" in gap


def test_layer_table_of_net3() -> None:
    lines = layer_table(compute_cost(NET3.spec)).splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == ["layer", "kind", "output", "RF", "jump", "parameters", "MACs"]
    assert rows[1] == ["stage1.block1", "conv", "3x3", "8x26x26", "3", "1", "88", "48,672"]
    assert rows[3] == ["stage1.pool", "max", "pool", "2x2", "16x12x12", "6", "2", "0", "0"]
    assert rows[7] == ["stage2.block4", "conv", "3x3", "20x6x6", "18", "2", "2,920", "103,680"]
    assert rows[10] == ["head.conv", "conv", "1x1", "10x1x1", "28", "12", "160", "160"]
    assert lines[11:] == [
        "",
        "total: 7,496 parameters, 1,031,808 MACs",
        "receptive field (RF): 28 at the logits, 18 before the head",
        "peak activation memory: 58,496 bytes in float32, 7,712 in int8",
    ]


def test_layer_table_of_shared_weights() -> None:
    lines = layer_table(compute_cost(thrifty_spec())).splitlines()
    rows = [line.split() for line in lines]
    assert rows[6] == ["stage1.block4.depthwise", "depthwise", "3x3,", "shared", "12x24x24", "9", "1", "0", "62,208"]
    assert rows[7] == ["stage1.block4.pointwise", "conv", "1x1,", "shared", "12x24x24", "9", "1", "12", "82,944"]
    assert rows[12] == ["head.scores", "first", "channels", "10x1x1", "36", "24", "1", "0"]
    assert lines[14] == "total: 456 parameters, 960 counted layer by layer, 417,492 MACs"


@pytest.mark.parametrize("name", BASELINES)
def test_layer_table_adds_up(name: str) -> None:
    table, totals = layer_table(compute_cost(BASELINES[name].spec)).split("\n\n")
    numbers = [[int(cell.replace(",", "")) for cell in line.split()[-2:]] for line in table.splitlines()[1:]]
    n_params, macs = map(sum, zip(*numbers, strict=True))
    assert totals.startswith(f"total: {n_params:,} parameters, {macs:,} MACs\n")


def test_json_is_plain_and_complete() -> None:
    cost = compute_cost(NET3.spec)
    described = describe_json(NET3.spec, cost)
    assert json.loads(json.dumps(described)) == described
    assert ArchSpec.from_dict(described["arch"]) == NET3.spec
    assert described["key"] == NET3.spec.key()
    assert described["architecture"] == architecture_line(NET3.spec)
    totals = ("n_params", "macs", "receptive_field", "feature_receptive_field", "peak_activation_bytes")
    assert [described[name] for name in totals] == [7496, 1_031_808, 28, 18, 58_496]
    assert described["peak_activation_bytes_int8"] == 7_712
    assert [layer["name"] for layer in described["layers"]] == [row.name for row in cost.layers]
    assert described["layers"][0]["n_params"] == 88
    assert described["n_stored"] == 7496
    shared = describe_json(thrifty_spec(), compute_cost(thrifty_spec()))
    assert (shared["n_params"], shared["n_stored"], shared["layers"][5]["n_shared"]) == (456, 960, 108)


def test_baseline_as_its_authors_state_it() -> None:
    lines = describe_baseline(NET3).splitlines()
    assert lines[:2] == ["s004_net3: Net3 (best, 99.43)", "8 16 · pool · (1x1)8 12 16 20 · GAP (1x1)16 (1x1)10"]
    assert lines[4].split() == ["sgd_constant", "99.43", "%", "12", "99.26", "%", "15", "document"]
    text = " ".join(" ".join(lines).split())
    assert f"source: {NET3.source}" in text
    assert all(discrepancy in text for discrepancy in NET3.discrepancies)


@pytest.mark.parametrize(
    ("name", "differences"),
    [
        ("s004_net3", []),
        ("s004_net1", ["stated parameters: 10.9k; they are 10,970"]),
        ("s000_net", ["stated receptive field: 48; it is 34"]),
        ("s002_model2", ["stated parameters: about 6,000; they are 6,280"]),  # no receptive field is stated
        (
            "s004_net2",
            ["stated parameters: 7.45k; they are 8,024", "stated receptive field: 28; it is 32"],
        ),
    ],
)
def test_only_what_differs_is_repeated(name: str, differences: list[str]) -> None:
    lines = describe_baseline(BASELINES[name]).splitlines()
    assert [line for line in lines if line.startswith(("stated parameters", "stated receptive"))] == differences


def test_results_that_are_not_stated() -> None:
    unnamed = describe_baseline(BASELINES["s003_iter1"]).splitlines()[4]
    assert unnamed.split()[1:] == ["-", "-", "99.16", "%", "19", "document"]
    rough = describe_baseline(BASELINES["s003_iter2"]).splitlines()[4]
    assert rough.split()[1:] == ["about", "99.30", "%", "-", "-", "19", "document"]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_fit_the_terminal(name: str) -> None:
    text = describe_baseline(BASELINES[name])
    if name in MNIST_BASELINES:  # a layer table of residual blocks is wider
        text += f"\n{layer_table(compute_cost(BASELINES[name].spec))}"
    assert max(map(len, text.splitlines())) <= TEXT_WIDTH


@pytest.mark.parametrize(
    ("accuracy", "text"), [(0.9947, "99.47 %"), (1.0, "100.00 %"), (0.0, "0.00 %"), (0.5, "50.00 %"), (None, "-")]
)
def test_percent(accuracy: float | None, text: str) -> None:
    assert percent(accuracy) == text


def test_text_table_aligns() -> None:
    assert text_table(("a", "n", "b"), [("long", "1", ""), ("x", "100", "y")], "<><").splitlines() == [
        "a       n  b",
        "long    1",
        "x     100  y",
    ]


def test_wrapped_keeps_a_number_with_its_percent_sign() -> None:
    text = f"{'x' * 69} is 99.24 % now"  # room for the number, not for its sign
    assert wrapped(text, indent="> ").splitlines() == [f"> {'x' * 69} is", ">   99.24 % now"]
    assert wrapped("x" * 200).splitlines()[0] == "x" * TEXT_WIDTH
