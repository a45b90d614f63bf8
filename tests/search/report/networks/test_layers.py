"""The layer table of report.html, compared with the torch modules and with its own rule."""

from __future__ import annotations

import pytest
from torch import nn

from models.baselines import BASELINES
from models.build import build_model
from models.cost import compute_cost
from models.spec import ArchSpec, Block, Head, Stage
from search.report.networks.layers import LAYER_COLUMNS, layer_rows, layer_rule
from tests.search.made_up_networks import systematic_specs, thrifty_spec

REDUCING = {
    f"{kind} {padding} {kernel_size}": ArchSpec(
        (4, side, side),
        3,
        (
            Stage((Block(6, kernel_size, kind, padding, stride=2, squeeze=2, groups=groups),)),
            Stage((Block(6, 3, kind, "same", groups=groups),), 2, "avg"),
        ),
        Head("gap_conv"),
    )
    for kind, padding, groups, kernel_size, side in [
        *(("conv", "valid", 1, 3, 15), ("separable", "same", 1, 5, 16), ("inverted", "same", 1, 7, 15)),
        *(("inverted", "valid", 1, 5, 16), ("shuffle", "same", 2, 3, 15), ("residual", "same", 1, 3, 16)),
    ]
}
SPECS = {name: baseline.spec for name, baseline in BASELINES.items()} | systematic_specs() | REDUCING
SPECS["thrifty"] = thrifty_spec()


@pytest.mark.parametrize("name", SPECS)
def test_kernels_strides_and_paddings_are_those_of_the_modules(name: str) -> None:
    spec = SPECS[name]
    rows = [dict(zip(LAYER_COLUMNS, row, strict=True)) for row in layer_rows(spec)[1:-1]]
    windows = [
        (row["kernel"], row["stride"], row["padding"])
        for row in rows
        if row["kernel"] != "-" and row["kind"] != "global average pool"
    ]
    windowed = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
    modules = [module for module in build_model(spec).modules() if isinstance(module, windowed)]
    expected = []
    for module in modules:
        kernel, stride, padding = (
            value if isinstance(value, tuple) else (value, value)
            for value in (module.kernel_size, module.stride, module.padding)
        )
        expected.append((f"{kernel[0]}x{kernel[1]}", str(stride[0]), str(padding[0])))
    # Modules of shared weights stand once, where they were made.
    assert windows == expected if not spec.shares_weights else set(windows) == set(expected)


@pytest.mark.parametrize("name", SPECS)
def test_the_table_follows_its_rule_and_adds_up(name: str) -> None:
    spec = SPECS[name]
    image, *layers, total = [dict(zip(LAYER_COLUMNS, row, strict=True)) for row in layer_rows(spec)]
    rf, jump = int(image["RF"]), int(image["jump"])
    before_squeeze = rf, jump
    for layer in layers:
        if layer["layer"].endswith(".squeeze"):
            before_squeeze = rf, jump
        if layer["kind"] == "scale":
            rf, jump = before_squeeze
        elif layer["kernel"] != "-" and not layer["kind"].startswith("shortcut"):  # which reads the block's input
            kernel = max(map(int, layer["kernel"].split("x")))
            rf, jump = rf + (kernel - 1) * jump, jump * int(layer["stride"])
        elif layer["kind"] == "linear":
            rf = int(layer["RF"])  # it sees its whole input map
        assert (int(layer["RF"]), int(layer["jump"])) == (rf, jump), layer["layer"]
    cost = compute_cost(spec)
    assert total["RF"] == str(cost.receptive_field)
    for column, value in (("parameters", cost.n_params), ("MACs", cost.macs)):
        assert sum(int(layer[column].replace(",", "")) for layer in layers) == value
        assert total[column] == f"{value:,}"


def test_shared_weights_are_counted_both_ways() -> None:
    assert layer_rule(thrifty_spec()).endswith(" Parameters: 456, 960 counted layer by layer.")
    assert "Parameters" not in layer_rule(ArchSpec.from_dict(BASELINES["s004_net3"].spec.to_dict()))
