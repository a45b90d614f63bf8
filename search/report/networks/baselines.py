"""Collect the results of the hand-designed networks and of the user networks in a study."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.baselines import BASELINES, Baseline, baselines_for
from models.cost import Cost, compute_cost
from search.config import SearchConfig
from search.data.load import form_of
from search.limits import standings
from search.study.trials import DIVERGED, REFUSED, REPEATED, STOPPED, TrialRecord
from space import baseline_params, space_of

# Optuna's states of trials without an outcome.
INTERRUPTED, RUNNING = "fail", "running"
_REMARKS = {
    STOPPED: "stopped early",
    DIVERGED: "diverged",
    REFUSED: "over a limit",
    REPEATED: "repeats a stopped trial",
    INTERRUPTED: "interrupted",
    RUNNING: "running",
}


@dataclass(frozen=True)
class BaselineResult:
    """Result of a hand-designed network or of a user network in a study.

    fits             whether it keeps to all limits of the study
    stated_accuracy  best accuracy on MNIST that its authors report; None for a user network, and in a study of other
                     data, with which it cannot be compared
    stated_epochs    length of that training in epochs; None where stated_accuracy is
    approximate      whether the stated accuracy is approximate
    value            value in this study; None if it has none
    remark           reason why it has no value
    """

    id: str
    n_params: int
    fits: bool
    stated_accuracy: float | None
    stated_epochs: int | None
    approximate: bool
    value: float | None
    remark: str


def baseline_results(config: SearchConfig, records: Iterable[TrialRecord]) -> tuple[BaselineResult, ...]:
    """Return the results of the hand-designed networks for these images, then those of the user networks."""
    form = form_of(config.data)
    space_networks = baseline_params(form.input_shape, form.n_classes, space_of(config))
    # If a network was interrupted and run again, the later trial counts.
    trials_by_network = {record.baseline: record for record in sorted(records, key=lambda record: record.number)}
    return tuple(
        _baseline_result(baseline, config, trials_by_network.get(name), in_space=name in space_networks)
        # Networks for other images cannot be compared.
        for name, baseline in baselines_for(form.input_shape, form.n_classes).items()
    ) + tuple(
        _user_network_result(record, name, record.n_params)
        for name, record in trials_by_network.items()
        if name is not None and name not in BASELINES and record.n_params is not None
    )


def _user_network_result(record: TrialRecord, name: str, n_params: int) -> BaselineResult:
    """Return the result of a user network, which fits unless its trial was refused."""
    fits = record.outcome != REFUSED
    remark = "" if record.value is not None else _REMARKS.get(record.outcome, "not run yet")
    return BaselineResult(name, n_params, fits, None, None, False, record.value, remark)


def _baseline_result(
    baseline: Baseline, config: SearchConfig, record: TrialRecord | None, *, in_space: bool
) -> BaselineResult:
    cost = compute_cost(baseline.spec)
    excess = _excess(cost, config)
    not_run = "left out by --starts none" if config.starts == "none" else "not run yet"
    not_run = not_run if in_space else "not in the space"
    remark = excess or (_REMARKS.get(record.outcome, not_run) if record else not_run)
    accuracy, epochs, approximate = _best_stated(baseline) if config.data.dataset == "mnist" else (None, None, False)
    value = record.value if record else None
    return BaselineResult(
        id=baseline.id,
        n_params=cost.n_params,
        fits=not excess and (record is None or record.outcome != REFUSED),
        stated_accuracy=accuracy,
        stated_epochs=epochs,
        approximate=approximate,
        value=value,
        remark="" if value is not None else remark,
    )


def _excess(cost: Cost, config: SearchConfig) -> str:
    """Return the first limit that the network exceeds, in words, or an empty string."""
    return next((standing.limit.over for standing in standings(cost, config) if standing.slack < 0), "")


def _best_stated(baseline: Baseline) -> tuple[float, int, bool]:
    """Return (accuracy, epochs, approximate) of the best stated training, the shortest of equally good ones."""
    results = [(result.best_accuracy or result.last_accuracy or 0.0, result) for result in baseline.stated.values()]
    accuracy, result = max(results, key=lambda item: (item[0], -item[1].epochs))
    return accuracy, result.epochs, result.approximate
