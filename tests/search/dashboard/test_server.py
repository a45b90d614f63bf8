import contextlib
import socket

import optuna_dashboard
import pytest
from optuna_dashboard import get_note

from search.dashboard.server import dashboard
from search.errors import InputError
from search.storage.open import open_storage
from search.study.location import StudyLocation
from search.study.study import load_study
from tests.search.made_up_studies import made_up_study
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, made_up


@pytest.fixture
def served(monkeypatch):
    """What would be served, without serving it."""
    calls = []
    monkeypatch.setattr("search.dashboard.server.check_address", lambda *_: None)
    monkeypatch.setattr(optuna_dashboard, "run_server", lambda storage, **options: calls.append((storage, options)))
    return calls


def note(location, name):
    return get_note(load_study(open_storage(f"sqlite:///{location.out}/studies.db"), name))


@pytest.mark.parametrize(
    ("host", "warned", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8080/"),
        ("127.8.0.1", False, "http://127.8.0.1:8080/"),
        ("localhost", False, "http://localhost:8080/"),
        ("::1", False, "http://[::1]:8080/"),
        ("0.0.0.0", True, "http://0.0.0.0:8080/"),
        ("::", True, "http://[::]:8080/"),
        ("192.168.1.5", True, "http://192.168.1.5:8080/"),
        ("localhost.example", True, "http://localhost.example:8080/"),
    ],
)
def test_beyond_loopback_there_is_a_warning(tmp_path, capsys, served, host, warned, url):
    made_up_study([], tmp_path)
    assert dashboard(StudyLocation(tmp_path), host, 8080, "data") == 0
    err = capsys.readouterr().err
    assert ("no login" in err, "delete" in err) == (warned, warned)
    assert url in err
    ((_, options),) = served
    assert (options["host"], options["port"]) == (host, 8080)


@pytest.mark.usefixtures("served")
def test_the_studies_of_the_storage_are_brought_up_to_date_and_no_others(tmp_path, capsys):
    made_up_study(EVERY_OUTCOME, tmp_path, "one")
    made_up_study(EVERY_OUTCOME, tmp_path, "two")
    made_up_study([made_up(0, 0.99)], tmp_path, "one-repeats")
    made_up_study([], tmp_path, "baselines", {"kind": "baselines"})
    made_up_study([], tmp_path, "somebody's", {})
    made_up_study([made_up(0, 0.99)], tmp_path, "broken", CONFIG.settings() | {"sampler": "magic"})
    location = StudyLocation(tmp_path)
    dashboard(location, "127.0.0.1", 8080, "data")
    shown = {
        name: bool(note(location, name)) for name in ("one", "two", "one-repeats", "baselines", "somebody's", "broken")
    }
    assert shown == {name: name in ("one", "two") for name in shown}
    err = capsys.readouterr().err
    assert "study broken is shown as it is" in err
    assert err.count("\n") == 2
    assert (tmp_path / "artifacts").is_dir()


@pytest.mark.usefixtures("served")
def test_a_named_study_is_the_only_one_brought_up_to_date(tmp_path):
    made_up_study(EVERY_OUTCOME, tmp_path, "one")
    made_up_study(EVERY_OUTCOME, tmp_path, "two")
    location = StudyLocation(tmp_path, "one")
    dashboard(location, "127.0.0.1", 8080, "data")
    assert [bool(note(location, name)) for name in ("one", "two")] == [True, False]


def test_a_study_with_a_database_of_its_own_is_shown_as_a_copy_unless_that_is_named(tmp_path, capsys, served):
    made_up_study(EVERY_OUTCOME, tmp_path, "one")._storage._backend.engine.dispose()
    own = tmp_path / "one" / "study.db"
    own.parent.mkdir()
    (tmp_path / "studies.db").rename(own)
    before = own.read_bytes()
    url = f"sqlite:///{own}"
    dashboard(StudyLocation(tmp_path, "one"), "127.0.0.1", 8080, "data")
    assert f"shown is a copy of {own}: notes made here are not kept; to keep them, add --storage {url}\n" in (
        capsys.readouterr().err
    )
    assert own.read_bytes() == before
    assert not (tmp_path / "artifacts").exists()
    ((storage, _),) = served
    assert storage.url != url
    dashboard(StudyLocation(tmp_path, "one", url), "127.0.0.1", 8080, "data")
    assert "a copy" not in capsys.readouterr().err
    assert get_note(load_study(open_storage(url), "one"))


def test_a_study_that_is_not_there(tmp_path, served):
    made_up_study([], tmp_path, "one")
    with pytest.raises(InputError, match="there is no study 'nowhere' here; there are: one"):
        dashboard(StudyLocation(tmp_path, "nowhere"), "127.0.0.1", 8080, "data")
    assert served == []


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path):
    made_up_study([], tmp_path)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"):
            dashboard(StudyLocation(tmp_path), "127.0.0.1", port, "data")
