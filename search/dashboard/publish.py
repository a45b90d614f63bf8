"""Publish to the dashboard, beyond Optuna's own pages: notes, figures, pictures and files, brought up to date."""

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

from models.blocks import LayerCost
from models.cost import compute_cost
from models.spec import ArchSpec
from search.config import SearchConfig
from search.dashboard.artifacts import StudyArtifacts
from search.dashboard.figures import figures
from search.dashboard.note_writer import NoteWriter
from search.dashboard.trial_note import fitted, network
from search.data.dataset import Dataset
from search.data.load import form_of, is_available, load_dataset
from search.engine.confusion import Confusion
from search.errors import InputError, explained
from search.report.evidence import fresh_seeds
from search.report.images import misread_page
from search.report.markdown import markdown_report
from search.report.network_figures import draw_confusion, has_long_names
from search.report.plot import png
from search.report.study_figures import draw_curves
from search.report.summary import StudySummary
from search.study.attributes import SETTINGS
from search.study.location import ARTIFACTS, StudyLocation
from search.study.trials import TRAINED, TrialRecord
from search.text import percent

# Drawn otherwise, the pictures of older studies are made again.
DRAWN_AS = b"3"
CURVE, LAYERS, CONFUSION, MISREAD = "curve.png", "layers.csv", "confusion.png", "misread.png"
CURVE_FRAME, CONFUSION_FRAME = (0.14, 0.125, 0.845, 0.85), (0.105, 0.1, 0.775, 0.88)
# Of the winner, from the study's folder.
WINNERS = {"model.py": "winner/model.py", "weights.pt": "winner/weights.pt", "report.html": "report.html"}


class _Images:
    """The study's data, read when a picture first needs it; None where it is not at hand or is other data."""

    def __init__(self, study: optuna.Study, config: SearchConfig, data: Dataset | None) -> None:
        self._checksum = study.user_attrs.get(SETTINGS, {}).get("data_checksum")
        self._config = config.data
        self._data = data
        self._is_read = data is not None

    def get(self) -> Dataset | None:
        if not self._is_read:
            self._is_read = True
            found = self._found()
            self._data = found if found and found.checksum == self._checksum else None
        return self._data

    def _found(self) -> Dataset | None:
        try:
            return load_dataset(self._config) if is_available(self._config) else None
        except InputError:  # as of a folder whose images have changed
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
    """Write what is missing or has changed; what stands is left alone. data: the study's, if it is in memory already.

    artifacts: the folder of the files that go with trials; None: the one that all studies at `location` share.

    Never raises: a report does not depend on it. What could not be done is told on stderr.
    """
    try:
        ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        NoteWriter(config).write(study, ended, _remarks(summary))
        _show_study(study, summary, records)
        store = StudyArtifacts(study, artifacts or location.out / ARTIFACTS)
        trials = {trial.number: trial for trial in ended}
        trained = [record for record in records if record.outcome in TRAINED and record.number in trials]
        for record in trained:
            _put_tables(store, trials[record.number], record, config)
        _put_winner(store, trials, summary, location)
        # Last, as it takes longest.
        _put_pictures(store, trials, summary, trained, _Images(study, config, data))
        # As where a database was copied without its artifacts, and the images are not at hand. What is missing here
        # may be on another machine of the same study.
        if not location.is_shared:
            store.detach_missing()
    except Exception as error:
        reason = explained(error) or f"{error!r:.300}"
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
        drawn = plotly.graph_objects.Figure(figure)
        if _saved(study, name) != drawn.to_json():
            save_plotly_graph_object(study, drawn, graph_object_id=name)


def _saved(study: optuna.Study, name: str) -> str:
    """Return the figure as the dashboard keeps it: in parts, which the library reads back through its server only."""
    prefix = f"dashboard:plot_data:{name}:"
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return "".join(attrs[f"{prefix}{i}"] for i in range(sum(key.startswith(prefix) for key in attrs)))


def _put_tables(store: StudyArtifacts, trial: FrozenTrial, record: TrialRecord, config: SearchConfig) -> None:
    """Attach the curve and the layers of a trained trial."""
    if record.curve:
        source = DRAWN_AS + json.dumps(record.curve).encode()
        store.attach(trial, CURVE, source, partial(_curve_png, record, config.metric))
    arch = network(record, config)
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


def _put_pictures(
    store: StudyArtifacts,
    trials: dict[int, FrozenTrial],
    summary: StudySummary,
    trained: Sequence[TrialRecord],
    images: _Images,
) -> None:
    """Attach the confusion of a finished trial, and its misread images where the data is at hand."""
    found = {record.number: Confusion.from_dict(record.mistakes) for record in trained if record.mistakes}
    # Of the winner: what the network that is handed on gets wrong, which if confirmed was scored on test.
    if summary.winner and summary.mistakes:
        found[summary.winner.number] = summary.mistakes
    classes = form_of(summary.config.data).classes
    # Silent where there is no terminal.
    for number, mistakes in tqdm(found.items(), "pictures", leave=False, ncols=80, disable=None):
        trial, source = trials[number], DRAWN_AS + mistakes.key().encode()
        store.attach(trial, CONFUSION, source, partial(_confusion_png, mistakes, classes))
        if store.needs(trial, MISREAD, source) and (data := images.get()):
            split = data.test if mistakes is summary.mistakes and summary.confirmation else data.scored
            store.attach(trial, MISREAD, source, partial(misread_page, mistakes, split.images, classes))


def _confusion_png(mistakes: Confusion, classes: Sequence[str]) -> bytes:
    # Where names are long, how much room they take is found.
    frame = None if has_long_names(classes) else CONFUSION_FRAME
    return png((6, 5.4), lambda axes: draw_confusion(axes, mistakes, classes), frame)


def _put_winner(
    store: StudyArtifacts, trials: dict[int, FrozenTrial], summary: StudySummary, location: StudyLocation
) -> None:
    """Attach the winner's files to its trial, and remove them from every other."""
    if summary.winner is None:
        return
    own = trials[summary.winner.number]
    for name, path in WINNERS.items():
        for trial in trials.values():
            if trial is not own:
                store.detach(trial, name)
        file = location.folder / path
        if file.is_file() and (name == "report.html" or _is_of(location.folder / "winner", own)):
            content = file.read_bytes()
            store.attach(own, name, content, partial(bytes, content))


def _is_of(winner: Path, trial: FrozenTrial) -> bool:
    """Return whether the exported files are those of this trial."""
    try:
        card: dict[str, Any] = json.loads((winner / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(card.get("trial") == trial.number)
