"""What is private to Optuna and optuna-dashboard is still what this project takes it for."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import optuna
import plotly.graph_objects
from optuna.storages import RDBStorage
from optuna_dashboard import get_note, save_note, save_plotly_graph_object
from optuna_dashboard.artifact._backend import list_trial_artifacts

from search.storage.optuna_internals import (
    READING_METHODS,
    EndedTrial,
    artifact_key,
    backend_of,
    fixed_params,
    saved_figure,
    storage_of,
    study_id_of,
    trial_id_of,
)


def study_in(folder: Path) -> optuna.Study:
    """Return a study in a database, as a study sees it, with another study before it."""
    url = f"sqlite:///{folder}/studies.db"
    optuna.create_study(storage=url, study_name="first").ask()
    return optuna.create_study(storage=url, study_name="second")


def test_identifiers_and_storages(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    trial = study.ask()
    storage = storage_of(study)
    assert storage.get_study_name_from_id(study_id_of(study)) == "second"
    assert storage.get_trial(trial_id_of(trial)).number == trial.number == 0
    assert trial_id_of(study.trials[0]) == trial_id_of(trial) != trial.number
    assert isinstance(backend_of(storage), RDBStorage)
    assert backend_of(backend_of(storage)) is backend_of(storage)


def test_values_that_a_trial_was_queued_with(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.enqueue_trial({"x": 0.5})
    study.enqueue_trial({})
    study.ask()
    assert fixed_params(study.trials[0]) == {"x": 0.5}
    assert fixed_params(study.trials[1]) == {}
    study.ask()
    study.ask()
    assert fixed_params(study.trials[2]) is None


def test_methods_that_read_are_methods_of_the_storage() -> None:
    assert all(inspect.isfunction(getattr(RDBStorage, name)) for name in READING_METHODS)


def test_a_note_of_a_trial_that_has_ended(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.tell(study.ask(), 1.0)
    trial = EndedTrial(storage_of(study), study, trial_id_of(study.trials[0]))
    save_note(trial, "seen")
    assert get_note(trial) == "seen"


def test_a_figure_is_read_as_the_dashboard_saves_it(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    assert saved_figure(study, "many") == ""
    figure = plotly.graph_objects.Figure(plotly.graph_objects.Scatter(y=list(range(5000))))
    save_plotly_graph_object(study, figure, graph_object_id="many")
    assert saved_figure(study, "many") == figure.to_json()


def test_the_dashboard_lists_artifacts_under_their_keys(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.tell(study.ask(), 1.0)
    trial = study.trials[0]
    facts = {"artifact_id": "a1", "filename": "a.png", "mimetype": "image/png", "encoding": None}
    storage = storage_of(study)
    storage.set_study_system_attr(study_id_of(study), artifact_key(trial, "a1"), json.dumps(facts))
    listed = list_trial_artifacts(storage.get_study_system_attrs(study_id_of(study)), {}, trial)
    assert [artifact["artifact_id"] for artifact in listed] == ["a1"]
