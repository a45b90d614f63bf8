import pytest
from optuna_dashboard import get_note, save_note

from search.dashboard.note_writer import NoteWriter, _NotedTrial
from search.study.trials import STOPPED
from tests.search.made_up_studies import as_trial, made_up_study
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, made_up


@pytest.fixture
def study(tmp_path):
    return made_up_study(EVERY_OUTCOME, tmp_path)


def noted(study, number):
    return _NotedTrial(study._storage, study, study.trials[number]._trial_id)


def notes(study):
    return [get_note(noted(study, trial.number)) for trial in study.trials]


def versions(study):
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return {key: value for key, value in attrs.items() if key.endswith("note_ver")}


def test_every_trial_that_has_ended_gets_its_note_and_no_other(study):
    NoteWriter(CONFIG)(study)
    written = notes(study)
    assert [bool(note) for note in written] == [True] * 6 + [False] * 2 + [True] * 2
    assert written[1].startswith("**Refused")
    assert written[2].startswith("**Stopped early")


def test_it_looks_only_at_what_has_ended_since(study, monkeypatch):
    watch = NoteWriter(CONFIG)
    watch(study)
    looked_at = []
    original = watch.write
    monkeypatch.setattr(watch, "write", lambda study, ended: (looked_at.append(len(ended)), original(study, ended)))
    watch(study)
    study.add_trial(as_trial(made_up(10, outcome=STOPPED, reason="hopeless")))
    watch(study)
    watch(study)
    assert looked_at == [0, 1, 0]
    assert notes(study)[10].startswith("**Stopped early after epoch 2 of 15.** Hopeless.")


def test_another_look_writes_nothing_again_and_a_remark_only_its_own(study):
    NoteWriter(CONFIG)(study)
    before = versions(study)
    NoteWriter(CONFIG)(study)
    assert versions(study) == before
    NoteWriter(CONFIG).write(study, study.trials, {9: "**A remark.**"})
    changed = {key for key, version in versions(study).items() if version != before.get(key)}
    assert "**A remark.**" in notes(study)[9]
    assert changed >= {f"dashboard:{noted(study, 9)._trial_id}:note_ver"}
    assert f"dashboard:{noted(study, 8)._trial_id}:note_ver" not in changed


@pytest.mark.parametrize("already", [True, False])
def test_what_its_reader_wrote_is_left(study, already):
    if already:
        NoteWriter(CONFIG)(study)
    save_note(noted(study, 9), "my own words")
    NoteWriter(CONFIG).write(study, [study.trials[9]], {9: "**A remark.**"})
    NoteWriter(CONFIG).write(study, [study.trials[9]])
    assert notes(study)[9] == "my own words"


def test_an_error_is_told_once_and_what_failed_is_tried_again(study, monkeypatch, capsys):
    watch = NoteWriter(CONFIG)

    def refuse(*_):
        raise OSError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr("search.dashboard.note_writer._save", refuse)
        watch(study)
        watch(study)
    assert capsys.readouterr().err.count("database is locked") == 1
    watch(study)
    assert notes(study)[0].startswith("**Finished")
