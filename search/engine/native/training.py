"""Epochs of a training on the kernels, with one call for every step.

The random numbers of an epoch are drawn before it: the order of the images, their changes and the seeds of dropout. A
step then reads its images, runs the network forward and backward, takes the step of the optimizer and moves the
averaged weights without returning to Python. Only SOAP returns once in a while, for PyTorch's eigenvectors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.recipe import RecipeConfig
from search.data.dataset import Dataset
from search.engine.draws import draw
from search.engine.inputs import batches
from search.engine.native import structures as c
from search.engine.native.description import NoKernelError
from search.engine.native.images import NativeImages
from search.engine.native.optimizer import NativeOptimizer
from search.engine.native.program import Program
from search.engine.native.threads import ThreadChoice
from search.engine.optimizers import MovingAverage, ScheduledSettings, make_schedules

# Settings of a step, fields of struct Training of native/training.cpp.
SETTINGS = ("lr", "momentum", "average_weight")


class NativeTraining:
    """State that a training keeps between steps, for models whose modules all have kernels.

    n_threads  returns the number of threads that a step may use at the moment
    n_steps    number of steps taken

    Raises NoKernelError if a module has no kernel or the model returns no logits.
    """

    engine = "native"

    def __init__(
        self, model: nn.Module, data: Dataset, recipe: RecipeConfig, seed: int, n_threads: Callable[[], int]
    ) -> None:
        self._model, self._data, self._recipe = model, data, recipe
        self._program = Program(model, data.input_shape, recipe.batch_size, training=True)
        if self._program.output_shape != (data.n_classes,):
            raise NoKernelError(f"the network returns {self._program.output_shape} for {data.n_classes} classes")
        torch.manual_seed(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._average = MovingAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        self._norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        self._batches = list(batches(len(data.train), recipe.batch_size))
        self._settings = ScheduledSettings(recipe)
        self._step_schedule, self._epoch_schedule = make_schedules(self._settings, recipe, len(self._batches))
        self._images = NativeImages(data.train, data, recipe.augmentation)
        self.threads = ThreadChoice(n_threads)
        self.n_steps = 0
        pairs = self._average.pairs if self._average else []
        self._optimizer = NativeOptimizer(self._program.gradients, recipe, pairs)
        self._structure = c.Training(
            program=self._program.handle,
            images=self._images.structure,
            optimizer=self._optimizer.structure,
            sums=self._program.sums.data_ptr(),
            n_sums=len(self._program.sums),
            n_images=len(data.train),
            batch_size=recipe.batch_size,
            n_seeds=self._program.description.n_dropouts,
            smoothing=recipe.label_smoothing,
        )

    @property
    def lr(self) -> float:
        """Return the learning rate of the next step."""
        return self._settings.current[0]

    @property
    def weights(self) -> nn.Module:
        """Return the model with the averaged weights, or else the trained one."""
        return self._average.model if self._average else self._model

    def run_epoch(self, on_batch: Callable[[float], None] | None = None) -> tuple[float, float]:
        """Train once on all shuffled training images and return the mean loss and accuracy over them."""
        self._model.train()
        n_images, n_steps = len(self._data.train), len(self._batches)
        settings = self._schedule_epoch()
        tensors = self._draw_epoch() | settings
        tensors |= {
            "losses": torch.zeros(n_steps, dtype=torch.float64),
            "correct": torch.zeros(n_steps, dtype=torch.int64),
        }
        for name, tensor in tensors.items():
            setattr(self._structure, name, tensor.data_ptr())
        self._structure.n_steps_before = self.n_steps
        for step, batch in enumerate(self._batches):
            self._take_step(step, settings)
            if on_batch:
                on_batch(min(batch.stop, n_images) / n_images)
        self.n_steps += n_steps
        for norm in self._norms:
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(n_steps)
        n_seen = min(self._batches[-1].stop, n_images)
        return float(tensors["losses"].sum()) / n_seen, float(tensors["correct"].sum()) / n_seen

    def _take_step(self, step: int, settings: dict[str, Tensor]) -> None:
        number = self.n_steps + step + 1
        whole = not self._optimizer.needs_basis(number)
        training_step = self._program.library.training_step
        self.threads.run(lambda n_threads: training_step(ctypes.byref(self._structure), step, whole, n_threads))
        if not whole:
            lr, momentum, weight = (float(settings[name][step]) for name in SETTINGS)
            self._optimizer.step(lr, momentum, number, weight)

    def _draw_epoch(self) -> dict[str, Tensor]:
        """Draw the random numbers of an epoch, those of the changes batch by batch, as PyTorch's engine draws them."""
        n_images = len(self._data.train)
        order = torch.randperm(n_images, generator=self._generator)
        size = self._data.input_shape[1:]
        augmentation = self._recipe.augmentation
        parts = [draw(augmentation, len(order[batch]), size, self._generator) for batch in self._batches]
        changes = self._images.changes({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
        n_seeds = self._program.description.n_dropouts
        # Drawn from the generator that PyTorch's dropout uses.
        seeds = torch.randint(1 << 62, (len(self._batches), n_seeds))
        return {"order": order, "seeds": seeds} | ({} if changes is None else {"changes": changes})

    def _schedule_epoch(self) -> dict[str, Tensor]:
        """Return the learning rate, the momentum and the weight of the average of every step of an epoch."""
        rows = []
        for _ in self._batches:
            rows.append((*self._settings.current, self._average.advance() if self._average else 0.0))
            self._settings.step()
            if self._step_schedule:
                self._step_schedule.step()
        if self._epoch_schedule:
            self._epoch_schedule.step()
        columns = torch.tensor(rows, dtype=torch.float64).T.contiguous()
        return dict(zip(SETTINGS, columns, strict=True))
