"""The main job: search, or go on searching, within the limits; then report and export."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import optuna
import torch

import space
from models.baselines import BASELINES
from models.cost import compute_cost
from objective import Objective, refusal
from search import kernels, provenance
from search.commands import NOTICE, conclude
from search.config import SearchConfig
from search.data import Dataset, load_dataset, resolve_auto
from search.feasibility import Feasibility, describe_limits, feasibility_report, survey
from search.place import Place, make_folder, only_one
from search.progress import Progress
from search.study import (
    SETTINGS,
    StopRule,
    enqueue,
    n_refused_in_a_row,
    n_trained,
    open_storage,
    open_study,
    requeue_lost,
)
from search.train import engine_for
from search.workers import Task, run_here, run_side_by_side


def run(
    config: SearchConfig,
    place: Place,
    *,
    n_trials: int,
    n_workers: int,
    timeout: float | None,
    engine: str = "auto",
) -> int:
    """Search, or go on searching, then report and export the winner."""
    runs_on = _engine(engine)
    data_config, notice = resolve_auto(config.data)
    config = replace(config, data=data_config)
    place = replace(place, name=_study_name(place.name, config, notice))
    if notice:
        print(f"\n*** {notice}\n", file=sys.stderr)
    data = load_dataset(config.data)
    make_folder(place.folder)
    shown_url = place.shown_url
    with only_one(place):
        study = open_study(open_storage(place.url), str(place.name), _settings(config, data))
        if notice:
            study.set_user_attr(NOTICE, notice)
        requeue_lost(study, running_are_lost=place.url.startswith("sqlite:"))
        starts = _fitting_starts(config, data)
        enqueue(study, starts)
        feasibility = survey(config)
        n_workers = min(n_workers, n_trials)
        workers = f"{runs_on}; {n_workers} side by side, one thread each"
        print(_plan(config, data, study, feasibility, len(starts), n_trials, workers, f"{place.name} in {shown_url}"))
        provenance.write_config(place.folder / "config.json", study.user_attrs[SETTINGS])
        objective = Objective(config, place.folder / "weights", engine)
        _search(objective, place, study, StopRule(n_trials), n_workers, timeout)
        trials = study.get_trials(deepcopy=False)
        if n_trained(trials) == 0 and n_refused_in_a_row(trials) > 0:
            print(f"No proposal fits {describe_limits(config)}.\n{feasibility_report(feasibility)}", file=sys.stderr)
            print("Raise the limit, or widen the space in space.py.", file=sys.stderr)
            return 2
        return conclude(study, config, place, data)


def _study_name(name: str | None, config: SearchConfig, notice: str | None) -> str:
    """The default name, and the data set in the name wherever digits stand in for MNIST."""
    dataset = config.data.dataset
    if name is None:
        return f"{dataset}-{config.max_params}"
    return f"{name}-{dataset}" if notice and not name.endswith(f"-{dataset}") else name


def _settings(config: SearchConfig, data: Dataset) -> dict[str, Any]:
    return {**config.settings(), "data_checksum": data.checksum, "space": space.SPACE_KEY}


def _fitting_starts(config: SearchConfig, data: Dataset) -> dict[str, space.Params]:
    """The hand-designed networks that are points of the space and within every limit."""
    starts = space.baseline_params(data.input_shape, data.n_classes)
    return {
        name: params for name, params in starts.items() if not refusal(compute_cost(BASELINES[name].spec), config)[1]
    }


def _plan(
    config: SearchConfig,
    data: Dataset,
    study: optuna.Study,
    feasibility: Feasibility,
    n_starts: int,
    n_trials: int,
    workers: str,
    where: str,
) -> str:
    """What is about to happen, in a few lines."""
    scored = f"{len(data.scored):,} {'test' if data.val is None else 'held-out training'} images"
    done = n_trained(study.get_trials(deepcopy=False))
    return "\n".join(
        (
            f"study    {where}",
            f"data     {data.name}: {len(data.train):,} training images; selected on {scored}",
            f"device   {workers}",
            f"space    {len(space.DIMENSIONS)} dimensions; {feasibility.share:.0%} fit {describe_limits(config)}",
            f"trials   {n_trials} of at most {config.epochs} epochs, {done} done; {n_starts} hand-designed ones first",
            "time     shown once the first trials are done",
        )
    )


def _engine(asked: str) -> str:
    """The device and what trains on it. Compiles the kernels, so that no worker has to. Raises InputError."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = engine_for(device, asked)
    words = "kernels compiled here" if found == "native" else "PyTorch's operators"
    missing = f" ({kernels.problem()})" if asked == "auto" and found == "torch" and device.type == "cpu" else ""
    return f"{device.type}, {words}{missing}"


def _search(
    objective: Objective, place: Place, study: optuna.Study, stop: StopRule, n_workers: int, timeout: float | None
) -> None:
    task = Task(place.url, str(place.name), objective, objective.config, stop, timeout)
    with Progress(study, stop.n_trials) as progress:
        try:
            if n_workers == 1:
                run_here(task, progress)
            else:
                run_side_by_side(task, n_workers, progress)
        except KeyboardInterrupt:
            done = n_trained(study.get_trials(deepcopy=False))
            print(f"\n{done} of {stop.n_trials} trials are done and kept; the same command goes on.", file=sys.stderr)
            raise
