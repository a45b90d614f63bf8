"""Studies that are not what a command needs: of other settings, or of another version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.data.load import load_dataset
from search.storage.open import open_storage
from space import SPACE_KEY
from tests.bad_input.digits_study import DIGITS, SEARCH, close, make_study
from tests.bad_input.refusals import RUN, Refuses, short
from tests.search.made_up_studies import made_up_study
from tests.search.made_up_trials import made_up

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
    make_study(folder.parent, settings)
    made_up_study([], folder, "empty", settings)
    made_up_study([made_up(0, 0.9)], folder, "mine-repeats", settings)
    made_up_study([made_up(0, 0.9)], folder, "other-images", settings | {"data_checksum": "0123456789abcdef"})
    made_up_study([], folder, "hand-made", {"kind": "baselines", "dataset": "digits"})
    made_up_study([], folder, "later", settings | {"sampler": "psychic"})
    made_up_study([], folder, "later-space", settings | {"dimensions": {"stem.width": "8"}})
    made_up_study([], folder, "no-dimension", settings | {"dimensions": {"stages": "two"}})
    made_up_study([], folder, "listed", [1, 2])
    made_up_study([], folder, "one-side", settings | {"image_size": 28})
    made_up_study([], folder, "no-sides", settings | {"image_size": "axb"})
    close(made_up_study([], folder, "no-budget", {"dataset": "digits"}))
    storage = open_storage(f"sqlite:///{folder}/studies.db")
    foreign = optuna.create_study(study_name="foreign", storage=storage, direction="minimize")
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    close(optuna.create_study(study_name="smaller-is-better", storage=storage, direction="minimize"))
    for number, (facts, _) in enumerate(FACTS):
        another = made_up_study([], folder, f"version-{number}", settings)
        another.add_trial(optuna.trial.create_trial(value=0.9, user_attrs={"outcome": "finished"} | facts))
        close(another)
    return folder.parent


OTHERS: list[tuple[list[str], str]] = [
    (["report", "one-side"], "image_size must be written like 28x28, got 28; use the version that"),
    (["report", "no-sides"], "image_size must be written like 28x28, got 'axb'; use the version that"),
    (
        [*SEARCH, "--seed", "1"],
        "study 'mine' was made with other settings: seed 0 there, 1 now; choose another --study",
    ),
    ([*SEARCH, "--score", "best"], "score last there, best now"),
    ([*SEARCH, "--sampler", "random"], "sampler tpe there, random now"),
    ([*SEARCH, "--pruner", "none"], "pruner median there, none now"),
    ([*SEARCH, "--epochs", "2"], "epochs 1 there, 2 now"),
    ([*SEARCH, "--budget", "5k"], "budget 8000 there, 5000 now"),
    ([*SEARCH, "--max-macs", "500k"], "max_macs not set there, 500000 now"),
    ([*SEARCH, "--max-latency", "3"], "max_latency not set there, 3.0 now"),
    ([*SEARCH, "--select-on", "val"], "select_on test there, val now"),
    ([*RUN, "--study", "other-images"], "data_checksum 0123456789abcdef there, "),
    ([*RUN, "--study", "later"], "sampler psychic there, tpe now"),
    ([*RUN, "--study", "later-space"], "dimensions.stem.width 8 there, not set now"),
    ([*RUN, "--study", "hand-made"], "study 'hand-made' was made with other settings: "),
    ([*RUN, "--study", "listed"], "study 'listed' was not made by this program; choose another --study name"),
    ([*RUN, "--study", "foreign"], "study 'foreign' was not made by this program; choose another --study name"),
    ([*RUN, "--study", "smaller-is-better"], "was not made by this program"),
    ([*RUN, "--study", "mine-repeats"], "is reserved for the repeats of a study; choose a --study without '-repeats'"),
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
    (["report", "Mine"], "there is no study 'Mine' here; the nearest is 'mine'; there are: empty"),
    (["report", "mine-repeats"], "'mine-repeats' holds what was trained again; name its study, 'mine'"),
    (["report", "foreign"], "study 'foreign' was not made by this program; name another"),
    (["report", "listed"], "study 'listed' was not made by this program"),
    (["report", "later"], "study 'later' has settings that this version does not know: sampler must be one of tpe"),
    (["report", "later-space"], "unknown dimension 'stem.width'; it was written by another version"),
    (["report", "no-dimension"], "no value of a dimension: 'stages = two'"),
    (["report", "no-budget"], "SearchConfig needs the key 'max_params'; use the version that its config.json names"),
    (["report", "hand-made"], "study 'hand-made' has no training yet; continue with python search.py baselines"),
    (["report", "studies"], "there is no study 'studies' here; there are: "),
    (["export", "foreign"], "study 'foreign' was not made by this program"),
    (["export", "empty"], "this study has no finished trial yet; search on with more --trials"),
    (["export", "mine", "--trial", "1"], "trial 1 is not a finished one; those are 8, 9, 0"),
    (["export", "mine", "--trial", "999"], "trial 999 is not a finished one; those are 8, 9, 0"),
    (["export", "mine", "--trial", "-1"], "trial -1 is not a finished one"),
    (["export", "mine", "--trial", str(10**30)], "is not a finished one"),
    (["export", "mine", "--trial", "4"], "trial 4 is not a finished one"),
    (["export", "mine", "--trial", "0"], "; `search.py rerun mine --trial 0` trains it again"),
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
