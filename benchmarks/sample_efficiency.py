"""Compare samplers by the networks that they find with equally many trainings.

    python -m benchmarks.sample_efficiency [--arms random tpe evolve] [--seeds 3] [--trials 60] [--images 10000]
                                           [--epochs 5] [--jobs 2] [--out DIR] [--starts] [--json]
                                           [--plot FILE.svg]

An arm is a sampler. Every arm and study seed is one study with at most 8,000 parameters on a part of MNIST's training
images, which is stratified and always the same. There is no pruner, so that every trial has the same number of epochs,
and without --starts there are no hand-designed networks. Trials are scored on 10,000 other training images. Studies run
side by side in processes of one thread and are kept in --out; an interrupted command resumes them.

The best of many noisy values is too high by chance. So the trials that lead after a third, two thirds and all of the
trials are trained again with three fresh seeds and scored on the test set, which no search uses. The mean of these
accuracies is called merit.

Arms with the same study seed start with the same random points, if these fit. `evolve` proposes like `tpe` up to its
tenth trained trial, so both studies are equal up to there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import optuna
import torch
from sklearn.model_selection import train_test_split

from benchmarks.sample_efficiency_report import (
    LEADERS,
    N_MERIT_SEEDS,
    StudyResult,
    as_json,
    as_plot,
    as_text,
    leader,
    trained,
)
from objective import Objective
from search.config import SAMPLERS, DataConfig, SearchConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.engine.process import end_with_parent
from search.engine.train import TrainingDivergedError, engine_for, training_device
from search.errors import InputError
from search.files import make_folder, write_whole
from search.sampling.feasible_start import FeasibleStart
from search.sampling.samplers import make_sampler
from search.sampling.starting_points import fitting_baselines
from search.storage.open import open_storage
from search.study.location import StudyLocation, hold_study
from search.study.loop import StopRule, run_trials
from search.study.pruner import make_pruner
from search.study.seeds import derived_seed
from search.study.study import enqueue, load_study, open_study
from search.study.training import RecordedTraining, Training
from search.study.trials import TrialRecord, read_trials
from search.workers.processes import spawn
from search.workers.recovery import requeue_abandoned
from space import SPACE_KEY

BUDGET = 8000
MERIT = "merit"


@dataclass(frozen=True)
class StudyPlan:
    """Plan of one study.

    images  number of training images
    starts  whether the study starts with the hand-designed networks that fit
    """

    config: SearchConfig
    out: Path
    n_trials: int
    images: int
    starts: bool

    @property
    def name(self) -> str:
        """Return the name of the study, made of all settings that differ between plans except the number of trials."""
        starts = "-starts" if self.starts else ""
        return f"{self.config.sampler}-{self.config.seed}-{self.images}x{self.config.epochs}{starts}"

    @property
    def location(self) -> StudyLocation:
        """Return the location of the study, with its own database so that studies do not wait for each other."""
        return StudyLocation(self.out, self.name, f"sqlite:///{self.out / self.name / 'study.db'}")


class SubsetTraining(RecordedTraining):
    """Training on a stratified part of the training images, which is the same in every process."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self._images = images

    def data(self, config: DataConfig) -> Dataset:
        """Return the part of the data that the search uses, normalised with the statistics of all images."""
        data = super().data(config)
        if self._images < len(data.train):
            indices, _ = train_test_split(
                range(len(data.train)), train_size=self._images, stratify=data.train.labels.numpy(), random_state=0
            )
            data = self._data[config] = replace(data, train=data.train.take(torch.tensor(sorted(indices))))
        return data


class SubsetObjective(Objective):
    """Objective of a search that trains on a part of the training images."""

    def __init__(self, config: SearchConfig, images: int) -> None:
        super().__init__(config)
        self.training = SubsetTraining(images)

    @property
    def data(self) -> Dataset:
        """Return the part of the data that the search uses."""
        return self.training.data(self.config.data)

    def train_again(self, record: TrialRecord, seed: int) -> float:
        """Train the network of a finished trial from another seed; return the test accuracy, or 0 if it diverges."""
        assert record.arch is not None
        assert record.recipe is not None
        training = Training(record.arch, record.recipe, seed)
        try:
            # Without held-out images a training is scored on the test set.
            return training.value(training.run(replace(self.data, val=None)))
        except TrainingDivergedError:
            return 0.0


def run_study(plan: StudyPlan) -> None:
    """Run or resume a search, then train the leaders again; all results are stored in the database of the study."""
    make_folder(plan.location.folder)
    with hold_study(plan.location):
        objective = SubsetObjective(plan.config, plan.images)
        facts = {"data_checksum": objective.data.checksum, "space": SPACE_KEY, "images": plan.images}
        study = open_study(open_storage(plan.location.url), plan.name, {**plan.config.settings(), **facts})
        _search(plan, study, objective)
        _train_leaders(plan, study, objective)


def _search(plan: StudyPlan, study: optuna.Study, objective: SubsetObjective) -> None:
    config = plan.config
    requeue_abandoned(study, running_are_abandoned=True)
    if plan.starts:
        enqueue(study, fitting_baselines(config, objective.data), "baseline")
    study.sampler = make_sampler(config.sampler, config.seed, FeasibleStart(config))
    study.pruner = make_pruner(config.pruner, config.epochs)
    run_trials(study, objective, config.seed, StopRule(plan.n_trials))


def _train_leaders(plan: StudyPlan, study: optuna.Study, objective: SubsetObjective) -> None:
    records = trained(read_trials(study.get_trials(deepcopy=False)))[: plan.n_trials]
    for share in LEADERS:
        record = leader(records, share, plan.n_trials)
        if record is None:
            continue
        # A network may lead more than once, and an interrupted command may have trained it from some of the seeds.
        key = f"{MERIT}:{record.number}"
        accuracies = list(study.user_attrs.get(key, []))
        for i in range(len(accuracies), N_MERIT_SEEDS):
            accuracies.append(objective.train_again(record, derived_seed(plan.config.seed, MERIT, record.number, i)))
            study.set_user_attr(key, accuracies)


def read_study(plan: StudyPlan) -> StudyResult:
    """Return the result of a study that `run_study` has run."""
    study = load_study(open_storage(plan.location.url), plan.name)
    merits = {
        int(key.partition(":")[2]): tuple(accuracies)
        for key, accuracies in study.user_attrs.items()
        if key.startswith(f"{MERIT}:")
    }
    records = read_trials(study.get_trials(deepcopy=False))
    return StudyResult.of(plan.config.sampler, plan.config.seed, records, merits, plan.n_trials)


def _work(plan: StudyPlan) -> None:
    """Run a study in a worker process of one thread, which ends with its parent."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        run_study(plan)
    except InputError as error:
        raise SystemExit(f"{plan.name}: {error}") from error


def run_side_by_side(plans: Sequence[StudyPlan], n_jobs: int) -> None:
    """Run every plan in its own process, `n_jobs` at a time. Raises SystemExit if one of them fails."""
    waiting = list(plans)
    running: list[tuple[StudyPlan, Any]] = []
    started = time.perf_counter()
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                running.append((waiting[0], spawn(_work, waiting.pop(0))))
            wait([process.sentinel for _, process in running])
            for plan, process in [pair for pair in running if not pair[1].is_alive()]:
                running.remove((plan, process))
                if process.exitcode:
                    raise SystemExit(f"{plan.name} failed; finished trials are kept in {plan.out}")
                print(f"{(time.perf_counter() - started) / 60:6.1f} min  {plan.name}", file=sys.stderr, flush=True)
    finally:
        for _, process in running:
            process.terminate()
            process.join()


def main(argv: Sequence[str] | None = None) -> None:
    """Run all studies, and print or write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=("random", "tpe", "evolve"), choices=SAMPLERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "sample-efficiency")
    parser.add_argument("--starts", action="store_true", help="start with the hand-designed networks that fit")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--plot", type=Path, help="SVG file to write the curves of the best value so far to")
    args = parser.parse_args(argv)
    data = DataConfig(args.dataset, args.data_dir, "val")
    plans = [
        StudyPlan(
            SearchConfig(data, BUDGET, epochs=args.epochs, seed=seed, sampler=arm, pruner="none"),
            args.out,
            args.trials,
            args.images,
            args.starts,
        )
        for seed in range(args.seeds)
        for arm in args.arms
    ]
    try:
        make_folder(args.out)
        # Done here once, so that no two processes download the images or compile the kernels at the same time.
        load_dataset(data)
    except InputError as error:
        raise SystemExit(f"sample_efficiency: {error}") from error
    engine_for(training_device(), "auto")
    run_side_by_side(plans, args.jobs)
    results = [read_study(plan) for plan in plans]
    if args.plot:
        write_whole(args.plot, as_plot(results))
    print(as_json(results) if args.json else as_text(results, args.trials))


if __name__ == "__main__":
    main()
