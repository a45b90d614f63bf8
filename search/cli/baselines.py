"""Train the hand-designed networks again, each with the recipes of its authors and all with one common recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import space
from models.baselines import BASELINES, Baseline, baselines_for
from models.cost import compute_cost
from models.recipe import RecipeConfig
from search.config import DataConfig, SearchConfig
from search.data.load import form_of, load_dataset
from search.errors import InputError
from search.evidence.repeats import COMMON, OWN, Repeat, read_results
from search.evidence.reproduction import (
    BUDGET,
    CommonResult,
    Reproduction,
    as_json,
    common_recipe,
    own_recipes,
)
from search.evidence.runner import Trainer
from search.files import make_folder, write_whole
from search.report.reproduction import markdown, reproduction_plot, terminal
from search.study.attributes import N_IMAGES, SETTINGS
from search.study.load import check_resumable, keep_data_dir, load_existing
from search.study.location import StudyLocation, hold_study
from search.study.read_only import is_writable, warn_unwritten
from search.study.seeds import derived_seed
from search.text import counted

KIND = "baselines"
SEED = 0


def train_baselines(
    location: StudyLocation, data: DataConfig, ids: Sequence[str], n_seeds: int | None, trainer: Trainer, recipe: Path
) -> int:
    """Run the trainings that the study lacks, and report all of them; return the exit status.

    ids      hand-designed networks; an empty sequence means all
    n_seeds  trainings of every network and recipe; None means three within the budget of 8,000 parameters, else one
    recipe   card.json of the network that gives the common recipe; if it is missing, the search's default is used
    """
    dataset = load_dataset(data)
    common = _common_recipe(recipe)
    settings = {"kind": KIND, "dataset": data.dataset, "data_checksum": dataset.checksum, "select_on": "test"}
    check_resumable(location, settings)
    make_folder(location.folder)
    with hold_study(location):
        repeats = _repeats(ids or list(_baselines_of(data.dataset)), n_seeds, *common)
        # The workers are those of a search, so they need the settings of one.
        config = SearchConfig(data, max_params=BUDGET, sampler="random", pruner="none")
        print(f"baselines {counted(len(repeats), 'training')}, of which some may be there already", flush=True)
        retrainer = replace(trainer.at(location, config), every_epoch=True)
        study = retrainer.open(str(location.name), settings)
        study.set_user_attr(N_IMAGES, len(dataset.test))
        keep_data_dir(study, data)
        retrainer.train(study, repeats)
        return report_baselines(location)


def report_baselines(location: StudyLocation) -> int:
    """Write report.md, results.json and stated.svg of the study, and print both tables."""
    reproductions, commons, notice = _reproductions(location)
    print(f"\n{terminal(reproductions, commons, notice)}")
    files = {
        "report.md": markdown(reproductions, commons, notice),
        "results.json": json.dumps(as_json(reproductions, commons), indent=1) + "\n",
        "stated.svg": reproduction_plot(reproductions),
    }
    if not is_writable(location.folder):
        warn_unwritten(location.folder, list(files))
        return 0
    make_folder(location.folder)
    for name, content in files.items():
        write_whole(location.folder / name, content)
    print(f"\nWritten to {location.folder}: {', '.join(files)}")
    return 0


def baselines_figures(location: StudyLocation) -> dict[str, Any]:
    """Return the content of results.json."""
    reproductions, commons, _ = _reproductions(location)
    return as_json(reproductions, commons)


def _reproductions(location: StudyLocation) -> tuple[list[Reproduction], list[CommonResult], str]:
    """Return the results of both kinds of recipes, and a notice; empty for MNIST. Raises InputError without results."""
    study = load_existing(location)
    results = read_results(study.get_trials(deepcopy=False))
    if N_IMAGES not in study.user_attrs:  # the command ended before its first training
        raise InputError(f"study {location.name!r} has no training yet; continue with python search.py baselines")
    dataset = study.user_attrs[SETTINGS]["dataset"]
    baselines = _baselines_of(dataset)
    reproductions = own_recipes(results, study.user_attrs[N_IMAGES], baselines)
    commons = common_recipe(results, baselines)
    notice = ""
    if dataset != "mnist":
        reproductions = [reproduction.without_stated() for reproduction in reproductions]
        notice = f"Trained on {dataset}: the accuracies that the authors state are of MNIST, and are left out."
    return reproductions, commons, notice


def _baselines_of(dataset: str) -> dict[str, Baseline]:
    """Return the hand-designed networks for a published data set, by id."""
    form = form_of(DataConfig(dataset, ""))
    return baselines_for(form.input_shape, form.n_classes)


def _common_recipe(card: Path) -> tuple[str, RecipeConfig]:
    """Return name and settings of the recipe that all networks are trained with. Raises InputError for a bad card."""
    if not card.is_file():
        return "the search's default", space.assemble(space.DEFAULTS).recipe
    try:
        content: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
        return f"{content['study']:.120}, trial {content['trial']}", RecipeConfig.from_dict(content["recipe"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{card} holds no recipe: {error}; name another study with --recipe-of") from error


def _repeats(ids: Sequence[str], n_seeds: int | None, common_name: str, common: RecipeConfig) -> list[Repeat]:
    """Return all trainings, ordered by seed so that the tables have a value for every network early."""
    trainings = []
    for i in range(n_seeds or 3):
        for name in ids:
            baseline = BASELINES[name]
            if n_seeds is None and i > 0 and compute_cost(baseline.spec).n_params > BUDGET:
                continue
            recipes = [(OWN, recipe_name, recipe) for recipe_name, recipe in baseline.recipes.items()]
            for purpose, recipe_name, recipe in [*recipes, (COMMON, common_name, common)]:
                seed = derived_seed(SEED, KIND, i)
                trainings.append(Repeat(purpose, None, seed, "test", baseline.spec, recipe, name, recipe_name))
    return trainings
