"""Trial records as a study would leave them, without any training."""

from __future__ import annotations

from typing import Any

from models.cost import compute_cost
from search.config import DataConfig, SearchConfig
from search.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TRAINED, TrialRecord
from space import DEFAULTS, Params, assemble

CONFIG = SearchConfig(DataConfig("mnist", "data"), max_params=8000)


def made_up(
    number: int, value: float | None = None, outcome: str = FINISHED, params: Params | None = None, **facts: Any
) -> TrialRecord:
    """A trial of the default point with `params` changed; `facts` override what follows from that."""
    point = DEFAULTS | (params or {})
    candidate = assemble(point)
    cost = compute_cost(candidate.arch)
    found: dict[str, Any] = {"index": number, "seed": 1000 + number, "n_params": cost.n_params, "macs": cost.macs}
    if outcome in TRAINED:
        found |= {
            "receptive_field": cost.receptive_field,
            "peak_activation_bytes": cost.peak_activation_bytes,
            "arch": candidate.arch,
            "recipe": candidate.recipe,
            "precision": "float32",
            "seconds": 60.0,
            "curve": tuple(epoch(i, seconds=30.0) for i in (1, 2)),
        }
    return TrialRecord(number=number, outcome=outcome, value=value, params=point, **(found | facts))


def epoch(number: int, seconds: float) -> dict[str, Any]:
    return {"epoch": number, "train_accuracy": 0.98 + number / 1000, "accuracy": 0.99, "seconds": seconds}


# One trial of every outcome, and two more finished ones.
EVERY_OUTCOME = [
    made_up(0, 0.9931, baseline="s004_net3"),
    made_up(1, outcome=REFUSED, reason="9,000 parameters, 1,000 over the budget of 8,000", n_params=9000),
    made_up(2, outcome=STOPPED, reason="98.00% after epoch 5 is below the median of the finished trials"),
    made_up(3, outcome=DIVERGED, reason="the training loss became nan in epoch 2", seconds=None),
    made_up(4, 0.9931, REPEATED, repeats=0, reason="same network and recipe as trial 0"),
    made_up(5, outcome="fail", index=5),
    TrialRecord(number=6, outcome="running", value=None, params={}),
    TrialRecord(number=7, outcome="waiting", value=None, params={}, baseline="s001_model3"),
    made_up(8, 0.9952, params={"stages.1.width.1": 8, "stages.1.width.2": 16}),
    made_up(9, 0.9940, params={"lr": 1.0}),
]
