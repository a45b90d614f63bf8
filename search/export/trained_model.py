"""Trained networks to export, with their origin and their result."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.record import check_choice
from models.spec import ArchSpec
from search.config import METRICS, SCORES, SELECT_ON, SearchConfig, words_of
from search.errors import InputError
from search.evidence.confirm import Confirmation
from search.evidence.repeats import RepeatResult
from search.limits import limits_met
from search.report.evidence import fresh_seeds, interval
from search.report.networks.of_trial import HAND_DESIGNED
from search.report.networks.origin import origin_of
from search.study.trials import FINISHED, TrialRecord

SPLIT_NAMES = {"test": "the test set", "val": "the validation images"}


@dataclass(frozen=True, eq=False)
class ModelSource:
    """Trained network with its origin and its result.

    study         name of the study
    trial         number of the trial; None for a training outside a search
    state         the state_dict that `accuracy` was measured on (score last3: the one after the last epoch)
    score         epoch rule of `accuracy`
    scored_on     split of `accuracy`; "test" means that the network was trained on all other images
    select_on     split that the search was scored on
    accuracy      recorded result, in [0, 1], by `metric`
    curve         the fields of EpochMetrics for each scored epoch; at least those of the last epoch
    max_params    largest number of parameters that the search allowed
    epochs        largest number of epochs that the search allowed
    precision     number format of the training, such as "float32"
    confirmation  result of the trainings from fresh seeds, if there were any
    network       id of a hand-designed network that was trained outside a search; "" for a searched network
    n_trainings   number of trainings of that network with different seeds; this is the one with the median accuracy
    metric        one of search.config.METRICS
    limits        the limits of the search, as search.limits.limits_met returns them; empty outside a search
    origin        where the network comes from, as search.report.networks.origin states it

    Raises RecordError for an unknown score, scored_on, select_on or metric.
    """

    study: str
    trial: int | None
    arch: ArchSpec
    recipe: RecipeConfig
    state: Mapping[str, Tensor]
    seed: int
    score: str
    scored_on: str
    select_on: str
    accuracy: float
    curve: tuple[Mapping[str, Any], ...]
    max_params: int
    epochs: int
    precision: str | None = None
    confirmation: Confirmation | None = None
    network: str = ""
    n_trainings: int = 0
    metric: str = "accuracy"
    limits: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""

    def __post_init__(self) -> None:
        check_choice("score", self.score, SCORES)
        check_choice("scored-on", self.scored_on, SELECT_ON)
        check_choice("select-on", self.select_on, SELECT_ON)
        check_choice("metric", self.metric, METRICS)

    @property
    def state_accuracy(self) -> float:
        """Return the recorded accuracy of `state` itself.

        It differs from `accuracy` if that is balanced accuracy, or the mean over three epochs (score last3).
        """
        if self.score == "best":
            return float(self._best_epoch["accuracy"])
        return float(self.curve[-1]["accuracy"]) if self.score == "last3" or self.is_balanced else self.accuracy

    @property
    def is_balanced(self) -> bool:
        """Return whether `accuracy` is balanced accuracy."""
        return self.metric != "accuracy"

    @property
    def _best_epoch(self) -> Mapping[str, Any]:
        """Return the metrics of the best epoch, the earliest if several are equal."""
        return max(self.curve, key=lambda metrics: float(metrics[self.metric]))

    @property
    def epoch_rule(self) -> str:
        """Return a phrase that says which epoch's accuracy was recorded."""
        last = int(self.curve[-1]["epoch"])
        if self.score == "best":
            return f"after epoch {self._best_epoch['epoch']} of {last}, the best"
        if self.score == "last3":
            return f"as the mean of epochs {max(1, last - 2)} to {last} (the weights are those after epoch {last})"
        return f"after epoch {last}, the last"

    @property
    def result(self) -> str:
        """Return a phrase with the recorded accuracy and everything that it depends on."""
        name = f" {words_of(self.metric)}" if self.is_balanced else ""
        return f"{self.accuracy:.2%}{name} on {SPLIT_NAMES[self.scored_on]} {self.epoch_rule}, seed {self.seed}"

    @property
    def selection_note(self) -> str:
        """Return a sentence that says how the network was selected, and thus how far to trust the accuracy."""
        if self.network:
            median = f"of {self.n_trainings} trainings that differ by their seed the one with the median accuracy"
            return f"Designed by hand, not searched; {median if self.n_trainings > 1 else 'the only training'}."
        if self.select_on == "test":
            return "Selected on test: the search chose by these same images, so expect a little less on new ones."
        if self.scored_on == "val":
            return (
                "Selected on val: the search chose by images held out of the training set and never saw the test set."
            )
        return (
            "Selected on val: the search chose by images held out of the training set. The winner was then trained "
            "again on all training images, and the test set read once, after the last epoch."
        )

    @property
    def evidence(self) -> str:
        """Return a sentence with the result of the trainings from fresh seeds, or "" if there were none."""
        if self.confirmation is None:
            return ""
        estimate = self.confirmation.accuracy
        if estimate.n == 1:
            return f"Trained from 1 fresh seed the network reaches {estimate.mean:.2%}; this is that training."
        return (
            f"Trained from {fresh_seeds(estimate)} the network reaches {estimate.mean:.2%} in the mean "
            f"({interval(estimate)}), from {estimate.minimum:.2%} to {estimate.maximum:.2%}; "
            f"this is the training with the median {words_of(self.metric)}."
        )


def source_from_trial(record: TrialRecord, config: SearchConfig, study: str, weights: Path) -> ModelSource:
    """Return a finished trial as a model to export.

    weights: the file with its weights. Raises InputError for a trial without a result of its own, and for a file that
    is missing, damaged or of another network.
    """
    arch, recipe, seed, accuracy = record.arch, record.recipe, record.seed, record.value
    if record.outcome != FINISHED or arch is None or recipe is None or seed is None or accuracy is None:
        advice = "" if record.repeats is None else f"; export trial {record.repeats}, which it repeats"
        raise InputError(f"trial {record.number} cannot be exported, its outcome is {record.outcome!r}{advice}")
    if record.origin is not None:
        raise InputError(f"trial {record.number} was adopted from {record.origin}; export it there, or confirm {study}")
    return ModelSource(
        study=study,
        trial=record.number,
        arch=arch,
        recipe=recipe,
        state=read_weights(weights, arch, f"`search.py rerun {study} --trial {record.number}` trains it again"),
        seed=seed,
        score=config.score,
        scored_on=config.data.select_on,
        select_on=config.data.select_on,
        accuracy=accuracy,
        curve=record.curve,
        max_params=config.max_params,
        epochs=config.epochs,
        precision=record.precision,
        metric=config.metric,
        limits=limits_met(compute_cost(arch), config, record.latency_ms),
        origin=str(origin_of(record)),
    )


def source_from_confirmation(
    confirmation: Confirmation, config: SearchConfig, study: str, weights: Path, winner: TrialRecord | None = None
) -> ModelSource:
    """Return the confirmed winner as a model to export: its training from a fresh seed with the median accuracy.

    weights: the file with the weights of that training. winner: the trial of the search. Raises InputError for a file
    that is missing, damaged or of another network.
    """
    network = confirmation.network
    arch = network.repeat.arch
    return ModelSource(
        study=study,
        trial=confirmation.trial,
        arch=arch,
        recipe=network.repeat.recipe,
        state=read_weights(weights, arch, f"`search.py rerun {study}` trains it again"),
        seed=network.repeat.seed,
        score="last",
        scored_on=network.repeat.select_on,
        select_on=config.data.select_on,
        accuracy=network.value,
        curve=network.curve,
        max_params=config.max_params,
        epochs=config.epochs,
        precision=network.precision,
        confirmation=confirmation,
        metric=config.metric,
        limits=limits_met(compute_cost(arch), config, winner.latency_ms if winner else None),
        origin=str(origin_of(winner)) if winner else "",
    )


def source_from_repeat(result: RepeatResult, n_trainings: int, study: str, weights: Path) -> ModelSource:
    """Return a training of a hand-designed network, one of `n_trainings` with different seeds, as a model to export.

    weights: the file with its weights. Raises InputError for a file that is missing, damaged or of another network.
    """
    repeat = result.repeat
    return ModelSource(
        study=study,
        trial=None,
        arch=repeat.arch,
        recipe=repeat.recipe,
        state=read_weights(weights, repeat.arch, f"`search.py rerun {study} --trial {result.number}` trains it"),
        seed=repeat.seed,
        score="last",
        scored_on=repeat.select_on,
        select_on=repeat.select_on,
        accuracy=result.value,
        curve=result.curve,
        max_params=compute_cost(repeat.arch).n_params,
        epochs=repeat.recipe.epochs,
        precision=result.precision,
        network=repeat.network,
        n_trainings=n_trainings,
        origin=f"{HAND_DESIGNED} {repeat.network}",
    )


def read_weights(path: Path, arch: ArchSpec, advice: str = "train it again") -> dict[str, Tensor]:
    """Return the state_dict of network `arch` from a file.

    Raises InputError, whose message ends with `advice`, for a file that is missing, damaged or of another network.
    """
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the weights file {path}: {error.strerror or error}; {advice}") from error
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises exceptions of many types for a damaged or foreign file
        raise InputError(f"{path} is damaged or not a weights file; {advice}") from error
    with torch.device("meta"):
        expected = build_model(arch).state_dict()
    if isinstance(state, dict):
        state = {name: tensor for name, tensor in state.items() if name in expected or not _is_unit(tensor)}
    if not isinstance(state, dict) or _tensor_formats(state) != _tensor_formats(expected):
        raise InputError(f"{path} holds something other than the weights of this trial's network; {advice}")
    return state


def _is_unit(tensor: object) -> bool:
    """Return whether a tensor is a fixed weight of 1, which files of version 0.1 hold for batch norms without scale."""
    return isinstance(tensor, Tensor) and tensor.ndim == 1 and bool((tensor == 1).all())


def _tensor_formats(state: Mapping[str, object]) -> dict[str, object]:
    """Return the shape, data type and layout of each tensor, or None for a value that is no tensor."""
    return {
        name: (tensor.shape, tensor.dtype, tensor.layout) if isinstance(tensor, Tensor) else None
        for name, tensor in state.items()
    }
