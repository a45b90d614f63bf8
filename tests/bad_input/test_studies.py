"""Studies that are not what a command needs: of other settings, of another version, or with damaged files."""

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from models.build import build_model
from models.spec import ArchSpec, Head
from search.config import DataConfig
from search.data import load_dataset
from search.storage import open_storage
from search.study import SETTINGS
from space import SPACE_KEY
from tests.bad_input.refusals import RUN, Refuses, short
from tests.search.made_up_studies import made_up_study
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, made_up

DIGITS = replace(CONFIG, data=DataConfig("digits", "data"), epochs=1)
WEIGHTS, CARD = "studies/mine/weights/trial-00008.pt", "studies/mine/winner/card.json"
SEARCH = [*RUN, "--study", "mine"]
EXPORT = ["export", "mine", "--trial", "8", "--out", "new"]


def close(study: optuna.Study) -> None:
    """Writes what is still in the write-ahead log, so that the file can be copied."""
    study._storage._backend.engine.dispose()


USE = "which is to be used with it"
# Of a trial, what another version might have kept.
FACTS: list[tuple[dict[str, Any], str]] = [
    ({"arch": {"layers": []}}, "unknown key 'layers' in ArchSpec"),
    ({"arch": [1]}, "ArchSpec must be a mapping"),
    ({"recipe": {"optimizer": "lion"}}, "optimizer must be one of sgd, adam, adamw, soap, got 'lion'"),
    ({"recipe": {"learning_rate": 0.1}}, "unknown key 'learning_rate' in RecipeConfig"),
    ({"n_params": "many"}, "its n_params is 'many'"),
    ({"curve": 3}, "its curve is 3"),
    ({"curve": [3]}, "its curve has 3"),
    ({"curve": [{"epoch": 1}]}, "its curve has {'epoch': 1}"),
    ({"seconds": "long"}, "its seconds is 'long'"),
    ({"outcome": ["finished"]}, "its outcome is ['finished']"),
    ({"mistakes": []}, "its mistakes is []"),
]


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return DIGITS.settings() | {"data_checksum": load_dataset(DIGITS.data).checksum, "space": SPACE_KEY}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Path:
    """A folder with the study `mine`, the weights of one trial, and others that cannot be used for this or that."""
    folder = tmp_path_factory.mktemp("original") / "studies"
    study = made_up_study(EVERY_OUTCOME, folder, "mine", settings)
    made_up_study([], folder, "empty", settings)
    made_up_study([made_up(0, 0.9)], folder, "mine-repeats", settings)
    made_up_study([made_up(0, 0.9)], folder, "other-images", settings | {"data_checksum": "0123456789abcdef"})
    made_up_study([], folder, "hand-made", {"kind": "baselines", "dataset": "digits"})
    made_up_study([], folder, "later", settings | {"sampler": "psychic"})
    made_up_study([], folder, "later-space", settings | {"dimensions": {"stem.width": "8"}})
    made_up_study([], folder, "no-dimension", settings | {"dimensions": {"stages": "two"}})
    made_up_study([], folder, "listed", [1, 2])
    close(made_up_study([], folder, "no-budget", {"dataset": "digits"}))
    storage = open_storage(f"sqlite:///{folder}/studies.db")
    foreign = optuna.create_study(study_name="foreign", storage=storage, direction="minimize")
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    close(optuna.create_study(study_name="smaller-is-better", storage=storage, direction="minimize"))
    close(study)
    for number, (facts, _) in enumerate(FACTS):
        another = made_up_study([], folder, f"version-{number}", settings)
        another.add_trial(optuna.trial.create_trial(value=0.9, user_attrs={"outcome": "finished"} | facts))
        close(another)
    (folder / "mine" / "weights").mkdir(parents=True)
    torch.save(build_model(arch_of(8)).state_dict(), folder.parent / WEIGHTS)
    return folder.parent


def arch_of(number: int) -> ArchSpec:
    found = next(record for record in EVERY_OUTCOME if record.number == number).arch
    assert found is not None
    return found


@pytest.fixture
def folder(original: Path, refuses: Refuses) -> Path:
    """A copy, in which commands are given."""
    shutil.copytree(original, refuses.folder, dirs_exist_ok=True)
    return refuses.folder


# --- other settings, other studies ----------------------------------------------------------------------------------

OTHERS: list[tuple[list[str], str]] = [
    (
        [*SEARCH, "--seed", "1"],
        "study 'mine' was made with other settings: seed 0 there, 1 now; choose another --study",
    ),
    ([*SEARCH, "--score", "best"], "score last there, best now"),
    ([*SEARCH, "--sampler", "random"], "sampler tpe there, random now"),
    ([*SEARCH, "--pruner", "none"], "pruner median there, none now"),
    ([*SEARCH, "--epochs", "2"], "epochs 1 there, 2 now"),
    ([*SEARCH, "--budget", "5k"], "budget 8000 there, 5000 now"),
    ([*SEARCH, "--max-macs", "500k"], "max_macs None there, 500000 now"),
    ([*SEARCH, "--max-latency", "3"], "max_latency None there, 3.0 now"),
    ([*SEARCH, "--select-on", "val"], "select_on test there, val now"),
    ([*RUN, "--study", "other-images"], "data_checksum 0123456789abcdef there, "),
    ([*RUN, "--study", "later"], "sampler psychic there, tpe now"),
    ([*RUN, "--study", "later-space"], "dimensions.stem.width 8 there, None now"),
    ([*RUN, "--study", "hand-made"], "study 'hand-made' was made with other settings: "),
    ([*RUN, "--study", "listed"], "study 'listed' was not made by this program; choose another --study name"),
    ([*RUN, "--study", "foreign"], "study 'foreign' was not made by this program; choose another --study name"),
    ([*RUN, "--study", "smaller-is-better"], "was not made by this program"),
    ([*RUN, "--study", "mine-repeats"], "would be the repeats of another; choose a --study without '-repeats'"),
    (["baselines", "--dataset", "digits", "--study", "mine"], "study 'mine' was made with other settings: "),
    (["baselines", "--dataset", "digits", "--study", "foreign"], "was not made by this program"),
    (
        [*RUN, "--study", "new", "--warm", "other-images"],
        "study 'other-images' cannot start 'new': its data_checksum is",
    ),
    ([*RUN, "--study", "new", "--warm", "foreign"], "'foreign' was not made by this program; name another --warm"),
    ([*RUN, "--study", "new", "--warm", "nowhere"], "there is no study 'nowhere' here; there are: empty, foreign"),
    ([*RUN, "--study", "new", "--warm", "mine", "--epochs", "2"], "its epochs is 1, here 2; name another --warm"),
    ([*RUN, "--study", "new", "--warm", "mine-repeats"], "holds what was trained again; name its study, 'mine'"),
    (["report", "Mine"], "there is no study 'Mine' here; there are: empty"),
    (["report", "mine-repeats"], "'mine-repeats' holds what was trained again; name its study, 'mine'"),
    (["report", "foreign"], "study 'foreign' was not made by this program; name another"),
    (["report", "listed"], "study 'listed' was not made by this program"),
    (["report", "later"], "study 'later' has settings that this version does not know: sampler must be one of tpe"),
    (["report", "later-space"], "unknown dimension 'stem.width'; it was written by another version"),
    (["report", "no-dimension"], "no value of a dimension: 'stages = two'"),
    (["report", "no-budget"], "SearchConfig needs the key 'max_params'; use the version that its config.json names"),
    (["report", "hand-made"], "study 'hand-made' has no training yet; go on with python search.py baselines"),
    (["report", "studies"], "there is no study 'studies' here; there are: "),
    (["export", "foreign"], "study 'foreign' was not made by this program"),
    (["export", "empty"], "this study has no finished trial yet; search on with more --trials"),
    (["export", "mine", "--trial", "1"], "trial 1 is not a finished one; those are 8, 9, 0"),
    (["export", "mine", "--trial", "999"], "trial 999 is not a finished one; those are 8, 9, 0"),
    (["export", "mine", "--trial", "-1"], "trial -1 is not a finished one"),
    (["export", "mine", "--trial", str(10**30)], "is not a finished one"),
    (["export", "mine", "--trial", "4"], "trial 4 is not a finished one"),
    (["export", "mine", "--trial", "0"], "trial-00000.pt: No such file or directory; train the trial again"),
    (["export", "mine", "--network", "s000_net"], "has no finished training of 's000_net'; name another"),
    (["export", "mine", "--network", "'; DROP TABLE trials"], 'no finished training of "\'; DROP TABLE trials"'),
    (["export", "mine", "--budget", "5"], "no finished trial of study mine has at most 5 parameters; raise --budget"),
    (["export", "nowhere", "--budget", "5k"], "there is no study 'nowhere' here; there are: "),
    (["export", "hand-made", "--network", "s004_net3"], "name one that was trained with --network (none yet)"),
    (["null", "mine", "--trial", "2"], "trial 2 is not a finished one; those are 8, 9, 0"),
    (["null", "empty"], "this study has no finished trial yet; search on with more --trials"),
    (["null", "other-images"], "was made with other images: those of digits had the checksum 01234567, here "),
    (["null", "hand-made"], "study 'hand-made' is of 'baselines', not of a search; name another"),
    (["confirm", "other-images"], "was made with other images"),
    (["confirm", "hand-made"], "study 'hand-made' is of 'baselines', not of a search; name another"),
    (["confirm", "nowhere"], "there is no study 'nowhere' here; there are: "),
    (["dashboard", "nowhere", "--port", "9"], "there is no study 'nowhere' here; there are: "),
    (["dashboard", "mine-repeats", "--port", "9"], "name its study, 'mine'"),
    (["dashboard", "mine", "--host", "no such host"], "cannot listen on no such host, port 8080: "),
    (["dashboard", "mine", "--host", "x" * 100], "; choose another --host or --port"),
    (["dashboard", "mine", "--host", "203.0.113.1"], "cannot listen on 203.0.113.1, port 8080: "),
]


OTHERS += [
    (["report", f"version-{number}"], f"trial 0 was written by another version of this program, {USE}: {words}")
    for number, (_, words) in enumerate(FACTS)
]


@pytest.mark.parametrize(("arguments", "words"), OTHERS, ids=short)
def test_studies_that_are_others(
    original: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    # In the one folder for all rows: nothing may change there.
    monkeypatch.chdir(original)
    replace(refuses, folder=original)(arguments, words)


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


DAMAGED = "is damaged or not a weights file; train the trial again"
OTHER = "holds something other than the weights of this trial's network; train it again"
WEIGHTS_FILES: dict[str, tuple[Callable[[], bytes | None], str]] = {
    "a folder": (lambda: None, f"cannot read the weights file {WEIGHTS}: Is a directory; train the trial again"),
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
    (CARD, json.dumps(GOOD_CARD | {"mistakes": {"wrong": 3}}), REPORT, "unknown key 'wrong' in Mistakes"),
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
        "cannot write studies/mine/report.html: Is a directory; make room there or",
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
@pytest.mark.parametrize("arguments", [SEARCH, EXPORT, REPORT], ids=short)
def test_folders_without_the_right_to_write(folder: Path, refuses: Refuses, arguments: list[str]) -> None:
    for path in (folder, folder / "studies", folder / "studies" / "mine"):
        path.chmod(0o555)
    try:
        # Even to be read the database needs files beside it.
        refuses(arguments, "attempt to write a readonly database (studies/studies.db); ", "see to its rights")
    finally:
        for path in (folder, folder / "studies", folder / "studies" / "mine"):
            path.chmod(0o755)


def test_settings_that_are_no_json(refuses: Refuses, settings: dict[str, Any]) -> None:
    study = made_up_study([], refuses.folder / "studies", "mine", settings)
    close(study)
    with closing(sqlite3.connect(refuses.folder / "studies" / "studies.db")) as database, database:
        database.execute("UPDATE study_user_attributes SET value_json = '{' WHERE key = ?", (SETTINGS,))
    refuses(REPORT, "the storage holds something that is no JSON")
