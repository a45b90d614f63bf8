"""Compare the reproduced hand-designed networks with the accuracies that their authors state, and under one recipe.

The module only computes: search.cli.baselines runs the trainings, search.report.reproduction shows the results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.baselines import MNIST_BASELINES, Baseline, StatedResult
from models.cost import Cost, compute_cost
from models.recipe import RecipeConfig
from models.record import Record
from search.evidence.repeats import COMMON, OWN, RepeatResult
from search.evidence.statistics import Estimate, estimate, expected_sd

# Limits of the task that the networks were designed for.
BUDGET, MAX_EPOCHS = 8000, 15
HOLDS, ABOVE, BELOW, UNKNOWN = "holds", "above ours", "below ours", "not run"
# Difference between one published run and our mean, in standard deviations, that is exceeded once in twenty times.
_NOISE = 1.96
# Accuracy below which a network did not learn. Such a network would distort the spread of the others.
_LEARNT = 0.5


@dataclass(frozen=True)
class Reproduction:
    """Reproduction of a hand-designed network with one recipe of its authors.

    last      reproduced accuracy after the last epoch, over seeds; None before the first training
    best      reproduced accuracy of the best epoch, over seeds; None before the first training
    n_images  number of images that each training is scored on
    curves    accuracy after every epoch, one tuple per seed
    """

    baseline: Baseline
    recipe_name: str
    last: Estimate | None
    best: Estimate | None
    n_images: int
    curves: tuple[tuple[float, ...], ...]

    def without_stated(self) -> Reproduction:
        """Return the reproduction without the stated results, which are of MNIST and do not compare on other data."""
        return replace(self, baseline=replace(self.baseline, stated={}))

    @property
    def recipe(self) -> RecipeConfig:
        """Return the recipe of the authors."""
        return self.baseline.recipes[self.recipe_name]

    @property
    def stated(self) -> StatedResult | None:
        """Return the result that the authors report, None if they report none."""
        return self.baseline.stated.get(self.recipe_name)

    @property
    def cost(self) -> Cost:
        """Return the computed cost, which may differ from the stated one."""
        return compute_cost(self.baseline.spec)

    @property
    def within(self) -> bool:
        """Return whether network and recipe keep to 8,000 parameters and 15 epochs."""
        return self.cost.n_params <= BUDGET and self.recipe.epochs <= MAX_EPOCHS

    @property
    def stated_accuracy(self) -> float | None:
        """Return the stated accuracy of the best epoch, or of the last epoch if only that is stated."""
        if self.stated is None:
            return None
        return self.stated.last_accuracy if self.stated.best_accuracy is None else self.stated.best_accuracy

    @property
    def ours(self) -> Estimate | None:
        """Return the reproduced accuracy by the epoch rule of the stated one, best or last."""
        return self.last if self.stated is None or self.stated.best_accuracy is None else self.best

    @property
    def noise(self) -> float:
        """Return the difference between one published run and our mean that seeds alone exceed once in twenty times."""
        ours = self.ours
        if ours is None:
            return math.nan
        # Few seeds can agree by chance, so the deviation is taken to be at least the expected one.
        sd = max(ours.sd or 0.0, expected_sd(ours.mean, self.n_images))
        return _NOISE * sd * math.sqrt(1 + 1 / ours.n)

    @property
    def verdict(self) -> str:
        """Return HOLDS if the stated and the reproduced accuracy agree within the noise, else ABOVE or BELOW.

        UNKNOWN is returned if one of the two is missing.
        """
        stated, ours = self.stated_accuracy, self.ours
        if stated is None or ours is None:
            return UNKNOWN
        difference = stated - ours.mean
        return HOLDS if abs(difference) <= self.noise else ABOVE if difference > 0 else BELOW


@dataclass(frozen=True)
class CommonResult:
    """Result of a hand-designed network under the common recipe; accuracies are after the last epoch.

    last  accuracy with the common recipe
    own   accuracy with the recipe of its authors, the best one if there are several
    """

    baseline: Baseline
    recipe_name: str
    last: Estimate | None
    own: Estimate | None

    @property
    def n_params(self) -> int:
        """Return the computed number of parameters."""
        return compute_cost(self.baseline.spec).n_params

    @property
    def gain(self) -> float | None:
        """Return the accuracy with the common recipe minus that with the authors' recipe."""
        return self.last.mean - self.own.mean if self.last and self.own else None


@dataclass(frozen=True)
class Spread(Record):
    """Range of the accuracies of several networks after the last epoch.

    own       best minus worst network, each with the recipe of its authors
    common    best minus worst network, all with the common recipe, so that only the architectures differ
    gains     smallest and largest accuracy that the common recipe adds to a network
    left_out  networks that hardly learnt with one of the recipes, and are not counted
    """

    n_networks: int
    own: float
    common: float
    gains: tuple[float, float]
    left_out: tuple[str, ...] = ()


def own_recipes(
    results: Sequence[RepeatResult], n_images: int, baselines: Mapping[str, Baseline] = MNIST_BASELINES
) -> list[Reproduction]:
    """Return every network with every recipe of its authors, including those that are not trained yet."""
    reproductions = []
    for baseline in baselines.values():
        for recipe_name in baseline.recipes:
            runs = _matching(results, OWN, baseline.id, recipe_name)
            curves = tuple(tuple(float(epoch["accuracy"]) for epoch in run.curve) for run in runs)
            best = estimate([max(curve) for curve in curves]) if curves else None
            reproductions.append(Reproduction(baseline, recipe_name, _last(runs), best, n_images, curves))
    return reproductions


def common_recipe(
    results: Sequence[RepeatResult], baselines: Mapping[str, Baseline] = MNIST_BASELINES
) -> list[CommonResult]:
    """Return every network under the common recipe, the last one if several were tried."""
    names = [result.repeat.recipe_name for result in results if result.repeat.purpose == COMMON]
    name = names[-1] if names else ""
    commons = []
    for baseline in baselines.values():
        own_estimates = [_last(_matching(results, OWN, baseline.id, recipe)) for recipe in baseline.recipes]
        best_own = max((own for own in own_estimates if own), key=lambda own: own.mean, default=None)
        commons.append(CommonResult(baseline, name, _last(_matching(results, COMMON, baseline.id, name)), best_own))
    return commons


def spread(commons: Iterable[CommonResult]) -> Spread | None:
    """Return the spread of the networks that were trained with both kinds of recipe, None for fewer than two."""
    means = [
        (result.baseline.id, result.own.mean, result.last.mean) for result in commons if result.own and result.last
    ]
    left_out = tuple(name for name, own_mean, common_mean in means if min(own_mean, common_mean) < _LEARNT)
    pairs = [(own_mean, common_mean) for name, own_mean, common_mean in means if name not in left_out]
    if len(pairs) < 2:
        return None
    own_means, common_means = zip(*pairs, strict=True)
    gains = [common_mean - own_mean for own_mean, common_mean in pairs]
    own_range, common_range = max(own_means) - min(own_means), max(common_means) - min(common_means)
    return Spread(len(pairs), own_range, common_range, (min(gains), max(gains)), left_out)


def spreads(commons: Sequence[CommonResult]) -> dict[str, Spread]:
    """Return the spreads of the networks within the budget and of all networks, by a description of the group."""
    by_size = {
        f"of at most {BUDGET:,} parameters": spread(result for result in commons if result.n_params <= BUDGET),
        "of any size": spread(commons),
    }
    return {name: group for name, group in by_size.items() if group}


def _matching(results: Iterable[RepeatResult], purpose: str, network: str, recipe_name: str) -> list[RepeatResult]:
    key = (purpose, network, recipe_name)
    return [
        result for result in results if (result.repeat.purpose, result.repeat.network, result.repeat.recipe_name) == key
    ]


def _last(runs: Sequence[RepeatResult]) -> Estimate | None:
    return estimate([run.value for run in runs]) if runs else None


def as_json(reproductions: Sequence[Reproduction], commons: Sequence[CommonResult]) -> dict[str, Any]:
    """Return all results as JSON-serialisable data."""
    return {
        "own_recipes": [
            {
                "id": result.baseline.id,
                "source": result.baseline.source,
                "recipe": result.recipe_name,
                "settings": result.recipe.to_dict(),
                "n_params": result.cost.n_params,
                "n_params_stated": result.baseline.n_params_stated,
                "receptive_field": result.cost.receptive_field,
                "receptive_field_stated": result.baseline.receptive_field_stated,
                "within_budget_and_epochs": result.within,
                "stated_accuracy": result.stated_accuracy,
                "last": result.last.to_dict() if result.last else None,
                "best": result.best.to_dict() if result.best else None,
                "verdict": result.verdict,
                "curves": result.curves,
            }
            for result in reproductions
        ],
        "common_recipe": [
            {
                "id": result.baseline.id,
                "recipe": result.recipe_name,
                "n_params": result.n_params,
                "last": result.last.to_dict() if result.last else None,
                "own_last": result.own.to_dict() if result.own else None,
            }
            for result in commons
        ],
        "spreads": {name: group.to_dict() for name, group in spreads(commons).items()},
    }
