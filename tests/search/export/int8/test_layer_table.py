"""Test that the table of layers adds up to the whole network."""

from __future__ import annotations

import pytest

from models.cost import compute_cost
from search.export.int8.c_source import flash_bytes
from search.export.int8.fusion import operations_of
from search.export.int8.layer_table import layer_table
from search.export.int8.network import map_bytes
from tests.search.export.int8.test_c_file import EVERY_FUNCTION, names
from tests.search.made_up_networks import SPECS, quantised

pytestmark = pytest.mark.usefixtures("one_thread")

COUNTED_ALIKE = {
    name: spec
    for name, spec in (SPECS | {"every function": EVERY_FUNCTION}).items()
    # Before logits that are a mean of a convolution, C takes the mean first. For one class, a layer is one factor.
    if spec.head.kind != "conv_gap" and spec.n_classes > 1
}


@pytest.mark.parametrize("name", COUNTED_ALIKE)
def test_multiply_adds_are_those_of_the_cost(name: str) -> None:
    rows = layer_table(quantised(COUNTED_ALIKE[name]))
    assert sum(row["macs"] for row in rows) == compute_cost(COUNTED_ALIKE[name]).macs


@pytest.mark.parametrize("name", ["thrifty", "shared residual conv-act-bn silu", "separable conv-act-bn gelu"])
def test_every_constant_and_every_map_is_in_one_row(name: str) -> None:
    network = quantised(SPECS[name])
    rows = layer_table(network)
    flash = flash_bytes(network, names(network))
    assert sum(row["constant_bytes"] for row in rows) == sum(flash.values()) - flash["class names"]
    operations = list(operations_of(network))
    written = [map_bytes(network.maps[operation.target]) for operation in operations if operation.target is not None]
    assert [row["map_bytes"] for row in rows] == [*written, 0]


def test_rows_name_the_layers() -> None:
    rows = layer_table(quantised(EVERY_FUNCTION))
    assert [(row["layer"], row["shape"]) for row in rows[:2]] == [
        ("image", "3x9x11"),
        ("3x3 convolution, activation, batch norm", "5x7x9"),
    ]
    layers = [row["layer"] for row in rows]
    assert {"3x3 depthwise convolution", "1x1 convolution", "sum with the shortcut", "2x2 max pool"} <= set(layers)
    assert {"2x2 average pool", "1x1 convolution in 3 groups", "factor of each channel"} <= set(layers)
    rows = layer_table(quantised(SPECS["strides separable conv-act-bn"]))
    assert rows[1]["layer"] == "3x3 depthwise convolution, stride 2"
    rows = layer_table(quantised(SPECS["conv conv-bn-act silu"]))
    assert rows[2]["layer"] == "3x3 convolution, activation, 2x2 max pool"
