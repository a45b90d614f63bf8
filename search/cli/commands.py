"""The commands on a study that is there, or on none: report, export, confirm, null, describe, space."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import optuna

import space
from models.baselines import BASELINES
from models.cost import compute_cost
from search.cli.elsewhere import weights_elsewhere
from search.config import ConfirmConfig, DataConfig, SearchConfig, data_directory
from search.dashboard.publish import furnish
from search.data.dataset import Dataset
from search.data.load import form_of, load_dataset
from search.errors import FailureError, InputError
from search.evidence import runner
from search.evidence.repeats import read_results
from search.evidence.runner import Retrainer
from search.export.formats import possible
from search.export.request import Wanted, export_baseline, export_wanted, exported_line, winner_source, write_export
from search.files import make_folder
from search.limits import describe_limits
from search.report.architecture import describe_baseline, describe_json, layer_table
from search.report.summary import StudySummary, card_facts, summary_of
from search.report.terminal import terminal_report, write_report
from search.sampling.feasibility import feasibility_report, survey
from search.search_space.network_file import read_network
from search.search_space.space_file import space_of
from search.study.attributes import SETTINGS
from search.study.card import CARD, read_card
from search.study.load import WINNER, check_data, config_of, existing, is_there, kind_of
from search.study.location import Place, one_writer, only_one
from search.study.trials import TrialRecord, finished_trial, read_trials


def conclude(
    study: optuna.Study, config: SearchConfig, place: Place, *, with_export: bool, data: Dataset | None = None
) -> int:
    """Write and print a study's report; before that, if wanted, export its winner; then furnish the dashboard.

    data: the study's, where it is in memory already.
    """
    with one_writer(place):
        records, summary, failure = _write(study, config, place, with_export=with_export)
        furnish(study, config, place, summary, records, data)
    if failure:
        raise failure
    return 0


def _write(
    study: optuna.Study, config: SearchConfig, place: Place, *, with_export: bool
) -> tuple[list[TrialRecord], StudySummary, Exception | None]:
    """(the trials, what was found, why the winner could not be exported), once that stands in files and is printed."""
    records = read_trials(study.get_trials(deepcopy=False))
    summary = summary_of(study, config, place, records)
    winner = place.folder / WINNER
    failure: Exception | None = None
    # The weights of an adopted trial lie with the study that it was trained in.
    if with_export and summary.winner and (summary.confirmation or summary.winner.origin is None):
        number = summary.winner.number
        try:
            source = winner_source(summary, place)
            formats = _earlier_formats(winner)
            card = write_export(source, config.data, place, winner, formats, force=True)
            summary = replace(summary, **card_facts(card))
        except (InputError, FailureError) as error:
            if elsewhere := weights_elsewhere(place, number, summary.confirmation):
                print(f"\nsearch.py: no winner/ here: {elsewhere}", file=sys.stderr)
            else:
                failure = error  # the report of hours of work does not depend on it
    write_report(summary, records, place.folder)
    made = [
        "report.html",
        "report.md",
        "trials.csv",
        *(["winner/model.py"] if (winner / CARD).is_file() else []),
    ]
    print(f"\n{terminal_report(summary)}\n\nWritten to {place.folder}: {', '.join(made)}")
    return records, summary, failure


def _earlier_formats(winner: Path) -> list[str]:
    """Those of the winner's present export that can still be written, so that a new winner comes in the same."""
    card = read_card(winner)
    return possible(card.get("formats", ())) if card else []


def report(place: Place, data_dir: str | None = None) -> int:
    """The report of a study, again, from what is on disk. The database stays as it is: `dashboard` furnishes it."""
    study = existing(place)
    with one_writer(place):
        _write(study, config_of(study, data_dir), place, with_export=False)
    return 0


def export(place: Place, data_dir: str | None, wanted: Wanted) -> int:
    """Write a network of a study as a folder that stands alone."""
    if wanted.budget is not None and not is_there(place):
        of_frontier = replace(place, name=f"{place.name}-{wanted.budget}")
        place = of_frontier if is_there(of_frontier) else place
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


@dataclass(frozen=True)
class Trainer:
    """With what networks are trained again: engine, how many side by side, and whether the code may have changed."""

    engine: str
    n_workers: int
    may_change: bool = False

    def at(self, place: Place, config: SearchConfig) -> Retrainer:
        """For the study at `place`."""
        return Retrainer(place, config, self.engine, self.n_workers, may_change=self.may_change)


def confirm(place: Place, data_dir: str | None, confirming: ConfirmConfig, trainer: Trainer) -> int:
    """Train the best trials of a study again on fresh seeds; report and export what that shows."""
    study = existing(place)
    config = config_of(study, data_dir)
    data = load_dataset(config.data)
    check_data(study, data)
    make_folder(place.folder)
    with only_one(place):
        runner.confirm(trainer.at(place, config), study, confirming, len(data.scored))
        return conclude(study, config, place, with_export=True, data=data)


def null(place: Place, data_dir: str | None, number: int | None, n: int, trainer: Trainer) -> int:
    """Measure how far trainings of one configuration differ by their seed; report it."""
    study = existing(place)
    config = config_of(study, data_dir)
    data = load_dataset(config.data)  # what is wrong with it is to be said here, not by a worker
    check_data(study, data)
    finished_trial(read_trials(study.get_trials(deepcopy=False)), number)
    make_folder(place.folder)
    with only_one(place):
        runner.measure_noise(trainer.at(place, config), study, number, n)
        return conclude(study, config, place, with_export=False, data=data)


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
