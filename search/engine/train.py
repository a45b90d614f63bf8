"""Train one network, with the data in memory, augmentation of whole batches and this project's own kernels.

The module is usable without Optuna. All randomness comes from `seed`, so one thread on one machine gives the same
result every time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's customary name)

from models.recipe import RecipeConfig
from search.data.dataset import Dataset, Split
from search.engine.augment import augment
from search.engine.batch_norm import FEW_STEPS, estimate_statistics
from search.engine.cuda_graph import CudaGraphSGD, CudaGraphStep, StepFunction
from search.engine.metrics import EpochMetrics, balanced_accuracy, is_imbalanced
from search.engine.native import kernels
from search.engine.native.network import NativeNetwork
from search.engine.optimizers import MovingAverage, make_optimizer, make_schedules
from search.engine.process import subnormals_as_zero
from search.errors import InputError

# A module, or an object that runs one.
Network = Callable[[Tensor], Tensor]

EVALUATION_BATCH = 128  # small, so that the activations stay in the processor's caches


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


def normalise(images: Tensor, data: Dataset) -> Tensor:
    """Scale images in [0, 1], (N, C, H, W), to zero mean and unit variance per channel over the training images."""
    return (images - _per_channel(data.mean, images.device)) / _per_channel(data.std, images.device)


@cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return `values` as (C, 1, 1) on the device, created only once, as a recorded step cannot copy from the host."""
    with torch.inference_mode(False):  # training cannot use a tensor that was created in inference mode
        return torch.tensor(values, device=device).view(-1, 1, 1)


@torch.inference_mode()
def predict(model: nn.Module, split: Split, data: Dataset) -> Tensor:
    """Return the logits (N, n_classes) of a split in float32, in evaluation mode.

    The inputs are plain contiguous float32 in batches of a fixed size, so that an exported copy of the network repeats
    every figure exactly.
    """
    was_training = model.training
    model.eval()
    logits = _logits(model, split, data, next(model.parameters()).device)
    model.train(was_training)
    return logits


def evaluate(model: nn.Module, split: Split, data: Dataset) -> float:
    """Return the accuracy of the model on a split, in [0, 1]."""
    return _accuracy(_answers(predict(model, split, data)), split)


def _logits(network: Network, split: Split, data: Dataset, device: torch.device) -> Tensor:
    batches = torch.split(split.images, EVALUATION_BATCH)
    return torch.cat([network(_inputs(images.to(device), data)) for images in batches])


def _inputs(images: Tensor, data: Dataset) -> Tensor:
    return normalise(images.float().div(255), data)


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
) -> TrainResult:
    """Train `model` in place on data.train and score it on data.scored after every epoch.

    on_epoch     called as on_epoch(epoch, metrics) with epochs counted from 1; it may raise to stop the training
    engine       as in `engine_for`
    keep_best    whether the result contains the weights of the best epoch
    every_epoch  False scores the model after the last epoch only, which is then the only one of the curve
    metric       metric that decides which epoch is the best, one of search.config.METRICS
    on_batch     called as on_batch(epoch, share) after every step, with the share of the epoch's images trained on

    Raises TrainingDivergedError. The accuracy after the last epoch, and with keep_best after every epoch, is exactly
    that of `evaluate`. The native engine takes the others from its own forward pass, which may differ by rounding.
    After fewer than FEW_STEPS steps, scored and returned weights have the batch-norm statistics of the training images.
    """
    started = time.perf_counter()
    trainer = _Trainer(model, data, recipe, seed, engine)
    curve: list[EpochMetrics] = []
    best_state: dict[str, Tensor] = {}
    answers = best_answers = torch.empty(0, dtype=torch.int64)
    for epoch in range(1, recipe.epochs + 1):
        epoch_started = time.perf_counter()
        lr = trainer.lr
        with subnormals_as_zero():
            train_loss, train_accuracy = trainer.run_epoch(partial(on_batch, epoch) if on_batch else None)
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
    """State that a training keeps between steps: data on the device, optimizer, schedules, average, generator."""

    def __init__(self, model: nn.Module, data: Dataset, recipe: RecipeConfig, seed: int, engine: str) -> None:
        self.model, self.data, self.recipe = model, data, recipe
        self.device = next(model.parameters()).device
        self.engine = engine_for(self.device, engine)
        torch.manual_seed(seed)  # dropout draws from the global generator
        self.generator = torch.Generator(self.device).manual_seed(seed)
        # Only the step of SGD can be recorded with a momentum that changes.
        cuda_graph = self.device.type == "cuda" and recipe.optimizer == "sgd"
        self.average = MovingAverage(model, recipe.ema_decay, cuda_graph=cuda_graph) if recipe.ema_decay else None
        # A separate model, because the memory format of the trained model is changed for speed, and because new
        # batch-norm statistics must not enter the average.
        self.scored = deepcopy(model)
        self._n_steps = 0
        self._network: Network = model
        self._scored_network: Network = self.scored
        if self.engine == "native":
            self._network, self._scored_network = NativeNetwork(model), NativeNetwork(self.scored)
        else:
            model.to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(model, recipe, cuda_graph=cuda_graph)
        steps_per_epoch = sum(1 for _ in _batches(len(data.train), recipe.batch_size))
        self.step_schedule, self.epoch_schedule = make_schedules(self.optimizer, recipe, steps_per_epoch)
        self.images, self.labels = data.train.images.to(self.device), data.train.labels.to(self.device)
        self._run: StepFunction = self._step
        if cuda_graph:
            self._run = CudaGraphStep(self._step, recipe.batch_size, self.generator)

    @property
    def lr(self) -> float:
        """Return the learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def run_epoch(self, on_batch: Callable[[float], None] | None = None) -> tuple[float, float]:
        """Train once on all shuffled training images and return the mean loss and accuracy over them."""
        self.model.train()
        n_images = len(self.labels)
        order = torch.randperm(n_images, generator=self.generator, device=self.device)
        loss_sum = torch.zeros((), device=self.device)
        n_correct = torch.zeros((), device=self.device)
        n_seen = 0
        for batch in _batches(n_images, self.recipe.batch_size):
            index = order[batch]
            if self.average:
                self.average.advance()
            if isinstance(self.optimizer, CudaGraphSGD):
                self.optimizer.refresh()
            loss, correct = self._run(index)
            self._n_steps += 1
            if self.step_schedule:
                self.step_schedule.step()
            n_seen += len(index)
            loss_sum += loss
            n_correct += correct
            if on_batch:
                on_batch(n_seen / n_images)
        if self.epoch_schedule:
            self.epoch_schedule.step()
        return loss_sum.item() / n_seen, n_correct.item() / n_seen

    def _step(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step on the images of `index` and return the summed loss and the number of correct answers.

        The step can be recorded as a CUDA graph, because it copies nothing from or to the host.
        """
        pixels = self.images.index_select(0, index).float().div_(255)
        pixels = augment(pixels, self.recipe.augmentation, self.generator, _per_channel(self.data.mean, self.device))
        labels = self.labels[index]
        inputs = normalise(pixels, self.data)
        if self.engine == "torch":
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        logits = self._network(inputs)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.average:
            self.average.update()
        return loss.detach() * len(labels), (logits.detach().argmax(1) == labels).sum()

    def answers(self, *, exact: bool) -> Tensor:
        """Return the classes, (N,), that the averaged weights, or else the trained ones, give the scored images.

        exact: return the classes of `predict` and not those of the engine.
        """
        self.scored.load_state_dict((self.average.model if self.average else self.model).state_dict())
        if self._n_steps < FEW_STEPS:
            estimate_statistics(self.scored, self.images, lambda images: _inputs(images, self.data))
        if exact or self.engine == "torch":
            return _answers(predict(self.scored, self.data.scored, self.data))
        self.scored.eval()
        with torch.inference_mode():
            logits = _logits(self._scored_network, self.data.scored, self.data, self.device)
        return _answers(logits)


def _batches(n_images: int, batch_size: int) -> Iterator[slice]:
    """Yield the slices of an epoch, without a last batch of one image, which batch norm cannot learn from."""
    for start in range(0, n_images, batch_size):
        if n_images - start > 1:
            yield slice(start, start + batch_size)


def _copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state_dict on the CPU; shared parameters stay one tensor under several names."""
    state = model.state_dict(keep_vars=True)
    copies = {tensor: tensor.detach().cpu().clone() for tensor in state.values()}
    return {name: copies[tensor] for name, tensor in state.items()}
