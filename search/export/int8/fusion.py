"""Group the steps of an integer network into operations, each of which one call of a C function computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search.export.int8.network import (
    Add,
    Affine,
    AveragePool,
    Classify,
    Convolution,
    Int8Array,
    Int8Network,
    MaxPool,
    Mean,
    ReadImage,
    Scale,
    Step,
    Table,
)


@dataclass(frozen=True, eq=False)
class Operation:
    """Step of the network together with the steps that are applied to its output before that is stored.

    step        the step itself
    activation  table of the activation function that follows a convolution or a sum, (256,)
    norm        batch norm after the activation of a convolution
    pool        side of the windows of the max pool that follows a convolution; 1 without one
    target      number of the map that is stored; None if the step computes the logits
    """

    step: ReadImage | Convolution | MaxPool | AveragePool | Mean | Add | Scale | Classify
    target: int | None
    activation: Int8Array | None = None
    norm: Affine | None = None
    pool: int = 1

    @property
    def sources(self) -> tuple[int, ...]:
        """Return the numbers of the maps that the operation reads."""
        match self.step:
            case ReadImage():
                return ()
            case Add() | Scale():
                return (self.step.source, self.step.target)
            case _:
                return (self.step.source,)

    @property
    def is_in_place(self) -> bool:
        """Return whether a pooled map overwrites its source, which it can, because no value is read after its own."""
        return isinstance(self.step, MaxPool | AveragePool)


def operations_of(network: Int8Network) -> Iterator[Operation]:
    """Yield the operations in the order in which they run; the last one computes the logits."""
    steps = list(network.steps)
    while steps:
        step = steps.pop(0)
        assert not isinstance(step, Table | Affine), "an activation or a batch norm follows a convolution or a sum"
        activation, norm, pool, target = None, None, 1, step.target
        if isinstance(step, Convolution | Add):
            activation = _pop_table(steps, target)
        if isinstance(step, Convolution):
            norm = _pop_affine(steps, target)
            if steps and isinstance(steps[0], MaxPool) and steps[0].source == target:
                pool, target = steps[0].size, steps[0].target
                del steps[0]
        yield Operation(step, target, activation, norm, pool)
    yield Operation(network.last, None)


def _pop_table(steps: list[Step], target: int) -> Int8Array | None:
    if not steps or not isinstance(steps[0], Table) or steps[0].target != target:
        return None
    values = steps[0].values
    del steps[0]
    return values


def _pop_affine(steps: list[Step], target: int) -> Affine | None:
    if not steps or not isinstance(steps[0], Affine) or steps[0].target != target:
        return None
    affine = steps[0]
    del steps[0]
    return affine


def padding_bytes(operation: Operation, network: Int8Network) -> int:
    """Return the bytes of the pixel that a depthwise convolution reads outside its map; 0 without padding."""
    step = operation.step
    is_padded = isinstance(step, Convolution) and step.depthwise and step.padding > 0
    return network.maps[operation.sources[0]][0] if is_padded else 0
