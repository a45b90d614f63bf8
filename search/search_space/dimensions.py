"""Kinds of searched dimensions, whose values an Optuna trial suggests or a random generator draws."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol


class SuggestsValues(Protocol):
    """Protocol of the methods of an Optuna trial that suggest values."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number from [low, high]."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a real number from [low, high]."""

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """Return one of the choices."""


@dataclass(frozen=True)
class IntRange:
    """Dimension of whole numbers from low to high, both included."""

    name: str
    low: int
    high: int
    default: int
    log: bool = False

    def __str__(self) -> str:
        return _range(self.low, self.high, log=self.log)

    @property
    def n_values(self) -> int | None:
        """Return the number of values."""
        return self.high - self.low + 1

    def holds(self, value: Any) -> bool:
        """Return whether `value` is within the range."""
        return bool(self.low <= value <= self.high)

    def suggest(self, trial: SuggestsValues) -> int:
        """Return a value that `trial` suggests."""
        return int(trial.suggest_int(self.name, self.low, self.high, log=self.log))

    def sample(self, rng: random.Random) -> int:
        """Draw a value at random, with the distribution of a random search."""
        if not self.log:
            return rng.randint(self.low, self.high)
        # As in Optuna, half a unit is added on either side, so that both ends get their share.
        value: float = (self.low - 0.5) * ((self.high + 0.5) / (self.low - 0.5)) ** rng.random()
        return min(max(round(value), self.low), self.high)


@dataclass(frozen=True)
class FloatRange:
    """Dimension of real numbers from low to high, both included."""

    name: str
    low: float
    high: float
    default: float
    log: bool = False

    def __str__(self) -> str:
        return _range(self.low, self.high, log=self.log)

    @property
    def n_values(self) -> int | None:
        """Return 1 if the ends are equal, else None, because the values of a real range are not counted."""
        return 1 if self.low == self.high else None

    def holds(self, value: Any) -> bool:
        """Return whether `value` is within the range."""
        return bool(self.low <= value <= self.high)

    def suggest(self, trial: SuggestsValues) -> float:
        """Return a value that `trial` suggests."""
        # A sampler that works with logarithms may return a value that is beyond an end by a rounding error.
        return min(max(float(trial.suggest_float(self.name, self.low, self.high, log=self.log)), self.low), self.high)

    def sample(self, rng: random.Random) -> float:
        """Draw a value at random, with the distribution of a random search."""
        if not self.log:
            return rng.uniform(self.low, self.high)
        return min(float(self.low * (self.high / self.low) ** rng.random()), self.high)


@dataclass(frozen=True)
class Choice:
    """Dimension of a few values without an order."""

    name: str
    choices: tuple[Any, ...]
    default: Any

    def __str__(self) -> str:
        return " | ".join(map(str, self.choices))

    @property
    def n_values(self) -> int | None:
        """Return the number of choices."""
        return len(self.choices)

    def holds(self, value: Any) -> bool:
        """Return whether `value` is one of the choices."""
        return value in self.choices

    def suggest(self, trial: SuggestsValues) -> Any:
        """Return a value that `trial` suggests."""
        return trial.suggest_categorical(self.name, self.choices)

    def sample(self, rng: random.Random) -> Any:
        """Draw a value at random, with the distribution of a random search."""
        return rng.choice(self.choices)


def _range(low: float, high: float, *, log: bool) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}{', log scale' if log else ''}"


Dimension = IntRange | FloatRange | Choice


def accepts(dimension: Dimension, value: object) -> bool:
    """Return whether `value` has the type of the dimension's values and is one of them.

    A whole number may stand for a real one, but True does not stand for 1. A real number may be beyond an end by a
    rounding error.
    """
    if isinstance(dimension, Choice):
        return any(type(choice) is type(value) and choice == value for choice in dimension.choices)
    if isinstance(value, bool):
        return False
    if isinstance(dimension, IntRange):
        return isinstance(value, Integral) and dimension.holds(value)
    return isinstance(value, Real) and (
        dimension.holds(value) or any(math.isclose(value, end) for end in (dimension.low, dimension.high))
    )
