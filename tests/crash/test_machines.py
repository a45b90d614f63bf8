"""One study on several machines: folders of their own, workers of their own, and a PostgreSQL server between them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.kills import children
from search.cli import main
from search.config import InputError
from search.data import load_dataset
from search.storage import open_storage
from search.study import n_trained
from search.trials import outcome_of
from tests.crash.searches import finish, open_now, pid_of, running, started, until
from tests.crash.server import PASSWORD, postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


def by_machine(study: optuna.Study, mains: dict[str, int]) -> dict[str, list[optuna.trial.FrozenTrial]]:
    """The trials in training, by the main process whose workers train them."""
    training = running(study)
    workers = {name: {pid, *children(pid)} for name, pid in mains.items()}
    return {name: [trial for trial in training if pid_of(trial) in pids] for name, pids in workers.items()}


def kill_a_worker_of_each(study: optuna.Study, mains: dict[str, int]) -> None:
    """While all machines train."""

    def trainers() -> list[int] | None:
        found = by_machine(study, mains)
        return [pid_of(trials[0]) for trials in found.values()] if all(found.values()) else None

    for victim in until(trainers, "the machines did not train at the same time"):
        os.kill(victim, signal.SIGKILL)


def check_whole(study: optuna.Study, asked: int, n_workers: int) -> None:
    """What holds of a study whatever was done to it."""
    trials = study.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert asked <= n_trained(trials) <= asked + n_workers - 1
    places = Counter(trial.user_attrs["index"] for trial in trials if outcome_of(trial))
    assert set(places.values()) == {1}
    retried = Counter(trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs)
    lost = [trial.number for trial in trials if trial.state == TrialState.FAIL and not outcome_of(trial)]
    assert sorted(retried.elements()) == lost
    for trial in trials:
        if "retry_of" in trial.user_attrs and outcome_of(trial):
            first = trials[trial.user_attrs["retry_of"]]
            for name in ("index", "seed"):
                assert trial.user_attrs[name] == first.user_attrs[name]
            # One whose proposal was not complete is proposed anew, perhaps from what has become known meanwhile.
            assert trial.params == first.params or len(first.params) < len(trial.params)
    assert not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def test_two_of_four_workers_on_two_machines_are_killed_while_training(
    server: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    asked = 6
    arguments = (*digits, "--study", "four", "--storage", server, "--trials", asked, "--jobs", 2, "--epochs", 8)
    with started(tmp_path / "a", *arguments) as a, started(tmp_path / "b", *arguments) as b:
        study = open_now(server, "four")
        kill_a_worker_of_each(study, {"a": a.pid, "b": b.pid})
        said = finish(a) + finish(b)
    assert PASSWORD not in said
    check_whole(study, asked, 4)
    # Though both had made the study, and queued what comes first.
    starts = Counter(
        str({"start", "baseline"} & trial.user_attrs.keys() and trial.params)
        for trial in study.trials
        if "retry_of" not in trial.user_attrs
    )
    assert [n for point, n in starts.items() if point != "set()" and n > 1] == []
    assert len([trial for trial in study.trials if "retry_of" in trial.user_attrs]) == 2
    # Every machine has a report of the whole study; the winner's files one of them.
    folders = [tmp_path / name / "studies" / "four" for name in "ab"]
    tables = {(folder / "trials.csv").read_text() for folder in folders}
    assert len(tables) == 1
    winners = [(folder / "winner" / "card.json").is_file() for folder in folders]
    assert sorted(winners) == [False, True]
    assert len(re.findall("no winner/ here: the weights of trial", said)) == 1
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


def check_burials(arguments: tuple[str, ...], folder: Path, name: str, server: str, *urls: str) -> None:
    """One machine of two dies, and a worker of the other is taken for dead. urls: those that the two were given."""
    asked, grace = 5, 10
    url_of_a, url_of_b = urls
    common = (*arguments, "--study", name, "--trials", asked, "--epochs", 8, "--grace", grace)
    with (
        started(folder / "a", *common, "--storage", url_of_a, "--jobs", 2) as a,
        started(folder / "b", *common, "--storage", url_of_b, "--jobs", 1) as b,
    ):
        study = open_now(server, name)
        mains = {"a": a.pid, "b": b.pid}
        lost = until(lambda: by_machine(study, mains)["b"], "b did not train")[0]
        b.kill()
        slow = until(lambda: by_machine(study, mains)["a"], "a did not train")[0]
        os.kill(pid_of(slow), signal.SIGSTOP)
        until(lambda: study.get_trials(deepcopy=False)[slow.number].state == TrialState.FAIL, "it was not given up")
        os.kill(pid_of(slow), signal.SIGCONT)
        finish(a)
    check_whole(study, asked, 3)
    retried = {trial.user_attrs["retry_of"] for trial in study.trials if "retry_of" in trial.user_attrs}
    assert {lost.number, slow.number} <= retried


def test_a_machine_that_dies_and_a_worker_that_was_only_slow(
    server: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    check_burials(digits, tmp_path, "grace", server, server, server)


def joined(arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a machine that joins a study, and trains nothing."""
    for what, instead in (("_search", None), ("conclude", 0)):
        monkeypatch.setattr(f"search.run.{what}", lambda *_args, instead=instead, **_options: instead)
    return main(list(map(str, arguments)))


def test_a_machine_that_differs_is_refused_with_the_difference(
    server: str,
    tmp_path: Path,
    digits: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    one = (*digits, "--study", "other", "--storage", server, "--trials", 1, "--jobs", 1, "--epochs", 1)
    assert joined(one, monkeypatch) == 0
    assert joined(one, monkeypatch) == 0
    capsys.readouterr()

    def refused(*change: object) -> str:
        assert joined((*one, *change), monkeypatch) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "budget 1000 there, 2000 now" in refused("--budget", 2000)
    assert "epochs 1 there, 2 now" in refused("--epochs", 2)
    other = lambda config: replace(load_dataset(config), checksum="of other images")  # noqa: E731
    monkeypatch.setattr("search.run.load_dataset", other)
    assert "data_checksum" in refused()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("space.SPACE_KEY", "another")
    assert "now; choose another" in refused()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("search.code_version.version_of", lambda _name: "1.2.3")
    assert "made with other code (numpy " in refused()
    assert joined((*one, "--changed-code"), monkeypatch) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "numpy 1.2.3 there" in refused()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((PASSWORD, "wrong-one"), "password authentication failed"),
        (("127.0.0.1:", "127.0.0.1:1"), "cannot open the postgresql storage"),
        (("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
        ((PASSWORD, "wr@ng"), "write those of a password as %40"),
    ],
    ids=str,
)
def test_a_server_that_cannot_be_used_is_one_line_without_the_password(server: str, change, words) -> None:
    url = server.replace(*change) if change[0] != "/postgres" else server.removesuffix("/postgres") + "/nowhere"
    with pytest.raises(InputError) as caught:
        open_storage(url)
    said = str(caught.value)
    assert words in said
    assert "\n" not in said
    assert not any(secret in said for secret in (PASSWORD, "wrong-one", "wr@ng"))


def test_the_password_may_come_from_where_postgresql_looks_for_it(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_storage(server.replace(f":{PASSWORD}", ""))


def test_two_machines_that_share_a_folder_confirm_together(
    server: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    arguments = (*digits, "--study", "both", "--storage", server, "--trials", 2, "--jobs", 1, "--epochs", 1)
    arguments = (*arguments, "--confirm", "2:2")
    with started(tmp_path, *arguments) as a, started(tmp_path, *arguments) as b:
        said = finish(a) + finish(b)
    assert "no winner/ here" not in said
    check_whole(open_now(server, "both"), 2, 2)
    repeats = open_now(server, "both-repeats").get_trials()
    identities = [
        (repeat["purpose"], repeat["trial"], repeat["seed"])
        for trial in repeats
        if (repeat := trial.user_attrs.get("repeat")) and outcome_of(trial)
    ]
    assert len(set(identities)) == len(identities) >= 2 * 2 + 2
    folder = tmp_path / "studies" / "both"
    card = json.loads((folder / "winner" / "card.json").read_text())
    assert card["confirmation"]["accuracy"]["n"] == 2
    assert len(json.loads((folder / "config.json").read_text())["runs"]) == 2
