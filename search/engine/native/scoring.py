"""Run networks forward on the kernels: score images, and measure the statistics of batch norm."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from models.recipe import Augmentation
from search.data.dataset import Dataset
from search.engine.batch_norm import measured_batches, norms_of
from search.engine.native.images import NativeImages
from search.engine.native.program import Program

# Images that are scored at a time; few, so that the activations stay in the processor's caches.
EVALUATION_BATCH = 32


class NativeScorer:
    """Network on the kernels in evaluation mode, which scores images with the present weights of `model`."""

    def __init__(self, model: nn.Module, data: Dataset) -> None:
        self._program = Program(model, data.input_shape, EVALUATION_BATCH, training=False)
        self._images = NativeImages(data.scored, data, Augmentation())
        self._order = torch.arange(len(data.scored))

    def answers(self, n_threads: int) -> Tensor:
        """Return the classes, (N,), of the images."""
        answers = torch.zeros_like(self._order)
        self._program.library.program_answers(
            self._program.handle,
            ctypes.byref(self._images.structure),
            self._order.data_ptr(),
            len(self._order),
            EVALUATION_BATCH,
            answers.data_ptr(),
            n_threads,
        )
        return answers


class NativeStatistics:
    """Network on the kernels that replaces the running statistics of `model`, as batch_norm.estimate_statistics does.

    A batch stores its statistics alone, of which the mean over all batches is taken.
    """

    def __init__(self, model: nn.Module, data: Dataset) -> None:
        self._norms = norms_of(model)
        self._batches = measured_batches(len(data.train))
        self._images = NativeImages(data.train, data, Augmentation())
        largest = max(map(len, self._batches))
        self._program = Program(model, data.input_shape, largest, training=False, measuring=True)

    def measure(self) -> None:
        """Replace the running statistics by those of the training images with the present weights."""
        means = [[torch.zeros_like(tensor) for tensor in _statistics(norm)] for norm in self._norms]
        for index in self._batches:
            self._program.read(self._images, index)
            self._program.run(len(index))
            for norm, sums in zip(self._norms, means, strict=True):
                for total, tensor in zip(sums, _statistics(norm), strict=True):
                    total.add_(tensor, alpha=1 / len(self._batches))
        for norm, sums in zip(self._norms, means, strict=True):
            for total, tensor in zip(sums, _statistics(norm), strict=True):
                tensor.copy_(total)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.fill_(len(self._batches))


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
