"""The kinds of searched dimension: how each is asked of an Optuna trial, and how it is drawn without one."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Protocol


class SuggestsValues(Protocol):
    """The part of an Optuna trial that is used here."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number from [low, high]."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from [low, high]."""

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """One of the choices."""


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from low to high, both included."""

    name: str
    low: int
    high: int
    default: int
    log: bool = False

    def __str__(self) -> str:
        return _range(self.low, self.high, log=self.log)

    @property
    def n_values(self) -> int | None:
        """How many values it can take."""
        return self.high - self.low + 1

    def holds(self, value: Any) -> bool:
        """Whether it can take that value."""
        return bool(self.low <= value <= self.high)

    def suggest(self, trial: SuggestsValues) -> int:
        """Ask the trial for a value."""
        return trial.suggest_int(self.name, self.low, self.high, log=self.log)

    def sample(self, rng: random.Random) -> int:
        """Draw a value as a random search would."""
        if not self.log:
            return rng.randint(self.low, self.high)
        # Half a unit on either side gives both ends their share, as Optuna does.
        drawn: float = (self.low - 0.5) * ((self.high + 0.5) / (self.low - 0.5)) ** rng.random()
        return min(max(round(drawn), self.low), self.high)


@dataclass(frozen=True)
class FloatRange:
    """Numbers from low to high."""

    name: str
    low: float
    high: float
    default: float
    log: bool = False

    def __str__(self) -> str:
        return _range(self.low, self.high, log=self.log)

    @property
    def n_values(self) -> int | None:
        """None: a real number."""
        return 1 if self.low == self.high else None

    def holds(self, value: Any) -> bool:
        """Whether it can take that value."""
        return bool(self.low <= value <= self.high)

    def suggest(self, trial: SuggestsValues) -> float:
        """Ask the trial for a value."""
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def sample(self, rng: random.Random) -> float:
        """Draw a value as a random search would."""
        if not self.log:
            return rng.uniform(self.low, self.high)
        return float(self.low * (self.high / self.low) ** rng.random())


@dataclass(frozen=True)
class Choice:
    """One of a few values without an order."""

    name: str
    choices: tuple[Any, ...]
    default: Any

    def __str__(self) -> str:
        return " | ".join(map(str, self.choices))

    @property
    def n_values(self) -> int | None:
        """How many choices there are."""
        return len(self.choices)

    def holds(self, value: Any) -> bool:
        """Whether it can take that value."""
        return value in self.choices

    def suggest(self, trial: SuggestsValues) -> Any:
        """Ask the trial for a value."""
        return trial.suggest_categorical(self.name, self.choices)

    def sample(self, rng: random.Random) -> Any:
        """Draw a value as a random search would."""
        return rng.choice(self.choices)


def _range(low: float, high: float, *, log: bool) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}{', log scale' if log else ''}"


Dimension = IntRange | FloatRange | Choice
