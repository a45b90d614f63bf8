"""Epochs of a training on PyTorch's operators, on the processor or on a CUDA card."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's customary name)

from models.recipe import RecipeConfig
from search.data.dataset import Dataset
from search.engine.augment import augment
from search.engine.cuda_graph import CudaGraphSGD, CudaGraphStep, StepFunction
from search.engine.inputs import batches, normalise, per_channel
from search.engine.optimizers import MovingAverage, make_optimizer, make_schedules


class TorchTraining:
    """State that a training keeps between steps: data on the device, optimizer, schedules, average, generator.

    n_steps   number of steps taken
    """

    engine = "torch"

    def __init__(self, model: nn.Module, data: Dataset, recipe: RecipeConfig, seed: int) -> None:
        self._model, self._data, self._recipe = model, data, recipe
        self._device = next(model.parameters()).device
        torch.manual_seed(seed)  # dropout draws from the global generator
        self._generator = torch.Generator(self._device).manual_seed(seed)
        # Only the step of SGD can be recorded with a momentum that changes.
        cuda_graph = self._device.type == "cuda" and recipe.optimizer == "sgd"
        self._average = MovingAverage(model, recipe.ema_decay, cuda_graph=cuda_graph) if recipe.ema_decay else None
        self.n_steps = 0
        model.to(memory_format=torch.channels_last)
        self._optimizer = make_optimizer(model, recipe, cuda_graph=cuda_graph)
        steps_per_epoch = sum(1 for _ in batches(len(data.train), recipe.batch_size))
        self._step_schedule, self._epoch_schedule = make_schedules(self._optimizer, recipe, steps_per_epoch)
        self._images, self._labels = data.train.images.to(self._device), data.train.labels.to(self._device)
        self._run: StepFunction = self._step
        if cuda_graph:
            self._run = CudaGraphStep(self._step, recipe.batch_size, self._generator)

    @property
    def lr(self) -> float:
        """Return the learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def weights(self) -> nn.Module:
        """Return the model with the averaged weights, or else the trained one."""
        return self._average.model if self._average else self._model

    def run_epoch(self, on_batch: Callable[[float], None] | None = None) -> tuple[float, float]:
        """Train once on all shuffled training images and return the mean loss and accuracy over them."""
        self._model.train()
        n_images = len(self._labels)
        order = torch.randperm(n_images, generator=self._generator, device=self._device)
        loss_sum = torch.zeros((), device=self._device)
        n_correct = torch.zeros((), device=self._device)
        n_seen = 0
        for batch in batches(n_images, self._recipe.batch_size):
            index = order[batch]
            if self._average:
                self._average.advance()
            if isinstance(self._optimizer, CudaGraphSGD):
                self._optimizer.refresh()
            loss, correct = self._run(index)
            self.n_steps += 1
            if self._step_schedule:
                self._step_schedule.step()
            n_seen += len(index)
            loss_sum += loss
            n_correct += correct
            if on_batch:
                on_batch(n_seen / n_images)
        if self._epoch_schedule:
            self._epoch_schedule.step()
        return loss_sum.item() / n_seen, n_correct.item() / n_seen

    def _step(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step on the images of `index` and return the summed loss and the number of correct answers.

        The step can be recorded as a CUDA graph, because it copies nothing from or to the host.
        """
        pixels = self._images.index_select(0, index).float().div_(255)
        mean = per_channel(self._data.mean, self._device)
        pixels = augment(pixels, self._recipe.augmentation, self._generator, mean)
        labels = self._labels[index]
        inputs = normalise(pixels, self._data).contiguous(memory_format=torch.channels_last)
        logits = self._model(inputs)
        loss = F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._average:
            self._average.update()
        return loss.detach() * len(labels), (logits.detach().argmax(1) == labels).sum()
