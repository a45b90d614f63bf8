"""That a latency is of the network, on one thread, and changes nothing. How long it is depends on the machine."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.baselines import BASELINES
from models.build import blank_model
from search import limits
from search.config import DataConfig, SearchConfig
from search.engine import latency
from search.engine.latency import measure_latency
from search.limits import latency_excess

SPEC = BASELINES["s002_model1"].spec


def test_the_fastest_of_many_passes_over_one_image_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    class Watched(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((tuple(x.shape), self.training, torch.get_num_threads(), torch.is_inference_mode_enabled()))
            return x

    # The clock is read before and after every pass; one takes 2 ms, the others 5.
    ticks = iter([0.0, 0.005, 1.0, 1.002] + [float(i // 2) + 0.005 * (i % 2) for i in range(4, 60)])
    monkeypatch.setattr("models.build.blank_model", lambda _arch: Watched())
    monkeypatch.setattr(latency.time, "perf_counter", lambda: next(ticks))
    before = torch.get_num_threads()
    assert measure_latency(SPEC) == pytest.approx(2.0)
    assert set(seen) == {((1, 1, 28, 28), False, 1, True)}
    assert len(seen) == latency.N_WARM_UP + limits.N_LATENCY_PASSES
    assert torch.get_num_threads() == before


def test_measuring_moves_no_random_number() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert measure_latency(SPEC) > 0
    assert torch.equal(torch.rand(3), expected)


def test_the_network_itself_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr("models.build.blank_model", lambda arch: built.append(arch) or blank_model(arch))
    monkeypatch.setattr(latency, "N_LATENCY_PASSES", 1)
    measure_latency(SPEC)
    assert built == [SPEC]


@pytest.mark.parametrize(("limit", "excess"), [(None, None), (2.0, 0.5), (3.0, 0.0), (6.0, -0.5)])
def test_excess_is_a_share_of_the_limit(limit: float | None, excess: float | None) -> None:
    assert latency_excess(3.0, SearchConfig(DataConfig("digits", "x"), 8000, max_latency=limit)) == excess
