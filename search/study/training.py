"""Train networks, for a search, a repeat or `rerun`, and record their training with a trial."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from search.data.shared import is_shared, shared
from search.engine.metrics import EpochMetrics, score
from search.engine.train import (
    TrainingDivergedError,
    TrainResult,
    engine_for,
    train,
    training_device,
)
from search.study.attributes import record_curve, record_diverged, record_training
from search.study.training_report import OnReport, Reporter, ignore_report
from search.study.trials import TrialFailedError

OnEpoch = Callable[[int, EpochMetrics], None]
OnBatch = Callable[[int, float], None]
NThreads = Callable[[], int]


@dataclass(frozen=True)
class Training:
    """Settings of one training, which determine its value together with the data.

    score_rule   rule that selects the epochs of the value, one of search.config.SCORES
    metric       metric of the value, one of search.config.METRICS
    engine       as in search.engine.train.engine_for
    every_epoch  True to score after every epoch, False to score after the last one only
    """

    arch: ArchSpec
    recipe: RecipeConfig
    seed: int
    score_rule: str = "last"
    metric: str = "accuracy"
    engine: str = "auto"
    every_epoch: bool = True

    def run(
        self,
        data: Dataset,
        on_epoch: OnEpoch | None = None,
        on_batch: OnBatch | None = None,
        n_threads: NThreads = torch.get_num_threads,
    ) -> TrainResult:
        """Train the network from scratch. Raises TrainingDivergedError if the loss becomes NaN or infinite.

        The callables are those of search.engine.train.train. A result can be repeated only with the settings of
        search.engine.process.prepare_process.
        """
        torch.manual_seed(self.seed)
        model = build_model(self.arch).to(training_device())
        return train(
            model,
            data,
            self.recipe,
            on_epoch,
            seed=self.seed,
            engine=self.engine,
            keep_best=self.score_rule == "best",
            every_epoch=self.every_epoch,
            metric=self.metric,
            on_batch=on_batch,
            n_threads=n_threads,
        )

    def run_with_reports(
        self,
        data: Dataset,
        trial: int,
        send: OnReport,
        on_epoch: OnEpoch | None = None,
        n_threads: NThreads = torch.get_num_threads,
    ) -> TrainResult:
        """Train as `run` does, and send reports of the training as that of trial number `trial`."""
        reporter = Reporter(trial, self.recipe.epochs, send)

        def after_epoch(epoch: int, metrics: EpochMetrics) -> None:
            reporter.on_epoch(metrics.value(self.metric))
            if on_epoch:
                on_epoch(epoch, metrics)

        return self.run(data, after_epoch, reporter.on_batch, n_threads)

    def value(self, result: TrainResult) -> float:
        """Return the value of a result of this training, in [0, 1]."""
        return score(result.curve, self.score_rule, self.metric)

    def state(self, result: TrainResult) -> Mapping[str, Tensor]:
        """Return the weights that the value was scored with."""
        return result.best_state if self.score_rule == "best" else result.last_state

    def answers(self, result: TrainResult) -> Tensor:
        """Return the predicted class of each scored image, shape (N,), with the weights of `state`."""
        return result.best_answers if self.score_rule == "best" else result.last_answers


class RecordedTraining:
    """Trainer that records each training with a trial.

    It is picklable, so that every worker process can have its own. Data that is not shared is loaded on first use.

    weights_dir  folder that weights are written to; None keeps none
    on_report    called with reports of the training in progress, from this process
    n_threads    returns the number of threads that a training may use at the moment
    """

    def __init__(self, weights_dir: Path | None = None) -> None:
        self.weights_dir = weights_dir
        self.on_report: OnReport = ignore_report
        self.n_threads: NThreads = torch.get_num_threads
        self._data: dict[DataConfig, Dataset] = {}

    def data(self, config: DataConfig) -> Dataset:
        """Return the data set, which is read only once."""
        if config not in self._data:
            self._data[config] = load_dataset(config)
        return self._data[config]

    def share(self, config: DataConfig, data: Dataset | None = None) -> Dataset:
        """Keep a data set, `data` if that is loaded already, in memory that worker processes map, and return it."""
        self._data[config] = shared(data or self.data(config))
        return self._data[config]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker process gets: of the data sets those in shared memory, without the paths of files."""
        data = {config: replace(data, files=()) for config, data in self._data.items() if is_shared(data)}
        return self.__dict__ | {"_data": data}

    def train(
        self, trial: optuna.Trial, training: Training, data: Dataset, on_epoch: OnEpoch | None = None
    ) -> TrainResult:
        """Run a training and record it with the trial. Raises TrialFailedError if the training diverged."""
        record_training(trial, training.seed, engine_for(training_device(), training.engine))
        curve: list[dict[str, Any]] = []

        def record_epoch(epoch: int, metrics: EpochMetrics) -> None:
            curve.append(metrics.to_dict())
            if on_epoch:
                on_epoch(epoch, metrics)

        try:
            return training.run_with_reports(data, trial.number, self.on_report, record_epoch, self.n_threads)
        except TrainingDivergedError as error:
            record_diverged(trial, str(error), curve)
            raise TrialFailedError(str(error)) from error
        finally:
            record_curve(trial, curve)

    def keep_weights(self, number: int, state: Mapping[str, Tensor]) -> None:
        """Write the weights of trial `number`. The file is never incomplete."""
        if self.weights_dir is None:
            return
        self.weights_dir.mkdir(parents=True, exist_ok=True)
        path = weights_path(self.weights_dir, number)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        buffer = io.BytesIO()  # torch.save itself does not report a full disk
        torch.save(dict(state), buffer)
        try:
            partial.write_bytes(buffer.getvalue())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def weights_path(weights_dir: Path, number: int) -> Path:
    """Return the file with the weights that finished trial `number` was scored with."""
    return weights_dir / f"trial-{number:05d}.pt"
