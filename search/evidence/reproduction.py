"""Compare the hand-designed networks, trained again, with what their authors state, and under one recipe.

Pure arithmetic over finished trainings; search.cli.baselines makes them, search.report.reproduction shows them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.baselines import BASELINES, Baseline, StatedResult
from models.cost import Cost, compute_cost
from models.recipe import RecipeConfig
from models.record import Record
from search.evidence.repeats import COMMON, OWN, RepeatResult
from search.evidence.statistics import Estimate, estimate, expected_sd

# What the write-ups' task allows.
BUDGET, MAX_EPOCHS = 8000, 15
HOLDS, ABOVE, BELOW, UNKNOWN = "holds", "above ours", "below ours", "not run"
# Of the difference between one published run and our mean, in standard deviations: exceeded once in twenty times.
_NOISE = 1.96
# A network that tells fewer of the images did not learn; how far it lies from the others says nothing of them.
_LEARNT = 0.5


@dataclass(frozen=True)
class Reproduction:
    """One network with one recipe of its authors.

    last, best   of our accuracies after the last epoch and of the best epoch, over seeds; None before there are any
    n_images     scored in each
    curves       accuracy after every epoch, one tuple a seed
    """

    baseline: Baseline
    recipe_name: str
    last: Estimate | None
    best: Estimate | None
    n_images: int
    curves: tuple[tuple[float, ...], ...]

    @property
    def recipe(self) -> RecipeConfig:
        """The recipe of its authors."""
        return self.baseline.recipes[self.recipe_name]

    @property
    def stated(self) -> StatedResult | None:
        """The training that its authors report."""
        return self.baseline.stated.get(self.recipe_name)

    @property
    def cost(self) -> Cost:
        """Counted, whatever is stated."""
        return compute_cost(self.baseline.spec)

    @property
    def within(self) -> bool:
        """Whether network and recipe keep to 8,000 parameters and 15 epochs."""
        return self.cost.n_params <= BUDGET and self.recipe.epochs <= MAX_EPOCHS

    @property
    def stated_accuracy(self) -> float | None:
        """The figure that is held against ours: their best epoch, or, where only that is stated, their last."""
        if self.stated is None:
            return None
        return self.stated.last_accuracy if self.stated.best_accuracy is None else self.stated.best_accuracy

    @property
    def ours(self) -> Estimate | None:
        """The accuracies that are compared with the stated one: of the same epoch rule."""
        return self.last if self.stated is None or self.stated.best_accuracy is None else self.best

    @property
    def noise(self) -> float:
        """Difference of one published run and our mean that their seeds alone exceed once in twenty times."""
        ours = self.ours
        if ours is None:
            return math.nan
        # Few seeds can agree by chance, so the spread is taken to be at least what is expected.
        sd = max(ours.sd or 0.0, expected_sd(ours.mean, self.n_images))
        return _NOISE * sd * math.sqrt(1 + 1 / ours.n)

    @property
    def verdict(self) -> str:
        """HOLDS within the noise, else ABOVE or BELOW what we reach."""
        stated, ours = self.stated_accuracy, self.ours
        if stated is None or ours is None:
            return UNKNOWN
        difference = stated - ours.mean
        return HOLDS if abs(difference) <= self.noise else ABOVE if difference > 0 else BELOW


@dataclass(frozen=True)
class CommonResult:
    """One network under the recipe that all get; accuracies after the last epoch.

    own  with its authors' recipe, of several the best one
    """

    baseline: Baseline
    recipe_name: str
    last: Estimate | None
    own: Estimate | None

    @property
    def n_params(self) -> int:
        """Counted."""
        return compute_cost(self.baseline.spec).n_params

    @property
    def gain(self) -> float | None:
        """Accuracy that the common recipe adds to its authors' own."""
        return self.last.mean - self.own.mean if self.last and self.own else None


@dataclass(frozen=True)
class Spread(Record):
    """Distances between several networks, in accuracy after the last epoch.

    own, common  best less worst, each with its authors' recipe and all with one: there what remains is architecture
    gains        least and most that the common recipe adds to a network's own
    left_out     networks that one of the recipes does not suit at all, so that they learnt next to nothing
    """

    n_networks: int
    own: float
    common: float
    gains: tuple[float, float]
    left_out: tuple[str, ...] = ()


def own_recipes(results: Sequence[RepeatResult], n_images: int) -> list[Reproduction]:
    """Return every network with every recipe of its own, those that were not trained yet included."""
    found = []
    for baseline in BASELINES.values():
        for name in baseline.recipes:
            runs = _of(results, OWN, baseline.id, name)
            curves = tuple(tuple(float(epoch["accuracy"]) for epoch in run.curve) for run in runs)
            best = estimate([max(curve) for curve in curves]) if curves else None
            found.append(Reproduction(baseline, name, _last(runs), best, n_images, curves))
    return found


def common_recipe(results: Sequence[RepeatResult]) -> list[CommonResult]:
    """Return every network under the common recipe; of several that were tried, the one tried last."""
    names = [result.repeat.recipe_name for result in results if result.repeat.purpose == COMMON]
    name = names[-1] if names else ""
    found = []
    for one in BASELINES.values():
        owns = [_last(_of(results, OWN, one.id, recipe)) for recipe in one.recipes]
        own = max((own for own in owns if own), key=lambda own: own.mean, default=None)
        found.append(CommonResult(one, name, _last(_of(results, COMMON, one.id, name)), own))
    return found


def spread(commons: Iterable[CommonResult]) -> Spread | None:
    """Return the spread of the networks that were trained both ways; None for fewer than two."""
    trained = [(one.baseline.id, one.own.mean, one.last.mean) for one in commons if one.own and one.last]
    left_out = tuple(name for name, *means in trained if min(means) < _LEARNT)
    pairs = [(own, common) for name, own, common in trained if name not in left_out]
    if len(pairs) < 2:
        return None
    own, common = zip(*pairs, strict=True)
    gains = [after - before for before, after in pairs]
    return Spread(len(pairs), max(own) - min(own), max(common) - min(common), (min(gains), max(gains)), left_out)


def spreads(commons: Sequence[CommonResult]) -> dict[str, Spread]:
    """Return the spreads of all networks, and of those within the budget, by a name for them."""
    found = {
        f"of at most {BUDGET:,} parameters": spread(one for one in commons if one.n_params <= BUDGET),
        "of any size": spread(commons),
    }
    return {name: one for name, one in found.items() if one}


def _of(results: Iterable[RepeatResult], purpose: str, network: str, recipe_name: str) -> list[RepeatResult]:
    wanted = (purpose, network, recipe_name)
    return [one for one in results if (one.repeat.purpose, one.repeat.network, one.repeat.recipe_name) == wanted]


def _last(runs: Sequence[RepeatResult]) -> Estimate | None:
    return estimate([run.value for run in runs]) if runs else None


def as_json(reproductions: Sequence[Reproduction], commons: Sequence[CommonResult]) -> dict[str, Any]:
    """Everything in JSON types."""
    return {
        "own_recipes": [
            {
                "id": one.baseline.id,
                "source": one.baseline.source,
                "recipe": one.recipe_name,
                "settings": one.recipe.to_dict(),
                "n_params": one.cost.n_params,
                "n_params_stated": one.baseline.n_params_stated,
                "receptive_field": one.cost.receptive_field,
                "receptive_field_stated": one.baseline.receptive_field_stated,
                "within_budget_and_epochs": one.within,
                "stated_accuracy": one.stated_accuracy,
                "last": one.last.to_dict() if one.last else None,
                "best": one.best.to_dict() if one.best else None,
                "verdict": one.verdict,
                "curves": one.curves,
            }
            for one in reproductions
        ],
        "common_recipe": [
            {
                "id": one.baseline.id,
                "recipe": one.recipe_name,
                "n_params": one.n_params,
                "last": one.last.to_dict() if one.last else None,
                "own_last": one.own.to_dict() if one.own else None,
            }
            for one in commons
        ],
        "spreads": {name: one.to_dict() for name, one in spreads(commons).items()},
    }
