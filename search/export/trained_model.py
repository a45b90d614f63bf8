"""A trained network and where it comes from: what an export is made of."""

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
from search.study.trials import FINISHED, TrialRecord

SPLIT_NAMES = {"test": "the test set", "val": "the validation images"}


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A trained network, its origin and its result.

    study, trial  name and number; trial is None for a training outside the search
    state         the state_dict that belongs to `accuracy` (score last3: that of the last epoch)
    score         the epoch rule of `accuracy`; scored_on: its split, of which "test" means trained on all other images
    select_on     the split that the search was scored on
    accuracy      in [0, 1], as recorded: by `metric`, of search.config.METRICS
    curve         one mapping a scored epoch, the fields of EpochMetrics; at least the last epoch's
    max_params    with `epochs` and `limits` the limits of the search
    limits        of the search, as search.limits.limits_met has them; none of a training outside any search
    precision     of the training: float32
    confirmation  what training on fresh seeds showed, where there was any
    network       id of a hand-designed network that was trained outside any search
    n_trainings   then: of how many that differ by their seed, this being the one with the median accuracy

    Raises RecordError for an unknown score, scored_on or select_on.
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

    def __post_init__(self) -> None:
        check_choice("score", self.score, SCORES)
        check_choice("scored-on", self.scored_on, SELECT_ON)
        check_choice("select-on", self.select_on, SELECT_ON)
        check_choice("metric", self.metric, METRICS)

    @property
    def state_accuracy(self) -> float:
        """The recorded share of right answers of `state` itself.

        Another figure than `accuracy` where that is balanced, or a mean over three states (score last3).
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
        """The earliest of equals."""
        return max(self.curve, key=lambda metrics: float(metrics[self.metric]))

    @property
    def epoch_rule(self) -> str:
        """Which epoch's accuracy was recorded, in words."""
        last = int(self.curve[-1]["epoch"])
        if self.score == "best":
            return f"after epoch {self._best_epoch['epoch']} of {last}, the best"
        if self.score == "last3":
            return f"as the mean of epochs {max(1, last - 2)} to {last} (the weights are those after epoch {last})"
        return f"after epoch {last}, the last"

    @property
    def result(self) -> str:
        """The recorded accuracy with everything it depends on, in words."""
        what = f" {words_of(self.metric)}" if self.is_balanced else ""
        return f"{self.accuracy:.2%}{what} on {SPLIT_NAMES[self.scored_on]} {self.epoch_rule}, seed {self.seed}"

    @property
    def selection_note(self) -> str:
        """How far the accuracy may be trusted."""
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
        """What fresh seeds showed, in a sentence; "" without them."""
        if self.confirmation is None:
            return ""
        found = self.confirmation.accuracy
        return (
            f"Trained from {fresh_seeds(found)} the network reaches {found.mean:.2%} in the mean ({interval(found)}), "
            f"from {found.minimum:.2%} to {found.maximum:.2%}; this is the training with the median "
            f"{words_of(self.metric)}."
        )


def source_from_trial(record: TrialRecord, config: SearchConfig, study: str, weights: Path) -> ModelSource:
    """A finished trial and the file with its weights.

    Raises InputError for a trial without a result of its own, and for a file that is missing or not its weights.
    """
    arch, recipe, seed, accuracy = record.arch, record.recipe, record.seed, record.value
    if record.outcome != FINISHED or arch is None or recipe is None or seed is None or accuracy is None:
        instead = "" if record.repeats is None else f"; export trial {record.repeats}, which it repeats"
        raise InputError(f"trial {record.number} cannot be exported, its outcome is {record.outcome!r}{instead}")
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
    )


def source_from_confirmation(
    found: Confirmation, config: SearchConfig, study: str, weights: Path, latency_ms: float | None = None
) -> ModelSource:
    """The confirmed winner: of its trainings from fresh seeds the one with the median accuracy. latency_ms: as found in
    the search."""
    network = found.network
    arch = network.repeat.arch
    return ModelSource(
        study=study,
        trial=found.trial,
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
        confirmation=found,
        metric=config.metric,
        limits=limits_met(compute_cost(arch), config, latency_ms),
    )


def source_from_repeat(result: RepeatResult, n_trainings: int, study: str, weights: Path) -> ModelSource:
    """A training of a hand-designed network, one of `n_trainings` that differ by their seed. Raises InputError."""
    repeat = result.repeat
    return ModelSource(
        study=study,
        trial=None,
        arch=repeat.arch,
        recipe=repeat.recipe,
        state=read_weights(weights, repeat.arch),
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
    )


def read_weights(path: Path, arch: ArchSpec, again: str = "train it again") -> dict[str, Tensor]:
    """The state_dict in the file. Raises InputError, that ends with `again`, if it is missing or not of `arch`."""
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the weights file {path}: {error.strerror or error}; {again}") from error
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for a file that is damaged or not its own
        raise InputError(f"{path} is damaged or not a weights file; {again}") from error
    with torch.device("meta"):
        expected = build_model(arch).state_dict()
    if not isinstance(state, dict) or _shapes(state) != _shapes(expected):
        raise InputError(f"{path} holds something other than the weights of this trial's network; {again}")
    return state


def _shapes(state: Mapping[str, object]) -> dict[str, object]:
    """Return the shape, kind of number and size of each tensor, which another must share to take its place."""
    return {
        name: (tensor.shape, tensor.dtype, tensor.layout) if isinstance(tensor, Tensor) else None
        for name, tensor in state.items()
    }
