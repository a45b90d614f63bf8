"""Trial records and repeats as a study would leave them, without any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.cost import compute_cost
from search.config import DataConfig, SearchConfig
from search.evidence.confirm import ConfirmPlan, choosing, measuring, reporting
from search.evidence.repeats import CHOOSE, NOISE, REPORT, Repeat, RepeatResult
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TRAINED, TrialRecord
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
    made_up(9, 0.9940, params={"sgd.lr": 1.0}),
]


# What these trials got when they were trained again, on seeds in this order.
PLAN = ConfirmPlan(candidates=(8, 9, 0), estimates=(0.9945, 0.9937, 0.9931), baseline=0, n_seeds=3)
AGAIN: Mapping[tuple[str, int], Sequence[float]] = {
    (CHOOSE, 8): (0.9930, 0.9931, 0.9932),
    (CHOOSE, 9): (0.9944, 0.9945, 0.9946),  # the winner
    (CHOOSE, 0): (0.9920, 0.9921, 0.9922),
    (REPORT, 9): (0.9938, 0.9940, 0.9945),
    (REPORT, 0): (0.9925, 0.9930, 0.9929),
    (NOISE, 0): (0.9900, 0.9920, 0.9910, 0.9930),
}
# Of all trainings of a trial.
MISREAD = {8: (1,), 9: (1, 2, 3), 0: (2, 4, 5, 6, 7, 8, 9)}


def results_again(repeats: Iterable[Repeat]) -> list[RepeatResult]:
    """Results for `repeats` of one kind, as in AGAIN."""
    left = {key: list(values) for key, values in AGAIN.items()}
    return [
        RepeatResult(
            number,
            repeat,
            left[repeat.purpose, repeat.trial].pop(0),
            MISREAD[repeat.trial],
            (epoch(15, seconds=60.0),),
            60.0,
            "float32",
        )
        for number, repeat in enumerate(repeats)
    ]


def confirmed(config: SearchConfig = CONFIG) -> dict[str, Any]:
    """What `summarise` is told of a confirmation of EVERY_OUTCOME."""
    rounds = [*choosing(PLAN, EVERY_OUTCOME, config), *reporting(PLAN, 9, EVERY_OUTCOME, config)]
    return {"repeats": results_again(rounds), "plan": PLAN}


def measured(config: SearchConfig = CONFIG) -> dict[str, Any]:
    """The same of the noise floor, beside a confirmation."""
    told = confirmed(config)
    return told | {"repeats": told["repeats"] + results_again(measuring(0, 4, EVERY_OUTCOME, config))}


def made_up_results(
    repeats: Iterable[Repeat],
    values: Mapping[int, Sequence[float]],
    misread: Mapping[tuple[int, int], Sequence[int]] | None = None,
    first_number: int = 0,
) -> list[RepeatResult]:
    """The results of `repeats`, with each trial's `values` in their order; those there is no value for are not done.

    misread: by (trial, how many of its repeats came before), else nothing is misread.
    """
    found: list[RepeatResult] = []
    done: Counter[int] = Counter()
    for number, repeat in enumerate(repeats, start=first_number):
        place = done[repeat.trial]
        done[repeat.trial] += 1
        if place < len(values.get(repeat.trial, ())):
            wrong = tuple((misread or {}).get((repeat.trial, place), ()))
            value = values[repeat.trial][place]
            curve = ({**epoch(15, seconds=30.0), "accuracy": value},)
            found.append(RepeatResult(number, repeat, value, wrong, curve, 30.0, "float32"))
    return found
