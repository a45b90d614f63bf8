"""Train one network, with the data in memory, augmentation of whole batches and this project's own kernels.

The module is usable without Optuna. All randomness comes from `seed`, so one machine gives the same result every time
if PyTorch's operators use one thread. The kernels may use any number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from models.recipe import RecipeConfig
from search.data.dataset import Dataset, Split
from search.engine.batch_norm import FEW_STEPS, estimate_statistics
from search.engine.inputs import inputs_of
from search.engine.metrics import EpochMetrics, balanced_accuracy, is_imbalanced
from search.engine.native import kernels
from search.engine.native.description import NoKernelError
from search.engine.native.scoring import NativeScorer, NativeStatistics
from search.engine.native.training import NativeTraining
from search.engine.process import subnormals_as_zero
from search.engine.torch_training import TorchTraining
from search.errors import InputError

EVALUATION_BATCH = 128  # few images, so that the activations stay in the processor's caches


class TrainingDivergedError(RuntimeError):
    """Error raised when the training loss becomes NaN or infinite."""


@dataclass(frozen=True)
class TrainResult:
    """Result of a training, with the scored epochs and the weights after the last and the best of them.

    best_state, best_answers  those of the best epoch, the earliest of equally good ones; empty unless requested
    last_answers              classes, (N,), that the weights of last_state give the scored images
    engine                    engine that the training ran on, "native" or "torch"
    """

    curve: tuple[EpochMetrics, ...]
    last_state: dict[str, Tensor]
    best_state: dict[str, Tensor]
    last_answers: Tensor = field(compare=False, repr=False)
    best_answers: Tensor = field(compare=False, repr=False)
    seconds: float = field(compare=False)
    engine: str = "torch"


def predict(model: nn.Module, split: Split, data: Dataset, n_threads: int = 1) -> Tensor:
    """Return the logits (N, n_classes) of a split in float32, in evaluation mode.

    The inputs are plain contiguous float32 in batches of a fixed size, so that an exported copy of the network repeats
    every figure exactly. `n_threads` batches are computed at a time, each as if it were alone.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    n_operator_threads = torch.get_num_threads()

    def logits_of(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(inputs_of(images.to(device), data))
            return logits

    batches = torch.split(split.images, EVALUATION_BATCH)
    if n_threads == 1:
        logits = [logits_of(images) for images in batches]
    else:
        # A new thread does not know the number of threads of PyTorch's operators.
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(n_operator_threads,)) as pool:
            logits = list(pool.map(logits_of, batches))
    model.train(was_training)
    with torch.inference_mode():
        return torch.cat(logits)


def evaluate(model: nn.Module, split: Split, data: Dataset) -> float:
    """Return the accuracy of the model on a split, in [0, 1]."""
    return _accuracy(_answers(predict(model, split, data)), split)


def _answers(logits: Tensor) -> Tensor:
    return logits.argmax(1).cpu()


def _accuracy(answers: Tensor, split: Split) -> float:
    return (answers == split.labels).sum().item() / len(split)


def _balanced_accuracy(answers: Tensor, split: Split, metric: str) -> float | None:
    """Return the balanced accuracy if the classes are imbalanced or `metric` requests it, else None."""
    is_needed = metric == "balanced_accuracy" or is_imbalanced(split.labels)
    return balanced_accuracy(answers, split.labels) if is_needed else None


def training_device() -> torch.device:
    """Return the device that networks are trained on: a CUDA card if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def engine_for(device: torch.device, engine: str = "auto") -> str:
    """Return the engine that `train` runs on: "native" (the C++ kernels; CPU only) or "torch" (PyTorch's operators).

    "auto" selects the kernels where they are available. Raises InputError if "native" is requested and not available.
    """
    if engine == "native" and (device.type != "cpu" or kernels.load() is None):
        reason = kernels.problem() or f"the device is {device.type}"
        raise InputError(f"the native engine cannot run here: {reason}; --engine torch needs no kernels")
    if engine == "auto":
        return "native" if device.type == "cpu" and kernels.load() is not None else "torch"
    return engine


def train(
    model: nn.Module,
    data: Dataset,
    recipe: RecipeConfig,
    on_epoch: Callable[[int, EpochMetrics], None] | None = None,
    *,
    seed: int = 0,
    engine: str = "auto",
    keep_best: bool = False,
    every_epoch: bool = True,
    metric: str = "accuracy",
    on_batch: Callable[[int, float], None] | None = None,
    n_threads: Callable[[], int] = torch.get_num_threads,
) -> TrainResult:
    """Train `model` in place on data.train and score it on data.scored after every epoch.

    on_epoch     called as on_epoch(epoch, metrics) with epochs counted from 1; it may raise to stop the training
    engine       as in `engine_for`
    keep_best    whether the result contains the weights of the best epoch
    every_epoch  False scores the model after the last epoch only, which is then the only one of the curve
    metric       metric that decides which epoch is the best, one of search.config.METRICS
    on_batch     called as on_batch(epoch, share) after every step, with the share of the epoch's images trained on
    n_threads    returns the number of threads that may be used at the moment, by the kernels and for scoring. It
                 changes no result, unlike the number of threads of PyTorch's operators, torch.get_num_threads()

    Raises TrainingDivergedError. The accuracy after the last epoch, and with keep_best after every epoch, is exactly
    that of `evaluate`. The native engine takes the others from its own forward pass, which may differ by rounding.
    After fewer than FEW_STEPS steps, scored and returned weights have the batch-norm statistics of the training images.
    """
    started = time.perf_counter()
    trainer = _Trainer(model, data, recipe, seed, engine, n_threads)
    curve: list[EpochMetrics] = []
    best_state: dict[str, Tensor] = {}
    answers = best_answers = torch.empty(0, dtype=torch.int64)
    for epoch in range(1, recipe.epochs + 1):
        epoch_started = time.perf_counter()
        lr = trainer.training.lr
        with subnormals_as_zero():
            train_loss, train_accuracy = trainer.training.run_epoch(partial(on_batch, epoch) if on_batch else None)
        if not math.isfinite(train_loss):
            raise TrainingDivergedError(f"the training loss became {train_loss} in epoch {epoch}")
        if not every_epoch and epoch < recipe.epochs:
            continue
        answers = trainer.answers(exact=keep_best or epoch == recipe.epochs)
        scores = (_accuracy(answers, data.scored), _balanced_accuracy(answers, data.scored, metric))
        seconds = time.perf_counter() - epoch_started
        curve.append(EpochMetrics(epoch, train_loss, train_accuracy, scores[0], lr, seconds, scores[1]))
        if keep_best and curve[-1].value(metric) > max((metrics.value(metric) for metrics in curve[:-1]), default=-1.0):
            best_state, best_answers = _copy_state(trainer.scored), answers
        if on_epoch:
            on_epoch(epoch, curve[-1])
    last_state = _copy_state(trainer.scored)
    seconds = time.perf_counter() - started
    return TrainResult(tuple(curve), last_state, best_state, answers, best_answers, seconds, trainer.engine)


class _Trainer:
    """A training on either engine, and the scoring of its weights."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        recipe: RecipeConfig,
        seed: int,
        engine: str,
        n_threads: Callable[[], int],
    ) -> None:
        self._data, self._n_threads = data, n_threads
        self._device = next(model.parameters()).device
        # A separate model, because the memory format of the trained model is changed for speed, and because new
        # batch-norm statistics must not enter the average.
        self.scored = deepcopy(model)
        self.training = _begin(model, data, recipe, seed, engine_for(self._device, engine), engine, n_threads)
        self.engine = self.training.engine
        self._scorer = NativeScorer(self.scored, data) if self.engine == "native" else None
        self._statistics: NativeStatistics | None = None

    def answers(self, *, exact: bool) -> Tensor:
        """Return the classes, (N,), that the averaged weights, or else the trained ones, give the scored images.

        exact: return the classes of `predict` and not those of the engine.
        """
        self.scored.load_state_dict(self.training.weights.state_dict())
        if self.training.n_steps < FEW_STEPS:
            self._measure_statistics()
        if exact or self._scorer is None:
            n_threads = self._n_threads() if self._device.type == "cpu" else 1
            return _answers(predict(self.scored, self._data.scored, self._data, n_threads))
        return self._scorer.answers(self._n_threads())

    def _measure_statistics(self) -> None:
        """Replace the running statistics of batch norm by those of the training images."""
        if self.engine != "native":
            images = self._data.train.images.to(self._device)
            estimate_statistics(self.scored, images, lambda images: inputs_of(images, self._data))
            return
        if self._statistics is None:
            self._statistics = NativeStatistics(self.scored, self._data)
        self._statistics.measure()


def _begin(
    model: nn.Module,
    data: Dataset,
    recipe: RecipeConfig,
    seed: int,
    engine: str,
    requested: str,
    n_threads: Callable[[], int],
) -> NativeTraining | TorchTraining:
    """Return a training on `engine`, or on PyTorch's if the network has a module without a kernel.

    Raises InputError if such a network is `requested` to train on the kernels.
    """
    if engine == "native":
        try:
            return NativeTraining(model, data, recipe, seed, n_threads)
        except NoKernelError as error:
            if requested == "native":
                raise InputError(
                    f"the native engine cannot train this network: {error}; --engine torch needs no kernels"
                ) from error
    return TorchTraining(model, data, recipe, seed)


def _copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state_dict on the CPU; shared parameters stay one tensor under several names."""
    state = model.state_dict(keep_vars=True)
    copies = {tensor: tensor.detach().cpu().clone() for tensor in state.values()}
    return {name: copies[tensor] for name, tensor in state.items()}
