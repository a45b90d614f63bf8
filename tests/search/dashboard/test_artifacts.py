import json

import pytest
from optuna_dashboard.artifact._backend import list_trial_artifacts

from search.dashboard.artifacts import StudyArtifacts
from tests.search.made_up_studies import made_up_study
from tests.search.made_up_trials import EVERY_OUTCOME


@pytest.fixture
def study(tmp_path):
    return made_up_study(EVERY_OUTCOME, tmp_path)


def shown(study, number, folder):
    """Name and content of what the dashboard lists of a trial."""
    trial = study.trials[number]
    attrs = study._storage.get_study_system_attrs(study._study_id)
    listed = list_trial_artifacts(attrs, {}, trial)
    return {one["filename"]: (folder / one["artifact_id"]).read_bytes() for one in listed}


def attach(study, folder, number=0, name="a.png", source=b"1", content=b"one"):
    made = []
    StudyArtifacts(study, folder).attach(study.trials[number], name, source, lambda: made.append(name) or content)
    return len(made)


def test_a_file_is_made_once_for_what_it_is_made_of(study, tmp_path):
    folder = tmp_path / "artifacts"
    assert [attach(study, folder), attach(study, folder, content=b"other")] == [1, 0]
    assert shown(study, 0, folder) == {"a.png": b"one"}
    assert len(list(folder.iterdir())) == 1


def test_made_of_something_else_it_takes_the_place_of_the_earlier(study, tmp_path):
    folder = tmp_path / "artifacts"
    assert [attach(study, folder), attach(study, folder, source=b"2", content=b"two")] == [1, 1]
    assert shown(study, 0, folder) == {"a.png": b"two"}
    assert len(list(folder.iterdir())) == 1
    assert attach(study, folder) == 1, "back again"
    assert shown(study, 0, folder) == {"a.png": b"one"}


def test_other_trials_and_names_are_other_files(study, tmp_path):
    folder = tmp_path / "artifacts"
    assert [attach(study, folder), attach(study, folder, number=8), attach(study, folder, name="b.csv")] == [1, 1, 1]
    assert set(shown(study, 0, folder)) == {"a.png", "b.csv"}
    assert set(shown(study, 8, folder)) == {"a.png"}
    StudyArtifacts(study, folder).detach(study.trials[0], "a.png")
    StudyArtifacts(study, folder).detach(study.trials[9], "a.png")
    assert set(shown(study, 0, folder)) == {"b.csv"}
    assert set(shown(study, 8, folder)) == {"a.png"}


def test_a_file_that_was_lost_is_made_again(study, tmp_path):
    folder = tmp_path / "artifacts"
    attach(study, folder)
    next(folder.iterdir()).unlink()
    assert attach(study, folder) == 1
    assert shown(study, 0, folder) == {"a.png": b"one"}


def test_a_file_that_cannot_be_made_is_not_noted(study, tmp_path):
    def fail():
        raise ValueError("no picture")

    with pytest.raises(ValueError, match="no picture"):
        StudyArtifacts(study, tmp_path / "artifacts").attach(study.trials[0], "a.png", b"1", fail)
    assert shown(study, 0, tmp_path / "artifacts") == {}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.png", "image/png"), ("a.csv", "text/csv"), ("a.html", "text/html"), ("a.pt", "application/octet-stream")],
)
def test_a_browser_is_told_what_it_is(study, tmp_path, name, kind):
    attach(study, tmp_path / "artifacts", name=name)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    (facts,) = [json.loads(value) for key, value in attrs.items() if key.startswith("dashboard:artifacts:")]
    assert (facts["filename"], facts["mimetype"]) == (name, kind)
