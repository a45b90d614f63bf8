"""Publish notes, figures, pictures and files of a study to the dashboard, and keep them up to date."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from tqdm import tqdm

from models.cost import compute_cost
from models.layer_cost import LayerCost
from models.spec import ArchSpec
from search.config import SearchConfig
from search.dashboard.artifacts import StudyArtifacts
from search.dashboard.figures import figures
from search.dashboard.note_writer import NoteWriter
from search.dashboard.trial_note import fitted
from search.data.dataset import Dataset
from search.data.load import form_of, is_available, load_dataset
from search.engine.confusion import Confusion
from search.errors import InputError, explanation
from search.report.evidence import fresh_seeds
from search.report.fonts import drawable
from search.report.images import misread_page
from search.report.markdown import markdown_report
from search.report.network_figures import draw_confusion, has_long_names
from search.report.networks.of_trial import network_of
from search.report.plot import png
from search.report.study_figures import draw_curves
from search.report.summary import StudySummary
from search.storage.optuna_internals import saved_figure
from search.study.attributes import SETTINGS
from search.study.location import ARTIFACTS, StudyLocation
from search.study.trials import TRAINED, TrialRecord
from search.text import percent

# Version of the drawings. When it changes, the pictures of older studies are drawn again.
DRAWN_AS = b"3"
CURVE, LAYERS, CONFUSION, MISREAD = "curve.png", "layers.csv", "confusion.png", "misread.png"
CURVE_FRAME, CONFUSION_FRAME = (0.14, 0.125, 0.845, 0.85), (0.105, 0.1, 0.775, 0.88)
# Files of the winner, with their paths in the folder of the study.
WINNERS = {"model.py": "winner/model.py", "weights.pt": "winner/weights.pt", "report.html": "report.html"}


class _Images:
    """Provider of the data of a study, which is read when a picture first needs it."""

    def __init__(self, study: optuna.Study, config: SearchConfig, data: Dataset | None) -> None:
        self._checksum = study.user_attrs.get(SETTINGS, {}).get("data_checksum")
        self._config = config.data
        self._data = data
        self._is_read = data is not None

    def get(self) -> Dataset | None:
        """Return the data; None if it is not available or differs from the data of the study."""
        if not self._is_read:
            self._is_read = True
            data = self._load()
            self._data = data if data and data.checksum == self._checksum else None
        return self._data

    def _load(self) -> Dataset | None:
        try:
            return load_dataset(self._config) if is_available(self._config) else None
        except InputError:  # for example, the images of a folder have changed
            return None


def publish(
    study: optuna.Study,
    config: SearchConfig,
    location: StudyLocation,
    summary: StudySummary,
    records: Sequence[TrialRecord],
    data: Dataset | None = None,
    artifacts: Path | None = None,
) -> None:
    """Write the notes, figures and files that are missing or have changed, and leave all others as they are.

    data       data of the study, if it is already in memory
    artifacts  folder of the files of trials; None for the one that all studies at `location` share

    Errors are printed on standard error and never raised, as a report must not fail because of the dashboard.
    """
    try:
        ended_trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        NoteWriter(config).write(study, ended_trials, _remarks(summary))
        _show_study(study, summary, records)
        store = StudyArtifacts(study, artifacts or location.out / ARTIFACTS)
        trials = {trial.number: trial for trial in ended_trials}
        trained_records = [record for record in records if record.outcome in TRAINED and record.number in trials]
        for record in trained_records:
            _attach_tables(store, trials[record.number], record, config)
        _attach_winner(store, trials, summary, location)
        # The pictures come last, as they take longest.
        _attach_pictures(store, trials, summary, trained_records, _Images(study, config, data))
        # Files are missing if a database was copied without its artifacts and the images are not available. Those of a
        # shared study may be on another machine.
        if not location.is_shared:
            store.detach_missing()
    except Exception as error:
        reason = explanation(error) or f"{error!r:.300}"
        print(f"search.py: the dashboard's notes and figures are not complete: {reason}", file=sys.stderr)


def _remarks(summary: StudySummary) -> dict[int, str]:
    if summary.winner is None:
        return {}
    words = "**The winner of the study.**"
    if summary.confirmation:
        accuracy = summary.confirmation.accuracy
        words += f" {percent(accuracy.mean)} is the mean of {fresh_seeds(accuracy)}."
        words += " The files model.py and weights.pt are of the median one of these."
    return {summary.winner.number: words}


def _show_study(study: optuna.Study, summary: StudySummary, records: Sequence[TrialRecord]) -> None:
    import plotly.graph_objects
    from optuna_dashboard import get_note, save_note, save_plotly_graph_object

    note = fitted(markdown_report(summary))
    if get_note(study) != note:
        save_note(study, note)
    for name, figure in figures(summary, records).items():
        plot = plotly.graph_objects.Figure(figure)
        if saved_figure(study, name) != plot.to_json():
            save_plotly_graph_object(study, plot, graph_object_id=name)


def _attach_tables(store: StudyArtifacts, trial: FrozenTrial, record: TrialRecord, config: SearchConfig) -> None:
    """Attach the curve and the layer table of a trained trial."""
    if record.curve:
        source = DRAWN_AS + json.dumps(record.curve).encode()
        store.attach(trial, CURVE, source, partial(_curve_png, record, config.metric))
    arch = network_of(record, config)
    if arch:
        table = _layer_csv(arch)
        store.attach(trial, LAYERS, table, partial(bytes, table))


def _curve_png(record: TrialRecord, metric: str) -> bytes:
    curves = {f"trial {record.number}": record.curve}
    return png((7, 4), partial(draw_curves, curves=curves, metric=metric), CURVE_FRAME)


def _layer_csv(arch: ArchSpec) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LayerCost._fields)
    writer.writerows(compute_cost(arch).layers)
    return text.getvalue().encode()


def _attach_pictures(
    store: StudyArtifacts,
    trials: dict[int, FrozenTrial],
    summary: StudySummary,
    trained_records: Sequence[TrialRecord],
    images: _Images,
) -> None:
    """Attach the confusion matrix of each finished trial, and its misread images if the data is available."""
    mistakes_by_trial = {
        record.number: Confusion.from_dict(record.mistakes) for record in trained_records if record.mistakes
    }
    # The winner shows the mistakes of the exported network, which was scored on the test set if it was confirmed.
    if summary.winner and summary.mistakes:
        mistakes_by_trial[summary.winner.number] = summary.mistakes
    classes = form_of(summary.config.data).classes
    # disable=None shows no progress bar if there is no terminal.
    for number, mistakes in tqdm(mistakes_by_trial.items(), "pictures", leave=False, ncols=80, disable=None):
        trial, source = trials[number], DRAWN_AS + mistakes.key().encode()
        store.attach(trial, CONFUSION, source, partial(_confusion_png, mistakes, classes))
        if store.needs(trial, MISREAD, source) and (data := images.get()):
            split = data.test if mistakes is summary.mistakes and summary.confirmation else data.scored
            store.attach(trial, MISREAD, source, partial(misread_page, mistakes, split.images, classes))


def _confusion_png(mistakes: Confusion, classes: Sequence[str]) -> bytes:
    # The space for long names is not known beforehand, so matplotlib computes the layout.
    frame = None if has_long_names(classes) else CONFUSION_FRAME
    return png((6, 5.4), lambda axes: draw_confusion(axes, mistakes, drawable(classes)), frame)


def _attach_winner(
    store: StudyArtifacts, trials: dict[int, FrozenTrial], summary: StudySummary, location: StudyLocation
) -> None:
    """Attach the files of the winner to its trial, and remove them from all other trials."""
    if summary.winner is None:
        return
    winner_trial = trials[summary.winner.number]
    for name, path in WINNERS.items():
        for trial in trials.values():
            if trial is not winner_trial:
                store.detach(trial, name)
        file = location.folder / path
        if file.is_file() and (name == "report.html" or _is_export_of(location.folder / "winner", winner_trial)):
            content = file.read_bytes()
            store.attach(winner_trial, name, content, partial(bytes, content))


def _is_export_of(winner: Path, trial: FrozenTrial) -> bool:
    """Return whether the exported files belong to this trial."""
    try:
        card: dict[str, Any] = json.loads((winner / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(card.get("trial") == trial.number)
