"""Train a network on behalf of a trial: what is worth knowing later is noted with the trial, and its weights kept."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import Tensor

from models.build import build_model
from models.recipe import RecipeConfig
from models.spec import ArchSpec
from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.engine.metrics import EpochMetrics
from search.engine.process import prepare_process
from search.engine.train import (
    TrainingDivergedError,
    TrainResult,
    engine_for,
    train,
    training_device,
)
from search.study.trials import DIVERGED, TrialFailedError


class RecordedTraining:
    """Trains what trials ask for; picklable, so that every worker process can have its own.

    Data is loaded when it is first needed. Weights go to weights_dir (None: not kept). engine: as in
    search.engine.train.engine_for.
    """

    def __init__(self, weights_dir: Path | None = None, engine: str = "auto") -> None:
        self.weights_dir = weights_dir
        self.engine = engine
        self._data: dict[DataConfig, Dataset] = {}

    def data(self, config: DataConfig) -> Dataset:
        """The data set, read once."""
        if config not in self._data:
            prepare_process()
            self._data[config] = load_dataset(config)
        return self._data[config]

    def train(
        self,
        trial: optuna.Trial,
        arch: ArchSpec,
        recipe: RecipeConfig,
        data: Dataset,
        seed: int,
        on_epoch: Callable[[int, EpochMetrics], None] | None = None,
        **options: Any,
    ) -> TrainResult:
        """Train from scratch, with the `options` of `train`. Raises TrialFailedError if the training diverged."""
        device = training_device()
        note(trial, seed=seed, precision="float32", engine=engine_for(device, self.engine))
        curve: list[dict[str, Any]] = []

        def record_epoch(epoch: int, metrics: EpochMetrics) -> None:
            curve.append(metrics.to_dict())
            if on_epoch:
                on_epoch(epoch, metrics)

        torch.manual_seed(seed)
        model = build_model(arch).to(device)
        try:
            return train(model, data, recipe, record_epoch, seed=seed, engine=self.engine, **options)
        except TrainingDivergedError as error:
            # The outcome last: with it the trial counts as decided, even if this process dies here.
            note(trial, curve=curve, reason=str(error), outcome=DIVERGED)
            raise TrialFailedError(str(error)) from error
        finally:
            note(trial, curve=curve)

    def keep_weights(self, number: int, state: Mapping[str, Tensor]) -> None:
        """Write the weights of trial `number`; a file that exists is whole."""
        if self.weights_dir is None:
            return
        self.weights_dir.mkdir(parents=True, exist_ok=True)
        path = weights_path(self.weights_dir, number)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        written = io.BytesIO()  # where a disk is full torch itself would not say so
        torch.save(dict(state), written)
        try:
            partial.write_bytes(written.getvalue())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def weights_path(weights_dir: Path, number: int) -> Path:
    """The file with the weights that finished trial `number` was scored with."""
    return weights_dir / f"trial-{number:05d}.pt"


def note(trial: optuna.Trial, **facts: Any) -> None:
    """Keep facts with a trial, under their names."""
    for name, value in facts.items():
        trial.set_user_attr(name, value)
