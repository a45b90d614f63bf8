"""Run or resume a search within its limits, confirm the winner, report and export it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from models.spec import ArchSpec
from objective import Objective
from search.cli.conclude import conclude
from search.cli.first_trials import sampler_lines, trial_lines
from search.config import ConfirmConfig, SearchConfig
from search.cores import n_cores
from search.dashboard.note_writer import NoteWriter
from search.data.dataset import Dataset
from search.data.load import load_dataset, resolve_auto
from search.engine.native import kernels
from search.engine.train import engine_for, training_device
from search.evidence.runner import Retrainer, confirm, confirmation_size
from search.files import make_folder, write_whole
from search.limits import SHARING_RULE, describe_limits
from search.sampling.exhaustion import Exhaustion
from search.sampling.feasibility import Feasibility, check_latency, check_something_fits, feasibility_report, survey
from search.sampling.feasible_start import FeasibleStart
from search.sampling.starting_points import fitting_baselines, fitting_starting_points
from search.sampling.user_networks import check_networks, queue_networks
from search.sampling.warm_start import check_same, warm_start
from search.search_space.space_file import as_file
from search.storage.open import GRACE_SECONDS, open_storage, study_lock
from search.study import provenance
from search.study.attributes import BASELINE, EXHAUSTED, LATENCY, NOTICE, SETTINGS, START
from search.study.card import read_card
from search.study.load import (
    WINNER,
    check_resumable,
    goes_on_sharing,
    keep_data_dir,
    load_existing,
    read_as_recorded,
    with_form,
)
from search.study.location import StudyLocation, check_name, hold_folder, hold_study, name_part
from search.study.loop import StopRule, n_refused_in_a_row, n_trained
from search.study.results_version import join_results
from search.study.study import enqueue, open_study
from search.text import counted
from search.workers import processes
from search.workers.pool import Task, carry_out
from search.workers.progress import Progress, Subject, print_line
from search.workers.recovery import requeue_abandoned
from search.workers.remaining import SearchRemaining
from space import space_key, space_of

CONFIG = "config.json"


@dataclass(frozen=True)
class Job:
    """Settings of a run that do not change the value of any trial.

    n_trials      number of trained candidates, in total over all restarts
    n_workers     number of networks that are trained side by side
    timeout       in seconds; no trial starts after it, and an unfinished study is not confirmed
    engine        one of search.config.ENGINES
    confirmation  sizes of the confirmation; None: the winner is not confirmed
    warm_starts   studies whose trials are adopted if they fit, until this study has all its trials
    baselines     user networks to train as well, by name
    grace         seconds of silence after which the trial of a worker on another machine is abandoned
    may_change    whether to continue although versions have changed since the study was made
    """

    n_trials: int
    n_workers: int
    timeout: float | None = None
    engine: str = "auto"
    confirmation: ConfirmConfig | None = None
    warm_starts: tuple[StudyLocation, ...] = ()
    baselines: Mapping[str, ArchSpec] = field(default_factory=dict)
    grace: int = GRACE_SECONDS
    may_change: bool = False


def run_job(config: SearchConfig, location: StudyLocation, job: Job) -> int:
    """Run or resume a search, then confirm the winner, report and export it; return the exit status."""
    device = _device_and_engine(job.engine)
    data_config, notice = resolve_auto(config.data)
    config = replace(config, data=data_config)
    if notice:
        print(f"\n*** {notice}\n", file=sys.stderr)
    data = load_dataset(config.data)
    config = replace(config, data=with_form(config.data, data))
    location = replace(location, name=study_name(location.name, config, notice))
    data = read_as_recorded(location, config.data, data)
    config = replace(config, data=with_form(config.data, data))
    shown_url = _check_location(location)
    # A study of version 0.1 has no such setting, and its command goes on.
    config = replace(config, share_weights=config.share_weights or goes_on_sharing(location))
    settings = _settings(config, data)
    # A study that cannot be resumed is refused before anything is written.
    for other in job.warm_starts:
        check_same(str(location.name), settings, load_existing(other))
    check_networks(job.baselines, data, share_weights=config.share_weights)
    check_resumable(location, settings)
    n_workers = min(job.n_workers, job.n_trials)
    if n_workers > 1:
        processes.prepare()
    feasibility = survey(config)
    if not feasibility.n_fitting:
        check_something_fits(config)
    if not job.baselines:  # which may be faster than the networks of the space
        check_latency(config)
    make_folder(location.folder)
    with hold_study(location):
        study, n_adopted = _open_and_queue(config, location, job, data, settings, notice)
        workers = f"{device}; {n_workers} side by side on {counted(n_cores(), 'core')}"
        print_line(
            _plan(
                config,
                data,
                study,
                feasibility,
                job.n_trials,
                job.confirmation,
                workers,
                f"{location.name} in {shown_url}",
            )
        )
        if n_adopted:
            print_line(f"adopted  {counted(n_adopted, 'finished trial')} of other studies")
        with hold_folder(location):
            if config.dimensions:
                write_whole(location.folder / "space.toml", as_file(config))
            provenance.write_config(location.folder / CONFIG, study.user_attrs[SETTINGS])
        objective = Objective(config, location.folder / "weights", job.engine)
        if n_workers > 1:
            data = objective.training.share(config.data, data)
        remaining = SearchRemaining(
            config, job.n_trials, job.n_workers, feasibility.mean_macs, job.confirmation, job.timeout
        )
        _search(objective, location, study, Subject(job.n_trials, remaining), n_workers, job)
        trials = study.get_trials(deepcopy=False)
        if n_trained(trials) == 0 and n_refused_in_a_row(trials) > 0:
            print(f"No proposal fits {describe_limits(config)}{_latency_limit(config, trials)}.", file=sys.stderr)
            print(feasibility_report(feasibility), file=sys.stderr)
            print("Raise the limit, or widen the space in space.py.", file=sys.stderr)
            return 2
        if EXHAUSTED in study.user_attrs:
            print_line(f"\n{study.user_attrs[EXHAUSTED]}")
        if job.confirmation and StopRule(job.n_trials).is_reached(study):
            options: dict[str, Any] = {"grace": job.grace, "may_change": job.may_change}
            retrainer = Retrainer(location, config, job.engine, job.n_workers, **options)
            confirm(retrainer, study, job.confirmation, len(data.scored))
        return conclude(study, config, location, with_export=True, data=data)


def _open_and_queue(
    config: SearchConfig,
    location: StudyLocation,
    job: Job,
    data: Dataset,
    settings: Mapping[str, Any],
    notice: str | None,
) -> tuple[optuna.Study, int]:
    """Create or resume a study, queue the trials that it starts with, and return it with the number of adopted trials.

    Raises InputError if the study was made with other settings, data, space or versions.
    """
    storage = open_storage(location.url)
    with study_lock(storage, str(location.name)):
        study = open_study(storage, str(location.name), settings)
        join_results(study, may_differ=job.may_change)
        if notice:
            study.set_user_attr(NOTICE, notice)
        keep_data_dir(study, config.data)
        requeue_abandoned(study, running_are_abandoned=not location.is_shared)
        # A study that has all its trials is not changed, so that its confirmation stays valid.
        is_done = StopRule(job.n_trials).is_reached(study)
        n_adopted = 0 if is_done else warm_start(study, config, job.warm_starts)
        if config.starts == "stored":
            enqueue(study, fitting_baselines(config, data), BASELINE)
        queue_networks(study, config, data, job.baselines)
        if config.starts == "stored":
            enqueue(study, fitting_starting_points(config, data), START)
    return study, n_adopted


def _check_location(location: StudyLocation) -> str:
    """Return the URL of the storage without its password.

    Raises InputError for an invalid name or storage, and for damaged files of a study that is to be resumed.
    """
    check_name(location)
    provenance.read_runs(location.folder / CONFIG)
    read_card(location.folder / WINNER)
    return location.shown_url


def study_name(name: str | None, config: SearchConfig, notice: str | None) -> str:
    """Return the name of a study, by default its data set and budget.

    notice: says that digits replace MNIST; a chosen name without the data set then gets it as its last part.
    """
    dataset = config.data.dataset
    if name is None:
        return f"{name_part(config.data.label)}-{config.max_params}"
    return f"{name}-{dataset}" if notice and dataset not in name.split("-") else name


def _settings(config: SearchConfig, data: Dataset) -> dict[str, Any]:
    # A study that is selected on the test set holds out no images, and has no such setting.
    held_out = {"held_out": data.held_out} if data.held_out else {}
    return {**config.settings(), "data_checksum": data.checksum, **held_out, "space": space_key(config)}


def _plan(
    config: SearchConfig,
    data: Dataset,
    study: optuna.Study,
    feasibility: Feasibility,
    n_trials: int,
    confirmation: ConfirmConfig | None,
    workers: str,
    study_label: str,
) -> str:
    """Return a few lines that describe the search before it starts."""
    held_out = f"held-out training images ({data.held_out})"
    scored = f"{len(data.scored):,} {'test images' if data.val is None else held_out}"
    changed = f"; {len(config.dimensions)} changed by --space" if config.dimensions else ""
    trials = study.get_trials(deepcopy=False)
    dimensions = f"{space_of(config).n_searched} dimensions{changed}"
    return "\n".join(
        (
            f"study    {study_label}",
            f"data     {data.name}: {len(data.train):,} training images; selected on {scored}",
            *(f"         {remark}" for remark in data.remarks),
            f"device   {workers}",
            f"space    {dimensions}; {_share(feasibility)} fit {describe_limits(config)}",
            *([f"weights  {SHARING_RULE}"] if config.share_weights else []),
            *trial_lines(trials, n_trials, config.epochs),
            *sampler_lines(feasibility, config.sampler),
            confirmation_size(confirmation, trials, n_trials),
        )
    )


def _latency_limit(config: SearchConfig, trials: Sequence[FrozenTrial]) -> str:
    """Return the limit of latency in words, with the lowest latency of the trials; "" without a limit."""
    if config.max_latency is None:
        return ""
    latencies = [trial.user_attrs[LATENCY] for trial in trials if LATENCY in trial.user_attrs]
    lowest = f" (the fastest one took {min(latencies):.3g} ms)" if latencies else ""
    return f" and {config.max_latency:g} ms of latency{lowest}"


def _share(feasibility: Feasibility) -> str:
    """Return the share that fits, "5%", or a count like "3 of 2,000 random points" if it is below 1 %."""
    if feasibility.share >= 0.01:
        return f"{feasibility.share:.0%}"
    return f"{feasibility.n_fitting} of {feasibility.n_drawn:,} random points"


def _device_and_engine(requested: str) -> str:
    """Return a description of the device and the engine, and compile the kernels before the workers need them.

    Raises InputError if the requested engine cannot be used.
    """
    device = training_device()
    engine = engine_for(device, requested)
    words = "kernels compiled here" if engine == "native" else "PyTorch's operators"
    problem = f" ({kernels.problem()})" if requested == "auto" and engine == "torch" and device.type == "cpu" else ""
    return f"{device.type}, {words}{problem}"


def _search(
    objective: Objective, location: StudyLocation, study: optuna.Study, subject: Subject, n_workers: int, job: Job
) -> None:
    config, stop = objective.config, StopRule(job.n_trials)
    # Other machines may still train trials of a shared study.
    if stop.is_reached(study) and not location.is_shared:
        return
    start, exhaustion = FeasibleStart(config), Exhaustion(config)
    name = str(location.name)
    task = Task(location.url, name, objective, config, stop, job.timeout, start, job.grace, exhaustion)
    notes = NoteWriter(config)
    with Progress(study, subject) as progress:

        def watch(study: optuna.Study) -> None:
            progress(study)
            notes(study)

        carry_out(task, n_workers, watch, progress.report)
