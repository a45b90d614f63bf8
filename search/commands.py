"""The commands on a study that is there, or on none: report, export, confirm, null, describe, space."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna

import space
from models.baselines import BASELINES
from models.cost import compute_cost
from search import retrain
from search.config import ConfirmConfig, DataConfig, FailureError, InputError, SearchConfig, data_directory
from search.data import Dataset, form_of, load_dataset
from search.data_place import as_kept
from search.describe import describe_baseline, describe_json, layer_table
from search.export_command import Wanted, export_baseline, export_wanted, exported_line, winner_source, write_export
from search.feasibility import feasibility_report, survey
from search.formats import possible
from search.furnish import furnish
from search.importance import importances
from search.limits import describe_limits
from search.place import Place, make_folder, only_one
from search.repeats import read_results
from search.report import StudySummary, summarise, terminal_report, write_report
from search.retrain import Retrainer, repeats_of
from search.space_file import space_of
from search.spec_files import read_network
from search.study import SETTINGS, load_study, open_storage
from search.summary import card_facts
from search.trials import TrialRecord, read_trials

NOTICE = "notice"


def conclude(
    study: optuna.Study, config: SearchConfig, place: Place, *, with_export: bool, data: Dataset | None = None
) -> int:
    """Write and print a study's report; before that, if wanted, export its winner; then furnish the dashboard.

    data: the study's, where it is in memory already.
    """
    records = read_trials(study.get_trials(deepcopy=False))
    summary = summary_of(study, config, place, records)
    winner = place.folder / "winner"
    failure: Exception | None = None
    # The weights of an adopted trial lie with the study that it was trained in.
    if with_export and summary.winner and (summary.confirmation or summary.winner.origin is None):
        try:
            source = winner_source(summary, place)
            card = write_export(source, config.data, place, winner, _earlier_formats(winner), force=True)
            summary = replace(summary, **card_facts(card))
        except (InputError, FailureError) as error:
            failure = error  # the report of hours of work does not depend on it
    write_report(summary, records, place.folder)
    made = [
        "report.html",
        "report.md",
        "trials.csv",
        *(["winner/model.py"] if (winner / "card.json").is_file() else []),
    ]
    print(f"\n{terminal_report(summary)}\n\nWritten to {place.folder}: {', '.join(made)}")
    furnish(study, config, place, summary, records, data)
    if failure:
        raise failure
    return 0


def _earlier_formats(winner: Path) -> list[str]:
    """Those of the winner's present export that can still be written, so that a new winner comes in the same."""
    card = winner / "card.json"
    return possible(json.loads(card.read_text()).get("formats", ())) if card.is_file() else []


def summary_of(study: optuna.Study, config: SearchConfig, place: Place, records: Sequence[TrialRecord]) -> StudySummary:
    """What a study found, from its trials and what else is on disk."""
    repeats, plan = repeats_of(place)
    card = place.folder / "winner" / "card.json"
    return summarise(
        str(place.name),
        config,
        records,
        notice=study.user_attrs.get(NOTICE, ""),
        winner_card=json.loads(card.read_text()) if card.is_file() else None,
        repeats=repeats,
        plan=plan,
        importances=importances(study),
    )


def report(place: Place, data_dir: str | None = None) -> int:
    """The report of a study, again, from what is on disk."""
    study = existing(place)
    return conclude(study, config_of(study, data_dir), place, with_export=False)


def export(place: Place, data_dir: str | None, wanted: Wanted) -> int:
    """Write a network of a study as a folder that stands alone."""
    if wanted.budget is not None and not is_there(place):
        place = replace(place, name=f"{place.name}-{wanted.budget}")  # as a frontier names its studies
    study = existing(place)
    if kind_of(place) == "baselines":
        results = read_results(study.get_trials(deepcopy=False))
        data = DataConfig(study.user_attrs[SETTINGS]["dataset"], data_directory(data_dir))
        source, target = export_baseline(wanted, results, data, place)
    else:
        config = config_of(study, data_dir)
        records = read_trials(study.get_trials(deepcopy=False))
        source, target = export_wanted(wanted, summary_of(study, config, place, records), records, place)
    print(exported_line(source, target))
    return 0


def is_there(place: Place) -> bool:
    """Whether there is a study at `place`."""
    try:
        existing(place)
    except InputError:
        return False
    return True


def confirm(place: Place, data_dir: str | None, confirming: ConfirmConfig, engine: str, n_workers: int) -> int:
    """Train the best trials of a study again on fresh seeds; report and export what that shows."""
    study = existing(place)
    config = config_of(study, data_dir)
    data = load_dataset(config.data)
    make_folder(place.folder)
    with only_one(place):
        retrain.confirm(Retrainer(place, config, engine, n_workers), study, confirming, len(data.scored))
        return conclude(study, config, place, with_export=True, data=data)


def null(place: Place, data_dir: str | None, number: int | None, n: int, engine: str, n_workers: int) -> int:
    """Measure how far trainings of one configuration differ by their seed; report it."""
    study = existing(place)
    config = config_of(study, data_dir)
    data = load_dataset(config.data)  # what is wrong with it is to be said here, not by a worker
    make_folder(place.folder)
    with only_one(place):
        retrain.measure_noise(Retrainer(place, config, engine, n_workers), study, number, n)
        return conclude(study, config, place, with_export=False, data=data)


def existing(place: Place) -> optuna.Study:
    """The study at `place`; a database that is not there is not created."""
    path = place.sqlite_path
    if path is not None and not path.is_file():
        raise InputError(f"there is no study {place.name!r}: no database {path}")
    return load_study(open_storage(place.url), str(place.name))


def kind_of(place: Place) -> str:
    """What the study at `place` is of: "search", or "baselines"."""
    return str(existing(place).user_attrs.get(SETTINGS, {}).get("kind", "search"))


def config_of(study: optuna.Study, data_dir: str | None = None) -> SearchConfig:
    """The settings that a study was made with, and where its data lies; data_dir: if not there. Raises InputError."""
    settings = study.user_attrs.get(SETTINGS)
    if settings is None:
        raise InputError(f"study {study.study_name!r} was not made by this program")
    config = SearchConfig.from_settings(settings, "")
    return replace(config, data=as_kept(config.data, study, data_dir))


def describe(network: str, *, as_json: bool) -> int:
    """The layer table of a hand-designed network, or of the network in a file."""
    name, spec = read_network(network)
    baseline = BASELINES.get(name) if name == network else None
    cost = compute_cost(spec)
    if as_json:
        print(json.dumps(describe_json(spec, cost), indent=2))
        return 0
    print(layer_table(cost))
    if baseline:
        print(f"\n{describe_baseline(baseline)}")
    return 0


def show_space(config: SearchConfig) -> int:
    """The dimensions with their ranges, how many points they make, and how much of the space fits."""
    searched, form = space_of(config), form_of(config.data)
    config = replace(config, data=replace(config.data, form=form))
    for one, usual in zip(searched.dimensions, space.DIMENSIONS, strict=True):
        print(f"{one.name:22}{one}" + (f"   instead of {usual}" if one != usual else ""))
    counts = [one.n_values for one in searched.dimensions if one.n_values]
    size = f"10^{math.log10(math.prod(counts)):.0f} points of whole numbers and choices"
    n_real = sum(one.n_values is None for one in searched.dimensions)
    print(
        f"\n{len(searched.dimensions)} dimensions: {size}, and {n_real} of real numbers; for {describe_limits(config)}"
    )
    shape = "x".join(map(str, form.input_shape))
    print(f"images                        {shape}, {form.n_classes} classes ({form.name})")
    print(feasibility_report(survey(config)))
    return 0
