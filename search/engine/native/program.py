"""Programs: descriptions of networks with memory for one batch, which the kernels run without Python in between.

The weights, running statistics and parameters stay in the tensors of the model, which the program reads and writes.
Activations and gradients are allocated once. A program that only scores needs no gradients and uses the memory of a
value again after its last reader.

A batch is stored in blocks of as many images as a vector register has lanes, as
(blocks, channels, height, width, lanes); native/vectors.hpp explains it.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from search.engine.native import kernels
from search.engine.native import structures as c
from search.engine.native.description import Operation, Read, describe
from search.engine.native.fusion import kernel_of
from search.engine.native.images import NativeImages
from search.engine.native.memory import allocate, allocate_in_turn
from search.errors import FailureError


class Program:
    """Network that runs on the kernels, for batches of at most `batch_size` images.

    training        whether batch norm uses the statistics of the batch and dropout drops, and gradients are computed
    measuring       whether batch norm uses the statistics of the batch, and keeps them alone as its running ones
    input_gradient  whether `backward` also computes the gradient of the input

    `gradients` has the gradients of the parameters, by parameter. Raises NoKernelError if a module of the network has
    no kernel, RuntimeError if there are no kernels, and FailureError if memory runs out.
    """

    def __init__(
        self,
        model: nn.Module,
        input_shape: tuple[int, int, int],
        batch_size: int,
        *,
        training: bool,
        measuring: bool = False,
        input_gradient: bool = False,
    ) -> None:
        library = kernels.load()
        if library is None:
            raise RuntimeError(f"no kernels: {kernels.problem()}")
        self.library = library
        self.description = describe(model, input_shape)
        self._training, self._measuring, self._input_gradient = training, measuring, input_gradient
        self._lanes: int = library.lanes()
        self._batch_size = batch_size
        self._blocks = -(-batch_size // self._lanes)
        self._parameters = list(model.parameters())
        self.sums = self._allocate_sums()
        sizes = [parameter.numel() for parameter in self._parameters]
        parts = torch.split(self.sums[: sum(sizes)], sizes)
        self.gradients: dict[Tensor, Tensor] = {
            p: part.view_as(p) for p, part in zip(self._parameters, parts, strict=True)
        }
        self._maps = self._allocate_maps()
        self._handle = self._create()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.library.program_delete(self._handle)

    @property
    def handle(self) -> int:
        """Return the address of the program for the kernels."""
        return self._handle

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of the output for one image: (C, H, W), or (values,) if it is flattened."""
        maps = self.description.values[-1]
        return (maps.size,) if self.description.is_flat else (maps.channels, maps.height, maps.width)

    def forward(self, x: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Return the network's output for images (N, C, H, W) float32; seeds: (dropouts,) int64, of dropout."""
        self._n_images = len(x)
        self._to_blocks(x, self._maps[0])
        self.run(len(x), seeds)
        return self._from_blocks(self._maps[-1]).view(len(x), *self.output_shape)

    def run(self, n_images: int, seeds: Tensor | None = None) -> None:
        """Run the network on the images that its input holds; seeds: (dropouts,) int64, of dropout."""
        self.library.program_forward(self._handle, n_images, _address(seeds), torch.get_num_threads())

    def read(self, images: NativeImages, index: Tensor, changes: Tensor | None = None) -> Tensor:
        """Read images to the input of the program and return them as (N, C, H, W) float32."""
        self._n_images = len(index)
        self.library.images_read(
            ctypes.byref(images.structure),
            _address(index),
            _address(changes),
            len(index),
            _address(self._maps[0]),
            torch.get_num_threads(),
        )
        return self._from_blocks(self._maps[0])

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Compute `gradients` from the gradient of the last output; return that of the input if it was requested."""
        self.sums.zero_()
        maps = self.description.values[-1]
        self._to_blocks(gradient.reshape(-1, maps.channels, maps.height, maps.width), self._gradients[-1])
        self.library.program_backward(self._handle, torch.get_num_threads())
        return self._from_blocks(self._gradients[0]) if self._input_gradient else None

    def _to_blocks(self, x: Tensor, blocks: Tensor) -> None:
        """Copy (N, C, H, W) to blocks, with zeros in idle lanes."""
        padded = x.new_zeros(-(-len(x) // self._lanes) * self._lanes, *x.shape[1:])
        padded[: len(x)] = x
        shape = (-1, self._lanes, *x.shape[1:])
        blocks[: padded.numel()].view(-1, *x.shape[1:], self._lanes).copy_(padded.view(shape).permute(0, 2, 3, 4, 1))

    def _from_blocks(self, blocks: Tensor) -> Tensor:
        """Return a copy of blocks as (N, C, H, W)."""
        number = next(i for i, maps in enumerate((*self._maps, *self._gradients)) if maps is blocks)
        maps = self.description.values[number % len(self._maps)]
        images = blocks.view(self._blocks, maps.channels, maps.height, maps.width, self._lanes)
        return images.permute(0, 4, 1, 2, 3).flatten(0, 1)[: self._n_images].contiguous()

    def _allocate_sums(self) -> Tensor:
        """Return memory for all that is added to in a step: gradients of parameters and of the norms' statistics."""
        norms = [maps.norm for maps in self.description.values if maps.norm]
        sizes = [parameter.numel() for parameter in self._parameters]
        # A norm without a weight has a gradient that nothing reads.
        return torch.zeros(sum(sizes) + sum(3 * norm.num_features for norm in norms))

    def _allocate_maps(self) -> list[Tensor]:
        """Return the memory of every value; also allocate that of gradients and of results before an activation."""
        values, operations = self.description.values, self.description.operations
        sizes = [maps.size * self._blocks * self._lanes for maps in values]
        readers = {read.value: i for i, operation in enumerate(operations) for read in operation.inputs}
        if self._training:
            maps = allocate(sizes)
            # The gradient of a value is needed from its last reader, the first in the backward pass, to its operation.
            outputs = {operation.output: i for i, operation in enumerate(operations)}
            n = len(operations)
            ends = [n - 1 - outputs[number] if number else n for number in range(len(values))]
            starts = [n - 1 - readers.get(number, n) for number in range(len(values))]
            self._gradients = allocate_in_turn(sizes, starts, ends)
            self._unactivated = allocate([sizes[op.output] if op.activation else 0 for op in operations])
            return maps
        starts = [-1, *(i for i, _ in enumerate(operations))]
        maps = allocate_in_turn(sizes, starts, [readers.get(number, len(operations)) for number in range(len(values))])
        self._gradients = []
        self._unactivated = [maps[operation.output] for operation in operations]
        return maps

    def _create(self) -> int:
        values = (c.Value * len(self._maps))(*self._values())
        operations = (c.Operation * len(self.description.operations))(*self._operations())
        handle = self.library.program_new(operations, len(operations), values, len(values))
        if not handle:
            raise FailureError(kernels.OUT_OF_MEMORY)
        return int(handle)

    def _values(self) -> list[c.Value]:
        structures, position = [], sum(parameter.numel() for parameter in self._parameters)
        self._kept: list[Tensor] = []  # memory that only the kernels refer to
        for number, maps in enumerate(self.description.values):
            structure = c.Value(_address(self._maps[number]))
            if self._training and (number or self._input_gradient):
                structure.gradients = _address(self._gradients[number])
            if norm := maps.norm:
                dstatistics, unused = self.sums[position:], self.sums[position + 2 * maps.channels :]
                position += 3 * maps.channels
                weight = torch.ones(maps.channels) if norm.weight is None else norm.weight
                statistics = torch.empty(2, maps.channels)
                self._kept += [weight, statistics]
                structure.statistics, structure.dstatistics = _address(statistics), _address(dstatistics)
                structure.gamma, structure.beta = _address(weight), _address(norm.bias)
                structure.dgamma = _address(unused if norm.weight is None else self.gradients[norm.weight])
                structure.dbeta = _address(self.gradients[norm.bias])
            structures.append(structure)
        return structures

    def _operations(self) -> list[c.Operation]:
        uses = self._gradient_uses()
        return [self._operation(i, operation, uses) for i, operation in enumerate(self.description.operations)]

    def _gradient_uses(self) -> dict[tuple[int, int], int]:
        """Return by (operation, input) whether the backward pass writes the input's gradient, or adds to it."""
        uses, written = {}, set()
        for i, operation in reversed([*enumerate(self.description.operations)]):
            for j, read in enumerate(operation.inputs):
                is_needed = self._training and (read.value > 0 or self._input_gradient)
                uses[i, j] = (c.ADD if read.value in written else c.WRITE) if is_needed else c.NO_GRADIENT
                written.add(read.value)
        return uses

    def _operation(self, number: int, operation: Operation, uses: dict[tuple[int, int], int]) -> c.Operation:
        structure = c.Operation(operation.kind, operation.output)
        for j, read in enumerate(operation.inputs):
            dropout = read.dropout if self._training else -1
            structure.inputs[j] = c.Input(read.value, uses[number, j], dropout)
        if len(operation.inputs) == 1:
            structure.inputs[1] = c.Input(0, c.NO_GRADIENT, -1)
        structure.second_reading = self._reading(operation.inputs[-1], operation)
        structure.layer = self._layer(operation)
        for name, tensor in (
            ("weight", operation.weight),
            ("bias", operation.bias),
            ("depthwise", _weight(operation.depthwise)),
        ):
            if tensor is not None:
                setattr(structure, name, _address(tensor))
                setattr(structure, f"d{name}", _address(self.gradients[tensor]))
        if norm := operation.norm:
            structure.running_mean, structure.running_var = _address(norm.running_mean), _address(norm.running_var)
        structure.unactivated = _address(self._unactivated[number])
        return structure

    def _layer(self, operation: Operation) -> c.Layer:
        norm = operation.norm
        uses_batch = self._training or self._measuring
        return c.Layer(
            input=self._reading(operation.inputs[0], operation),
            out_channels=self.description.values[operation.output].channels,
            groups=operation.groups,
            shuffled=operation.is_shuffled,
            depthwise=kernel_of(operation.depthwise) if operation.depthwise else c.Kernel(stride=1),
            kernel=operation.kernel or c.Kernel(1, 1, 0, 1),
            activation=operation.activation,
            slope=operation.slope,
            batch_norm=c.NO_NORM if norm is None else c.BATCH_NORM if uses_batch else c.RUNNING_NORM,
            epsilon=norm.eps if norm else 0.0,
            momentum=1.0 if self._measuring else (norm.momentum or 0.0) if norm else 0.0,
        )

    def _reading(self, read: Read, operation: Operation) -> c.Reading:
        maps = self.description.values[read.value]
        return c.Reading(
            images=self._batch_size,
            channels=maps.channels,
            height=maps.height,
            width=maps.width,
            norm=maps.norm is not None,
            activation=read.activation,
            pool=read.pool,
            mean_pool=read.mean_pool,
            average=operation.average,
            slope=read.slope,
            drop=read.drop if self._training else 0.0,
        )


def _weight(conv: nn.Conv2d | None) -> Tensor | None:
    return None if conv is None else conv.weight


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
