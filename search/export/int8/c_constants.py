"""Write the constants of a generated model.c: tables of integers, and the descriptions of convolutions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from search.export.int8.network import INT32_MAX, Classify, Convolution, Int8Array, Int32Array, QuantisationError

Array = TypeVar("Array", Int8Array, Int32Array)

LINE_LENGTH = 120
WEIGHTS, BIASES, FACTORS, TABLES = "weights", "biases", "multipliers and offsets", "activation tables"
RECORDS = "descriptions of convolutions"
# Size of the struct `convolution` where pointers have 4 bytes.
RECORD_BYTES = 44


class Constant(NamedTuple):
    """Table of constants in C.

    name    name of the array
    kind    WEIGHTS, BIASES, FACTORS or TABLES
    values  integers of the array; each row of the first axis starts a new line
    """

    name: str
    kind: str
    values: Int8Array | Int32Array

    @property
    def n_bytes(self) -> int:
        """Return the size of the array."""
        return self.values.nbytes

    @property
    def text(self) -> str:
        """Return the definition of the array."""
        rows = self.values.reshape(len(self.values), -1) if self.values.ndim > 1 else self.values[None]
        lines = [line for row in rows for line in wrapped_lines(row.tolist(), indent=4)]
        ctype = "int8_t" if self.values.dtype == np.int8 else "int32_t"
        return "\n".join([f"static const MODEL_FLASH {ctype} {self.name}[{self.values.size}] = {{", *lines, "};"])


class Record(NamedTuple):
    """Struct in C that describes a convolution: its name, and its members with their values."""

    name: str
    members: Mapping[str, object]
    kind: str = RECORDS

    @property
    def n_bytes(self) -> int:
        """Return the size of the struct on a processor with addresses of 32 bits."""
        return RECORD_BYTES

    @property
    def text(self) -> str:
        """Return the definition of the struct."""
        members = wrapped_lines((f".{member} = {value}" for member, value in self.members.items()), indent=4)
        return "\n".join([f"static const MODEL_FLASH convolution {self.name} = {{", *members, "};"])


def wrapped_lines(items: Iterable[object], indent: int) -> list[str]:
    """Return items separated by commas, in lines of at most LINE_LENGTH characters."""
    margin = " " * indent
    text = ", ".join(map(str, items)) + ","
    return textwrap.wrap(text, LINE_LENGTH, initial_indent=margin, subsequent_indent=margin)


def even(values: Array) -> Array:
    """Return values (O, ...) with zeros for one more filter if their number is odd, because C takes two at a time."""
    return np.pad(values, [(0, len(values) % 2), *((0, 0) for _ in values.shape[1:])])


def packed_weight(weight: Int8Array) -> Int8Array:
    """Return the weights (O, C, k, k) of a convolution in the order in which C reads them, in one row.

    The inputs of a filter are numbered by row, column and channel of the kernel. Four inputs form a group, in which
    the weights of a filter stand together, in the order 0, 2, 1, 3 of the inputs: SXTB16 widens bytes 0 and 2, which
    are then those of neighbouring inputs. The remaining inputs, up to three, form groups of one.
    """
    weight = even(weight)
    n_filters = len(weight)
    by_input = weight.transpose(2, 3, 1, 0).reshape(-1, n_filters)
    n_in_fours = len(by_input) // 4 * 4
    fours = by_input[:n_in_fours].reshape(-1, 4, n_filters)[:, [0, 2, 1, 3]].swapaxes(1, 2)
    return np.concatenate([fours.ravel(), by_input[n_in_fours:].ravel()])


def bias_of_levels(step: Convolution | Classify, n_summed: int = 1) -> Int32Array:
    """Return the bias for sums of q * weight instead of (q - zero_in) * weight.

    n_summed: number of values in each input of the sum. Raises QuantisationError if a sum may exceed 32 bits.
    """
    weight = step.weight.reshape(len(step.bias), -1).astype(np.int64)
    bias = step.bias.astype(np.int64) - n_summed * step.zero_in * weight.sum(1)
    largest = int((np.abs(bias) + 128 * n_summed * np.abs(weight).sum(1)).max())
    if largest > INT32_MAX:
        raise QuantisationError(f"a sum of {n_summed * weight.shape[1]:,} products may pass 32 bits")
    result: Int32Array = bias.astype(np.int32)
    return result
