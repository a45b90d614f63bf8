"""Finish a command that trained: write and print the reports, export the winner, and publish to the dashboard."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import optuna

from search.config import SearchConfig
from search.dashboard.publish import publish
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.errors import FailureError, InputError
from search.evidence.confirm import Confirmation
from search.export.formats.table import installed_formats
from search.export.request import winner_source, write_export
from search.report.summary import StudySummary, card_facts, summary_of
from search.report.terminal import REPORT_FILES, terminal_report, write_report
from search.storage.open import open_storage
from search.study.attributes import WORKER
from search.study.card import CARD, read_card
from search.study.load import WINNER, check_data, config_of, load_existing
from search.study.location import StudyLocation, hold_folder, repeats_name
from search.study.read_only import is_writable, warn_unwritten
from search.study.study import load_study
from search.study.training import weights_path
from search.study.trials import TrialRecord, read_trials
from search.workers.progress import print_line


def conclude(
    study: optuna.Study,
    config: SearchConfig,
    location: StudyLocation,
    *,
    with_export: bool,
    data: Dataset | None = None,
) -> int:
    """Export the winner of a study if requested, write and print the reports, and publish it to the dashboard.

    data: data set of the study, if it is in memory already. Return the exit status. Raises InputError or FailureError
    at the end if the winner could not be exported.
    """
    with hold_folder(location):
        records, summary, failure = write_reports(study, config, location, with_export=with_export)
        publish(study, config, location, summary, records, data)
    if failure:
        raise failure
    return 0


def write_reports(
    study: optuna.Study, config: SearchConfig, location: StudyLocation, *, with_export: bool
) -> tuple[list[TrialRecord], StudySummary, Exception | None]:
    """Write and print the reports; return the trials, the summary, and the error of the export or None."""
    records = read_trials(study.get_trials(deepcopy=False))
    summary = summary_of(study, config, location, records)
    winner = location.folder / WINNER
    failure: Exception | None = None
    # The weights of an adopted trial are in the folder of the study that trained it.
    if with_export and summary.winner and (summary.confirmation or summary.winner.origin is None):
        number = summary.winner.number
        try:
            source = winner_source(summary, location)
            formats = _earlier_formats(winner)
            card = write_export(source, config.data, location, winner, formats, force=True, announce=print_line)
            summary = replace(summary, **card_facts(card))
        except (InputError, FailureError) as error:
            if message := missing_weights_message(location, number, summary.confirmation):
                print(f"\nsearch.py: the winner is not exported: {message}", file=sys.stderr)
            else:
                failure = error  # raised by the caller, after the reports are written
    if is_writable(location.folder):
        write_report(summary, records, location.folder)
        files = [*REPORT_FILES, *(["winner/model.py"] if (winner / CARD).is_file() else [])]
        print(f"\n{terminal_report(summary)}\n\nWritten to {location.folder}: {', '.join(files)}")
    else:
        print(f"\n{terminal_report(summary)}")
        warn_unwritten(location.folder, REPORT_FILES)
    if with_export and summary.winner and summary.winner.origin and not summary.confirmation:
        name, _, trial = summary.winner.origin.rpartition("/")
        print(
            "The winner is not exported, because the study that trained it has its weights: "
            f"python search.py export {name} --trial {trial}"
        )
    return records, summary, failure


def _earlier_formats(winner: Path) -> list[str]:
    """Return the formats of the previous export that can still be written; a new winner is exported in them too."""
    card = read_card(winner)
    return installed_formats(card.get("formats", ())) if card else []


def load_for_training(location: StudyLocation, data_dir: str | None) -> tuple[optuna.Study, SearchConfig, Dataset]:
    """Return study, settings and data of a study that is to be trained further.

    Raises InputError if the data is missing or is not that of the study, before any worker starts.
    """
    study = load_existing(location)
    config = config_of(study, data_dir)
    data = load_dataset(config.data)
    check_data(study, data)
    return study, config, data


def missing_weights_message(location: StudyLocation, trial: int, confirmed: Confirmation | None = None) -> str:
    """Return a message that names the machine with the weights of a trial; "" if they should be on this machine.

    trial      number of the trial of the search
    confirmed  its confirmation, if the weights of the confirmed network are meant, which are in another file
    """
    if not location.is_shared:
        return ""
    name, number, folder = str(location.name), trial, "weights"
    if confirmed:
        name, number, folder = repeats_name(location), confirmed.network.number, "repeats"
    if weights_path(location.folder / folder, number).is_file():
        return ""
    trials = load_study(open_storage(location.url), name).get_trials(deepcopy=False)
    machine = str(trials[number].user_attrs.get(WORKER, "")).partition("/")[0]
    return (
        f"the weights of trial {trial} are not in {location.folder / folder}, but on the machine that trained them, "
        f"{machine or 'unknown'}: run `python search.py export {location.name} --storage ...` there, or give all "
        "machines one folder with --out"
    )
