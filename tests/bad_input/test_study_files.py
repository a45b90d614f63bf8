"""Studies whose weights or other files are damaged."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from models.build import build_model
from models.spec import ArchSpec, Head
from search.data.load import load_dataset
from search.study.attributes import SETTINGS
from space import SPACE_KEY
from tests.bad_input.digits_study import CARD, DIGITS, EXPORT, SEARCH, WEIGHTS, arch_of, close, make_study
from tests.bad_input.refusals import RUN, Refuses, short
from tests.search.made_up_studies import made_up_study


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return DIGITS.settings() | {"data_checksum": load_dataset(DIGITS.data).checksum, "space": SPACE_KEY}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Path:
    """A folder with the study `mine` and the weights of one trial."""
    folder = tmp_path_factory.mktemp("original")
    make_study(folder, settings)
    return folder


@pytest.fixture
def folder(original: Path, refuses: Refuses) -> Path:
    """A copy, in which commands are given."""
    shutil.copytree(original, refuses.folder, dirs_exist_ok=True)
    return refuses.folder


# --- weights --------------------------------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it makes the file `marker`."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch marker",)


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def state(number: int = 8) -> dict[str, torch.Tensor]:
    return build_model(arch_of(number)).state_dict()


def other_network() -> dict[str, torch.Tensor]:
    return build_model(ArchSpec((1, 28, 28), 10, (), Head("gap_linear"))).state_dict()


def as_float64() -> dict[str, torch.Tensor]:
    return {name: tensor.double() for name, tensor in state().items()}


def sparse() -> dict[str, torch.Tensor]:
    return {name: tensor.to_sparse() if tensor.dim() else tensor for name, tensor in state().items()}


AGAIN = "`search.py rerun mine --trial 8` trains it again"
DAMAGED = f"is damaged or not a weights file; {AGAIN}"
OTHER = f"holds something other than the weights of this trial's network; {AGAIN}"
WEIGHTS_FILES: dict[str, tuple[Callable[[], bytes | None], str]] = {
    "a folder": (lambda: None, f"cannot read the weights file {WEIGHTS}: Is a directory; {AGAIN}"),
    "empty": (lambda: b"", DAMAGED),
    "text": (lambda: b"weights", DAMAGED),
    "cut off": (lambda: saved(state())[:-100], DAMAGED),
    "its beginning": (lambda: saved(state())[:100], DAMAGED),
    "gzip": (lambda: gzip.compress(saved(state())), DAMAGED),
    "a pickle bomb": (lambda: pickle.dumps(Bomb()), DAMAGED),
    "a pickle bomb of the first protocol": (lambda: pickle.dumps(Bomb(), protocol=0), DAMAGED),
    "a bomb in torch's form": (lambda: saved(Bomb()), DAMAGED),
    "a bomb in torch's old form": (lambda: saved(Bomb(), _use_new_zipfile_serialization=False), DAMAGED),
    "a bomb among the weights": (lambda: saved(state() | {"stage1.0.weight": Bomb()}), DAMAGED),
    "a whole module": (lambda: saved(build_model(arch_of(8))), DAMAGED),
    "a list": (lambda: saved([1, 2]), OTHER),
    "nothing": (lambda: saved({}), OTHER),
    "numbers": (lambda: saved(dict.fromkeys(state(), 1.0)), OTHER),
    "another network's": (lambda: saved(other_network()), OTHER),
    "too few": (lambda: saved(dict(list(state().items())[1:])), OTHER),
    "of 64 bits": (lambda: saved(as_float64()), OTHER),
    "sparse": (lambda: saved(sparse()), DAMAGED),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WEIGHTS_FILES)
def test_weights_that_are_none(folder: Path, refuses: Refuses, kind: str) -> None:
    make, words = WEIGHTS_FILES[kind]
    (folder / WEIGHTS).unlink()
    content = make()
    if content is None:
        (folder / WEIGHTS).mkdir()
    else:
        (folder / WEIGHTS).write_bytes(content)
    refuses(EXPORT, WEIGHTS, words)
    assert not (folder / "marker").exists()


def test_that_bomb_would_have_gone_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "marker").exists()


# --- other files of a study -----------------------------------------------------------------------------------------

GOOD_CARD = {"trial": 8, "seed": 1008, "accuracy": {"file_on_test": 0.99}, "formats": {}}
AWAY = "move studies/mine/winner away and export again"
REPORT = ["report", "mine"]
# What is written where, and what is said of it.
STUDY_FILES: list[tuple[str, str | bytes | None, list[str], str]] = [
    (CARD, "", REPORT, f"{CARD} is damaged (JSONDecodeError Expecting value: line 1 column 1 (char 0)); {AWAY}"),
    (CARD, json.dumps(GOOD_CARD)[:-9], REPORT, "card.json is damaged"),
    (CARD, b"\xff\xfe", REPORT, "is damaged (UnicodeDecodeError"),
    (CARD, "[" * 100_000, REPORT, "is damaged (RecursionError"),
    (CARD, None, REPORT, f"cannot read {CARD}: Is a directory; {AWAY}"),
    (CARD, "null", REPORT, AWAY),
    (CARD, "[]", REPORT, AWAY),
    (CARD, "{}", REPORT, f"is damaged (KeyError 'trial'); {AWAY}"),
    (CARD, json.dumps(GOOD_CARD | {"trial": "8"}), REPORT, "is damaged (TypeError '8' where something else is wanted)"),
    (CARD, json.dumps(GOOD_CARD | {"accuracy": 0.99}), REPORT, AWAY),
    (CARD, json.dumps(GOOD_CARD | {"accuracy": {"file_on_test": None}}), REPORT, AWAY),
    (CARD, json.dumps(GOOD_CARD | {"formats": "onnx"}), REPORT, AWAY),
    (CARD, json.dumps(GOOD_CARD | {"mistakes": {"confusion": [[1], [2]], "misread": []}}), REPORT, "a square table"),
    (CARD, json.dumps(GOOD_CARD | {"mistakes": {"confusion": [[-1]], "misread": []}}), REPORT, "of at least 0"),
    (CARD, json.dumps(GOOD_CARD | {"mistakes": {"wrong": 3}}), REPORT, "unknown key 'wrong' in Confusion"),
    (CARD, "{", ["export", "mine", "--trial", "0"], f"{CARD} is damaged"),
    (CARD, "{", SEARCH, f"{CARD} is damaged"),
    (CARD, "{}", ["baselines", "--dataset", "digits", "--recipe-of", "mine"], "holds no recipe: 'study'; name another"),
    (CARD, "3", ["baselines", "--dataset", "digits", "--recipe-of", "mine"], "holds no recipe: "),
    ("studies/mine/config.json", "", SEARCH, "config.json is damaged, it has no list of runs; move it away, the study"),
    ("studies/mine/config.json", "[]", SEARCH, "config.json is damaged"),
    ("studies/mine/config.json", '{"runs": {}}', SEARCH, "config.json is damaged"),
    ("studies/mine/config.json", b"\xff", SEARCH, "config.json is damaged"),
    ("studies/mine/config.json", None, SEARCH, "cannot read studies/mine/config.json: Is a directory; move it away"),
    ("new", "precious", EXPORT, "new exists and is not an exported model; name another folder with --out"),
    ("new", "precious", [*EXPORT, "--force"], "new exists and is not an exported model"),
    ("new/precious", "precious", [*EXPORT, "--force"], "new exists and is not an exported model"),
    ("new/card.json", "{}", EXPORT, "new exists; replace it with --force, or name another folder with --out"),
    ("file", "precious", [*EXPORT[:-1], "file/below"], "cannot write"),
    ("studies/new", "precious", [*RUN, "--study", "new"], "cannot write to studies/new: File exists; choose another"),
    ("file", "precious", [*RUN, "--out", "file"], "cannot write to file/digits-8000: Not a directory; choose another"),
    (
        "studies/mine/report.html",
        None,
        REPORT,
        "cannot write studies/mine/report.html: Is a directory; free some space, or",
    ),
]


@pytest.mark.parametrize(("name", "content", "arguments", "words"), STUDY_FILES, ids=short)
def test_files_of_a_study_that_are_wrong(
    folder: Path, refuses: Refuses, name: str, content: str | bytes | None, arguments: list[str], words: str
) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    refuses(arguments, words)


def test_a_folder_that_is_a_link_to_itself(folder: Path, refuses: Refuses) -> None:
    (folder / "new").symlink_to("new")
    refuses(EXPORT, "new", "; name another folder with --out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_search_in_folders_without_the_right_to_write(folder: Path, refuses: Refuses) -> None:
    for path in (folder, folder / "studies", folder / "studies" / "mine"):
        path.chmod(0o555)
    try:
        refuses(SEARCH, "attempt to write a readonly database (studies/studies.db); ", "check its permissions")
    finally:
        for path in (folder, folder / "studies", folder / "studies" / "mine"):
            path.chmod(0o755)


def test_settings_that_are_no_json(refuses: Refuses, settings: dict[str, Any]) -> None:
    study = made_up_study([], refuses.folder / "studies", "mine", settings)
    close(study)
    with closing(sqlite3.connect(refuses.folder / "studies" / "studies.db")) as database, database:
        database.execute("UPDATE study_user_attributes SET value_json = '{' WHERE key = ?", (SETTINGS,))
    refuses(REPORT, "the storage holds invalid JSON")
