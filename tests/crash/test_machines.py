"""Test one study on several machines, each with its own folder and workers, through a PostgreSQL server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from search.cli.main import main
from search.errors import InputError
from search.storage.open import open_storage
from search.study.trials import outcome_of
from tests.crash.searches import check_study, started, wait_for_study, wait_for_success
from tests.crash.server import PASSWORD, postgresql

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


def join_study(arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit status of a machine that joins a study without training."""
    for name, result in (("_search", None), ("conclude", 0)):
        monkeypatch.setattr(f"search.cli.job.{name}", lambda *_args, result=result, **_options: result)
    return main(list(map(str, arguments)))


def test_a_machine_that_differs_is_refused_with_the_difference(
    server: str,
    tmp_path: Path,
    digits: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = (*digits, "--study", "other", "--storage", server, "--trials", 1, "--jobs", 1, "--epochs", 1)
    assert join_study(arguments, monkeypatch) == 0
    assert join_study(arguments, monkeypatch) == 0
    capsys.readouterr()

    def refusal(*change: object) -> str:
        assert join_study((*arguments, *change), monkeypatch) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        return message

    assert "budget 1000 there, 2000 now" in refusal("--budget", 2000)
    assert "epochs 1 there, 2 now" in refusal("--epochs", 2)
    other_folder = shutil.copytree(digits[1].removeprefix("folder:"), tmp_path / "digits")
    Image.new("L", (28, 28), 9).save(next(other_folder.glob("train/7/*.png")))
    assert "data_checksum" in refusal("--dataset", f"folder:{other_folder}")
    monkeypatch.setattr("search.cli.job.space_key", lambda _config: "another")
    assert "now; choose another" in refusal()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("search.study.results_version.version_of", lambda _name: "1.2.3")
    assert "made with other versions (torch " in refusal()
    assert join_study((*arguments, "--changed-code"), monkeypatch) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "numpy 1.2.3 there" in refusal()


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
    with pytest.raises(InputError) as raised:
        open_storage(url)
    message = str(raised.value)
    assert words in message
    assert "\n" not in message
    assert not any(secret in message for secret in (PASSWORD, "wrong-one", "wr@ng"))


def test_the_password_may_come_from_the_environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_storage(server.replace(f":{PASSWORD}", ""))


def test_two_machines_that_share_a_folder_confirm_together(
    server: str, tmp_path: Path, digits: tuple[str, ...]
) -> None:
    arguments = (*digits, "--study", "both", "--storage", server, "--trials", 2, "--jobs", 1, "--epochs", 1)
    arguments = (*arguments, "--confirm", "2:2")
    with started(tmp_path, *arguments) as a, started(tmp_path, *arguments) as b:
        errors = wait_for_success(a) + wait_for_success(b)
    assert "the winner is not exported" not in errors
    check_study(wait_for_study(server, "both"), 2, 2)
    repeats = wait_for_study(server, "both-repeats").get_trials()
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
