"""Description of a hand-designed network with its recipes and published results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.recipe import RecipeConfig
from models.spec import ArchSpec


@dataclass(frozen=True)
class StatedResult:
    """Test accuracies that were published for one run.

    Accuracies are fractions of 1. Epochs are counted from 1.

    origin           document: figures of the write-up; log: figures of the notebook's stored output, used where the
                     write-up prints no table of epochs
    epochs           number of epochs that the figures cover
    best_accuracy    highest test accuracy; None where not stated
    best_epochs      all epochs that reached it; empty where not stated
    last_accuracies  accuracies after the final epochs, oldest first: three, only the last, or none, depending on what
                     is stated
    approximate      whether the write-up calls its figure approximate
    """

    origin: str
    epochs: int
    best_accuracy: float | None = None
    best_epochs: tuple[int, ...] = ()
    last_accuracies: tuple[float, ...] = ()
    approximate: bool = False

    @property
    def last_accuracy(self) -> float | None:
        """Return the test accuracy after the last of `epochs`, or None where not stated."""
        return self.last_accuracies[-1] if self.last_accuracies else None


@dataclass(frozen=True)
class Baseline:
    """Hand-designed network with its recipes and published results.

    `recipes` and `stated` are read-only and share their keys, the recipe ids.

    n_params_stated         number of parameters, in the words of the write-up; "" where it states none
    receptive_field_stated  in pixels at the logits; None where the write-up does not state it
    source                  repository@commit: write-up, code
    discrepancies           disagreements between write-up, code and arithmetic, and other reasons for doubt
    """

    id: str
    title: str
    spec: ArchSpec
    recipes: Mapping[str, RecipeConfig]
    stated: Mapping[str, StatedResult]
    n_params_stated: str
    receptive_field_stated: int | None
    source: str
    discrepancies: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipes", MappingProxyType(dict(self.recipes)))
        object.__setattr__(self, "stated", MappingProxyType(dict(self.stated)))
