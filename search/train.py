"""Train one network: data in memory, augmentation on whole batches, channels_last convolutions.

Usable without Optuna. All randomness comes from `seed`, so one thread on one machine gives the same result every time.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone knows it by)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.record import Record
from search.augment import augment
from search.config import RecipeConfig
from search.data import Dataset, Split

EVALUATION_BATCH = 1000


class TrainingDivergedError(RuntimeError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class EpochMetrics(Record):
    """What one epoch gave. Accuracies are in [0, 1]; `accuracy` is that on the scored split, after the epoch.

    The training figures are taken while the weights move, with augmentation and dropout on.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    accuracy: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """A finished training: the curve, and the weights after the last and the best epoch (the earliest of equals)."""

    curve: tuple[EpochMetrics, ...]
    last_state: dict[str, Tensor]
    best_state: dict[str, Tensor]
    seconds: float = field(compare=False)


def keep_freed_memory() -> None:
    """Stop glibc from returning each step's tensors to the system, which costs time; elsewhere do nothing."""
    trim_threshold, mmap_threshold, mebibyte = -1, -3, 1 << 20
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(mmap_threshold, 32 * mebibyte)  # the largest glibc accepts
    mallopt(trim_threshold, 512 * mebibyte)


def normalise(images: Tensor, data: Dataset) -> Tensor:
    """Images in [0, 1], (N, C, H, W), to zero mean and unit variance per channel over the training images."""
    mean = torch.tensor(data.mean, device=images.device).view(-1, 1, 1)
    std = torch.tensor(data.std, device=images.device).view(-1, 1, 1)
    return (images - mean) / std


@torch.inference_mode()
def predict(model: nn.Module, split: Split, data: Dataset) -> Tensor:
    """Logits (N, n_classes) in float32, in evaluation mode, whatever precision the training used.

    Plain contiguous float32 in fixed batches, so that an exported copy of the network repeats every figure exactly.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits = [
        model(normalise(images.to(device).float().div(255), data))
        for images in torch.split(split.images, EVALUATION_BATCH)
    ]
    model.train(was_training)
    return torch.cat(logits)


def evaluate(model: nn.Module, split: Split, data: Dataset) -> float:
    """Accuracy in [0, 1] on a split."""
    predictions = predict(model, split, data).argmax(1).cpu()
    return (predictions == split.labels).sum().item() / len(split)


def train(
    model: nn.Module,
    data: Dataset,
    recipe: RecipeConfig,
    on_epoch: Callable[[int, EpochMetrics], None] | None = None,
    *,
    seed: int = 0,
    bf16: bool = False,
) -> TrainResult:
    """Train `model` in place on data.train and score it on data.scored after every epoch.

    on_epoch(epoch, metrics), epochs counted from 1, may raise to stop the training. Raises TrainingDivergedError.

    bf16 runs the convolutions in bfloat16. Off by default: on MNIST it saved a tenth of the time and cost 0.14
    points of accuracy, the mean over three seeds (benchmarks/README.md).
    """
    started = time.perf_counter()
    trainer = _Trainer(model, data, recipe, seed, bf16)
    curve: list[EpochMetrics] = []
    best_state: dict[str, Tensor] = {}
    for epoch in range(1, recipe.epochs + 1):
        epoch_started = time.perf_counter()
        lr = trainer.lr
        train_loss, train_accuracy = trainer.run_epoch()
        if not math.isfinite(train_loss):
            raise TrainingDivergedError(f"the training loss became {train_loss} in epoch {epoch}")
        scored = trainer.scored_model()
        accuracy = evaluate(scored, data.scored, data)
        if accuracy > max((earlier.accuracy for earlier in curve), default=-1.0):
            best_state = _copy_state(scored)
        seconds = time.perf_counter() - epoch_started
        curve.append(EpochMetrics(epoch, train_loss, train_accuracy, accuracy, lr, seconds))
        if on_epoch:
            on_epoch(epoch, curve[-1])
    return TrainResult(tuple(curve), _copy_state(scored), best_state, time.perf_counter() - started)


class _Trainer:
    """What a training holds from step to step: data on the device, optimiser, schedules, average, generator."""

    def __init__(self, model: nn.Module, data: Dataset, recipe: RecipeConfig, seed: int, bf16: bool) -> None:
        self.model, self.data, self.recipe = model, data, recipe
        self.device = next(model.parameters()).device
        torch.manual_seed(seed)  # dropout draws from the global generator
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.optimizer = _make_optimizer(model, recipe)
        steps_per_epoch = sum(1 for _ in _batches(len(data.train), recipe.batch_size))
        self.step_schedule, self.epoch_schedule = _make_schedules(self.optimizer, recipe, steps_per_epoch)
        self.average = _make_average(model, recipe)
        self.bf16 = bf16
        self.images, self.labels = data.train.images.to(self.device), data.train.labels.to(self.device)
        # Kept apart from the trained model, which changes its memory format for speed.
        self._scored = self.average.module if self.average else deepcopy(model)
        model.to(memory_format=torch.channels_last)
        model.train()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def run_epoch(self) -> tuple[float, float]:
        """Once through the shuffled training images; mean loss and accuracy over them."""
        n_images = len(self.labels)
        order = torch.randperm(n_images, generator=self.generator, device=self.device)
        loss_sum = torch.zeros((), device=self.device)
        n_correct = torch.zeros((), device=self.device)
        n_seen = 0
        for batch in _batches(n_images, self.recipe.batch_size):
            index = order[batch]
            loss, correct = self._step(index)
            n_seen += len(index)
            loss_sum += loss
            n_correct += correct
        if self.epoch_schedule:
            self.epoch_schedule.step()
        return loss_sum.item() / n_seen, n_correct.item() / n_seen

    def _step(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step on the images of `index`; summed loss and number of correct answers."""
        pixels = self.images[index].float().div_(255)
        pixels = augment(pixels, self.recipe.augmentation, self.generator, self.data.mean)
        inputs = normalise(pixels, self.data).contiguous(memory_format=torch.channels_last)
        labels = self.labels[index]
        with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            logits = self.model(inputs).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.step_schedule:
            self.step_schedule.step()
        if self.average:
            self.average.update_parameters(self.model)
        return loss.detach() * len(labels), (logits.detach().argmax(1) == labels).sum()

    def scored_model(self) -> nn.Module:
        """The weights that count now, in a model of their own: the averaged ones where the recipe averages."""
        if not self.average:
            self._scored.load_state_dict(self.model.state_dict())
        return self._scored


def _batches(n_images: int, batch_size: int) -> Iterator[slice]:
    """Slices over a shuffled epoch. A last batch of one image is left out: batch norm cannot learn from it."""
    for start in range(0, n_images, batch_size):
        if n_images - start > 1:
            yield slice(start, start + batch_size)


def _make_optimizer(model: nn.Module, recipe: RecipeConfig) -> torch.optim.Optimizer:
    parameters = model.parameters()
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    adam = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    betas = (recipe.momentum, 0.999)
    return adam(parameters, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay, fused=True)


_Tensors = tuple[Tensor, ...] | list[Tensor]
_Scheduler = torch.optim.lr_scheduler.LRScheduler


def _make_schedules(
    optimizer: torch.optim.Optimizer, recipe: RecipeConfig, steps_per_epoch: int
) -> tuple[_Scheduler | None, _Scheduler | None]:
    """(scheduler to step after every batch, scheduler to step after every epoch); at most one is not None."""
    schedule = recipe.schedule
    if schedule.kind == "onecycle":
        total_steps = (schedule.epochs or recipe.epochs) * steps_per_epoch
        pct_start = schedule.pct_start
        if pct_start * total_steps == 1:  # a rise of no length, by which OneCycleLR would divide
            pct_start += 1e-6
        one_cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=recipe.lr,
            total_steps=total_steps,
            pct_start=pct_start,
            anneal_strategy=schedule.anneal,  # type: ignore[arg-type]
            cycle_momentum=schedule.cycle_momentum,
            base_momentum=schedule.base_momentum,
            max_momentum=schedule.max_momentum,
            div_factor=schedule.div_factor,
            final_div_factor=schedule.final_div_factor,
        )
        return one_cycle, None
    if schedule.kind == "step":
        return None, torch.optim.lr_scheduler.StepLR(optimizer, schedule.step_size, schedule.gamma)
    return None, None


def _make_average(model: nn.Module, recipe: RecipeConfig) -> AveragedModel | None:
    """The averaged copy that is scored; batch-norm statistics are averaged with the weights."""
    if not recipe.ema_decay:
        return None

    def average(averaged: _Tensors, current: _Tensors, n_averaged: Tensor | int) -> None:
        # The decay rises from 2/11 to its full value, or the first weights would weigh on short trainings.
        n = int(n_averaged)
        decay = min(recipe.ema_decay, (1 + n) / (10 + n))
        get_ema_multi_avg_fn(decay)(averaged, current, n_averaged)  # type: ignore[no-untyped-call]

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def _copy_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
