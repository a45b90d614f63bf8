"""The counters of parameters that people use agree with models.cost, to the last one."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import pytest
import torch
import torchinfo
import torchsummary
from torch import nn

from models.baselines import BASELINES
from models.build import build_model
from models.cost import compute_cost
from models.spec import ArchSpec
from search.report.architecture import torchsummary_table
from space import assemble, sample
from tests.search.export.standalone.test_source import random_data, random_model, source_of, write_module

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def counts(spec: ArchSpec, model: nn.Module | None = None) -> dict[str, int]:
    """Count the parameters of a network in every way; `file` is the number of values that a weights file holds."""
    model = (model or build_model(spec)).eval()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        torchsummary.summary(model, spec.input_shape, device="cpu")
    (total,) = (line for line in printed.getvalue().splitlines() if line.startswith("Total params"))
    return {
        "n_params": compute_cost(spec).n_params,
        "n_stored": compute_cost(spec).n_stored,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "torchsummary": int(total.partition(":")[2].replace(",", "")),
        "torchinfo": torchinfo.summary(model, (1, *spec.input_shape), verbose=0).total_params,
        "file": sum(tensor.numel() for name, tensor in model.state_dict().items() if not name.endswith(BUFFERS)),
    }


def test_the_table_is_that_of_torchsummary() -> None:
    """Only modules without a weight differ: torchsummary takes the bias of an unscaled batch norm for not trainable."""
    specs = [baseline.spec for baseline in BASELINES.values()] + points("none")[:50] + points("stage")[:50]
    for spec in specs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            torchsummary.summary(build_model(spec).eval(), spec.input_shape, device="cpu")
        expected = [line for line in printed.getvalue().splitlines() if "rainable" not in line]
        table = torchsummary_table(spec, compute_cost(spec)).splitlines()
        assert [line for line in table if "rainable" not in line and "shared" not in line] == expected, spec
        once = [line.rpartition(" ")[2].replace(",", "") for line in table if "shared ones counted once" in line]
        cost = compute_cost(spec)
        assert once == ([str(cost.n_params)] if cost.n_stored > cost.n_params else [])


@pytest.mark.parametrize("name", BASELINES)
def test_counts_of_hand_designed_networks(name: str) -> None:
    assert len(set(counts(BASELINES[name].spec).values())) == 1


def points(shared: str) -> list[ArchSpec]:
    """Return 300 networks of the space, whose stages share weights in that way."""
    rng = random.Random(0)
    fixed = {f"stages.{stage}.shared": shared for stage in (1, 2, 3)}
    return [assemble(sample(rng) | fixed).arch for _ in range(300)]


@pytest.mark.slow
def test_counts_of_networks_of_the_space() -> None:
    for spec in points("none"):
        assert len(set(counts(spec).values())) == 1, spec


def test_counts_of_exported_networks(tmp_path: Path) -> None:
    for spec in [*points("none")[:10], *points("stage")[:10]]:
        torch.save(random_model(spec).state_dict(), tmp_path / "weights.pt")
        net = write_module(tmp_path, source_of(spec), random_data(spec)).load()
        assert counts(spec, net) == counts(spec)


def test_counts_of_networks_that_share_weights() -> None:
    """PyTorch counts a shared parameter once, and so does the budget; the others count layer by layer."""
    n_sharing = 0
    for spec in points("stage")[:50]:
        found = counts(spec)
        n_sharing += found["n_stored"] > found["n_params"]
        assert found["parameters"] == found["n_params"]
        assert {found["torchsummary"], found["torchinfo"], found["file"]} == {found["n_stored"]}
    assert n_sharing > 10
