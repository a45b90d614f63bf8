"""Golden values of trainings and proposals: what RESULTS_VERSION stands for.

A change of a value here changes what studies are made of. Raise RESULTS_VERSION with it, then rewrite the table:
`pytest tests/test_results.py --update-golden`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from models.build import build_model
from models.cost import compute_cost
from models.recipe import Augmentation, RecipeConfig
from models.spec import ArchSpec, Block, Head, Stage
from search.config import SAMPLERS, DataConfig, DataForm, SearchConfig
from search.data.dataset import Dataset, Split
from search.engine.native import kernels
from search.engine.train import train
from search.limits import worst_excess
from search.sampling.feasible_start import FeasibleStart
from search.sampling.samplers import make_sampler
from search.sampling.starting_points import starting_points
from search.search_space.buildable import RECIPE, RecipeDimension
from search.search_space.dimensions import Choice
from search.study.loop import StopRule, run_trials
from search.study.results_version import RESULTS_VERSION
from search.study.trials import FINISHED, REFUSED
from space import DEFAULTS, WHOLE, WIDEST, assemble, suggest

pytestmark = pytest.mark.usefixtures("one_thread")
GOLDEN = Path(__file__).parent / "golden" / "results.json"
ENGINES = ("native", "torch")
N_PROPOSALS = 14
# Relative. Processors round differently, and a training carries that on, with SOAP's eigenvectors the furthest; a
# changed algorithm is further away than this.
TOLERANCE = {"sgd": 2e-3, "adamw": 2e-3, "soap": 2e-2}

PLAIN = (Block(6), Block(8, padding="same"))
SEPARABLE = (Block(6), Block(8, kind="separable", padding="same"), Block(8, kind="separable", padding="same"))
NETWORKS = {
    "conv": ArchSpec(
        (1, 14, 14), 3, (Stage((Block(6), Block(8, padding="same")), 2), Stage((Block(8),))), Head("gap_linear")
    ),
    "separable": ArchSpec((1, 14, 14), 3, (Stage(SEPARABLE, 2), Stage((Block(8),))), Head("gap_linear", dropout=0.1)),
}
AUGMENTATION = Augmentation(rotation=8.0, shift=0.05, scale=0.05, shear=2.0)
RECIPES = {
    "sgd": RecipeConfig(2, 16, "sgd", 0.1, 0.9, nesterov=True, ema_decay=0.9, augmentation=AUGMENTATION),
    "adamw": RecipeConfig(2, 16, "adamw", 0.01, weight_decay=0.01, label_smoothing=0.05, augmentation=AUGMENTATION),
    "soap": RecipeConfig(2, 48, "soap", 0.02, 0.95, ema_decay=0.9, augmentation=AUGMENTATION),
}


@pytest.fixture(scope="module")
def golden(update_golden: bool) -> dict[str, Any]:
    """The golden table, rewritten first if asked for."""
    if update_golden:
        before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
        found = {"results_version": RESULTS_VERSION, **measured()}
        is_same = _contains(found, {**before, "results_version": RESULTS_VERSION})
        assert is_same or before.get("results_version") != RESULTS_VERSION, "results changed: raise RESULTS_VERSION"
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return dict(json.loads(GOLDEN.read_text(encoding="utf-8")))


def _contains(table: Any, earlier: Any) -> bool:
    """Return whether a table has all values of an earlier one; it may have more, such as those of a new sampler."""
    if not isinstance(earlier, dict):
        return bool(table == earlier)
    return all(name in table and _contains(table[name], value) for name, value in earlier.items())


def measured() -> dict[str, Any]:
    """Return the values that the table holds, as this machine computes them."""
    losses = {
        f"{name} {recipe} {engine}": training_losses(name, recipe, engine)
        for name in NETWORKS
        for recipe in RECIPES
        for engine in ENGINES
    }
    proposed = {sampler: proposals(sampler) for sampler in SAMPLERS}
    return {"losses": losses, "proposals": proposed, "starting_points": starting_parameters()}


def training_losses(name: str, recipe: str, engine: str) -> list[float]:
    """Train one network with a recipe of the table; return the mean training loss of every epoch."""
    return losses_of(name, RECIPES[recipe], engine)


def losses_of(name: str, recipe: RecipeConfig, engine: str) -> list[float]:
    """Train one network on made-up images; return the mean training loss of every epoch."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(96) % 3
    patterns = torch.rand((3, 1, 14, 14), generator=generator)[labels]
    images = (patterns * 160 + torch.rand((96, 1, 14, 14), generator=generator) * 90).to(torch.uint8)
    split = Split(images, labels)
    data = Dataset("made up", ("a", "b", "c"), split, None, split, mean=(0.5,), std=(0.25,), checksum="")
    torch.manual_seed(7)
    result = train(build_model(NETWORKS[name]), data, recipe, seed=7, engine=engine)
    return [round(metrics.train_loss, 6) for metrics in result.curve]


def proposals(sampler: str) -> list[dict[str, Any]]:
    """Let a sampler propose, where the value of a candidate follows from its parameters by arithmetic."""
    form = DataForm("made up", (1, 28, 28), tuple("0123456789"))
    data = DataConfig("folder", "", form=form)
    config = SearchConfig(data, max_params=8000, sampler=sampler, seed=5, share_weights=True)

    def objective(trial: optuna.Trial) -> float:
        cost = compute_cost(suggest(trial, space=WHOLE).arch)
        excess = worst_excess(cost, config)
        trial.set_user_attr("outcome", REFUSED if excess > 0 else FINISHED)
        if excess > 0:
            raise optuna.TrialPruned
        return 1 / (1 + abs(cost.n_params - 6000))

    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 5, FeasibleStart(config)))
    run_trials(study, objective, 5, StopRule(N_PROPOSALS))
    kept = ("stages", "stages.1.width.1", "stages.2.kind", "optimizer", "sgd.lr", "rotation")
    trials = study.get_trials(deepcopy=False)[-N_PROPOSALS:]
    return [{name: rounded(trial.params[name]) for name in kept} for trial in trials]


def starting_parameters() -> dict[str, int]:
    """Count the parameters of every starting point, by name and place."""
    points = enumerate(starting_points())
    return {
        f"{place} {name}": compute_cost(suggest(optuna.trial.FixedTrial(dict(point)), space=WHOLE).arch).n_params
        for place, (name, point) in points
    }


def rounded(value: Any) -> Any:
    """Round a real number to seven digits."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def test_the_table_is_of_this_version(golden: dict[str, Any]) -> None:
    assert golden["results_version"] == RESULTS_VERSION, "rewrite the table with --update-golden"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_has_the_losses_of_the_table(golden: dict[str, Any], name: str, recipe: str, engine: str) -> None:
    if engine == "native" and kernels.load() is None:
        pytest.skip(f"no kernels here: {kernels.problem()}")
    expected = golden["losses"][f"{name} {recipe} {engine}"]
    assert training_losses(name, recipe, engine) == pytest.approx(expected, rel=TOLERANCE[recipe]), (
        "results changed: raise RESULTS_VERSION"
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_proposes_what_the_table_says(golden: dict[str, Any], sampler: str) -> None:
    assert sampler in golden["proposals"], "a new sampler: add its proposals with --update-golden"
    assert proposals(sampler) == golden["proposals"][sampler], "results changed: raise RESULTS_VERSION"


def test_the_starting_points_are_those_of_the_table(golden: dict[str, Any]) -> None:
    assert starting_parameters() == golden["starting_points"], "results changed: raise RESULTS_VERSION"


def test_another_learning_rate_is_seen(golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "sgd", replace(RECIPES["sgd"], lr=0.102))
    assert training_losses("conv", "sgd", "torch") != pytest.approx(
        golden["losses"]["conv sgd torch"], rel=TOLERANCE["sgd"]
    )


@pytest.mark.parametrize("row", RECIPE, ids=lambda row: row.widest.name)
def test_every_searched_hyper_parameter_changes_the_training(row: RecipeDimension) -> None:
    dimension = next(one for one in WIDEST.dimensions if one.name == row.name("sgd"))
    ends = dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)
    losses = []
    for value in (ends[0], ends[-1]):
        candidate = assemble({**DEFAULTS, "batch_size": 32, dimension.name: value})
        losses.append(losses_of("conv", replace(candidate.recipe, epochs=2), "torch"))
    assert losses[0] != losses[1]
