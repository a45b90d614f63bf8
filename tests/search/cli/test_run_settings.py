"""The main job with other settings: its limits, starting points, space, kernels and held-out images."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

from models.cost import compute_cost
from search.config import DataConfig, SearchConfig
from search.data.load import DATASETS, load_dataset
from search.engine.native import kernels
from search.sampling.starting_points import fitting_starting_points
from search.storage.open import open_storage
from search.study.study import open_study
from space import DEFAULTS, assemble
from tests.search.digits_runs import DIGITS, decided, trials


@pytest.mark.parametrize(
    ("limits", "separable", "deep", "shared"),
    [
        ({"max_params": 7928}, 7452, 7928, 7895),
        ({"max_params": 7927}, 7452, 5888, 7895),
        ({"max_params": 7451}, 5574, 5888, 5739),
        ({"max_params": 1000}, 985, 979, 954),
        ({"max_params": 984}, None, 979, 954),
        ({"max_params": 978}, None, None, 954),
        ({"max_params": 953}, None, None, None),
        ({"max_params": 8000, "max_macs": 300_000}, 1953, 979, None),
        ({"max_params": 8000, "max_memory": 1}, None, None, None),
    ],
    ids=str,
)
def test_of_each_starting_point_the_largest_within_every_limit_is_queued(limits, separable, deep, shared):
    config = SearchConfig(DataConfig("digits", "unused"), **limits, share_weights=True)
    found = fitting_starting_points(config, load_dataset(config.data))
    sizes = {name: compute_cost(assemble(params).arch).n_params for name, params in found.items()}
    expected = {"separable-sgd": separable, "separable-adamw": separable, "deep-sgd": deep, "shared-soap": shared}
    assert sizes == {name: size for name, size in expected.items() if size}


@pytest.mark.slow
def test_a_study_started_from_a_smaller_one_has_starting_points_of_its_own_size(tmp_path, inside):
    one = ("--trials", 1, "--jobs", 1, *DIGITS)
    assert inside(tmp_path, "--budget", 1000, *one)[0] == 0
    status, out, err = inside(tmp_path, "--budget", 8000, *one, "--warm", "digits-1000")
    assert (status, err) == (0, "")
    assert "adopted  1 finished trial of other studies\n" in out
    queued = [trial for trial in trials(tmp_path, "digits-8000") if "start" in trial.user_attrs]
    sizes = [compute_cost(assemble(trial.system_attrs["fixed_params"]).arch).n_params for trial in queued]
    assert sizes == [7452, 7452, 7928]


def test_a_study_of_another_data_set_is_refused(tmp_path, inside):
    (tmp_path / "studies").mkdir()
    settings = SearchConfig(DataConfig("mnist", "unused"), max_params=8000, epochs=1).settings()
    open_study(open_storage(f"sqlite:///{tmp_path}/studies/studies.db"), "mine", settings)
    status, _, err = inside(tmp_path, "--budget", 8000, *DIGITS, "--study", "mine")
    assert (status, err.count("\n")) == (2, 1)
    assert "dataset mnist there, digits now" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            ("--budget", 50),
            "fits the budget of 50 parameters: the nearest network found has 99 parameters, 49 over the",
        ),
        # Each can be met, but a field of 40 pixels takes more than two of the smallest convolutions.
        (("--budget", 110, "--min-rf", 40), "at least 40 pixels of receptive field before the head: the nearest"),
    ],
    ids=str,
)
def test_limits_that_nothing_fits_are_one_line_and_leave_nothing(tmp_path, inside, limits, words):
    status, out, err = inside(tmp_path, *limits, "--trials", 5, "--jobs", 1, *DIGITS)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_hardly_anything_fits_is_searched_at_once(tmp_path, inside):
    status, out, err = inside(tmp_path, "--budget", 300, "--trials", 2, "--jobs", 1, *DIGITS)
    assert (status, err) == (0, "")
    assert "of 2,000 random points fit the budget of 300 parameters" in out
    assert "feasible / proposed: 2 / 2 (100.0 %)" in out


@pytest.mark.slow
def test_a_changed_space_and_a_network_from_a_file(tmp_path, inside):
    (tmp_path / "my.toml").write_text("stages = 2\nstages.1.width = 3\nstages.1.depth = 1")
    network = assemble(DEFAULTS | {f"stages.{i}.{name}": 1 for i in (1, 2) for name in ("width.1", "depth")}).arch
    (tmp_path / "mine.json").write_text(json.dumps(network.to_dict()))
    arguments = ("--budget", 300, "--trials", 2, "--jobs", 1, *DIGITS, "--baseline", "mine.json")
    status, out, err = inside(tmp_path, *arguments, "--space", "my.toml")
    assert (status, err) == (0, "")
    assert "61 dimensions; 8 changed by --space; " in out
    study = tmp_path / "studies" / "digits-300"
    table = pd.read_csv(study / "trials.csv")
    assert list(table.baseline.fillna("-")) == ["mine", "-"]
    assert table.loc[1, ["stages", "stages.1.width.1", "stages.1.depth"]].tolist() == [2, 3, 1]
    assert table["stages.1.width.6"].isna().all()
    assert table.n_params.max() <= 300
    assert "--space studies/digits-300/space.toml " in (study / "report.md").read_text()
    assert "mine" in out[out.index("Hand-designed networks") :]
    status, out, err = inside(tmp_path, "report", "digits-300")
    assert (status, err) == (0, "")
    # The space is a setting; the file that the study keeps is the same space.
    status, _, err = inside(tmp_path, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "dimensions.stages.1.depth 1 there, not set now" in err
    status, _, err = inside(tmp_path, *arguments, "--space", study / "space.toml")
    assert (status, err) == (0, "")


@pytest.mark.slow
def test_a_random_search_that_meets_nothing_that_fits_ends_with_a_feasibility_report(tmp_path, inside, monkeypatch):
    monkeypatch.setattr("search.study.loop.MAX_REFUSED_IN_A_ROW", 50)
    arguments = ("--budget", 110, "--trials", 5, "--jobs", 1, "--sampler", "random", "--study", "digits-50")
    status, _, err = inside(tmp_path, *arguments, *DIGITS)
    assert status == 2
    for words in (
        "No proposal fits the budget of 110 parameters",
        "share of the space",
        "smallest network",
        "cost most",
    ):
        assert words in err
    assert not (tmp_path / "studies" / "digits-50" / "weights").exists()


def test_kernels_that_are_asked_for_and_missing_end_in_one_line(tmp_path, inside, monkeypatch):
    monkeypatch.setattr(kernels, "_load_or_problem", lambda: (None, "no C++ compiler found"))
    status, out, err = inside(tmp_path, "--budget", 8000, "--trials", 1, "--engine", "native", *DIGITS)
    assert (status, out) == (2, "")
    assert (
        err == "search.py: the native engine cannot run here: no C++ compiler found; --engine torch needs no kernels\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_selected_on_validation_images_the_test_set_is_read_once_for_the_winner(tmp_path, inside):
    arguments = ("--budget", 8000, "--trials", 2, "--jobs", 1, *DIGITS, "--select-on", "val")
    status, out, err = inside(tmp_path, *arguments)
    assert (status, err) == (0, "")
    assert "validation" in out
    card = json.loads((tmp_path / "studies" / "digits-8000" / "winner" / "card.json").read_text())
    assert (card["accuracy"]["select_on"], card["accuracy"]["scored_on"]) == ("val", "val")
    assert card["data"]["n_images"]["val"] > 0
    assert card["confirmation"] is None


@pytest.mark.slow
def test_a_confirmed_winner_is_trained_again_on_all_images(tmp_path, inside):
    arguments = ("--budget", 8000, "--trials", 2, "--jobs", 1, *DIGITS, "--select-on", "val")
    # The last --confirm counts.
    status, out, err = inside(tmp_path, *arguments, "--confirm", "2:2")
    assert (status, err) == (0, "")
    assert "confirm  2 trials, 2 fresh seeds each\n" in out
    study = tmp_path / "studies" / "digits-8000"
    card = json.loads((study / "winner" / "card.json").read_text())
    confirmed = card["confirmation"]
    assert (card["accuracy"]["select_on"], card["accuracy"]["scored_on"]) == ("val", "test")
    assert "val" not in card["data"]["n_images"]
    assert {contender["trial"] for contender in confirmed["contenders"]} == {0, 1}
    assert confirmed["accuracy"]["n"] == 2
    # The file is the lower of the two trainings that are reported.
    assert card["accuracy"]["file_on_test"] == card["accuracy"]["recorded"] == confirmed["accuracy"]["minimum"]
    for text in (out, (study / "report.md").read_text()):
        assert f"{100 * confirmed['accuracy']['mean']:.2f} %, mean of 2 fresh seeds" in text
    # Two rounds: two trials twice, then the winner and the other hand-designed network, if it was that, twice.
    assert len(trials(tmp_path, "digits-8000-repeats")) in (6, 8)
    before = decided(tmp_path, "digits-8000-repeats")
    status, again, _ = inside(tmp_path, *arguments, "--confirm", "2:2")
    assert (status, decided(tmp_path, "digits-8000-repeats")) == (0, before)
    assert again[again.index("Winner") :] == out[out.index("Winner") :]


def test_where_writers_have_become_known_other_images_are_held_out_and_the_study_is_refused(
    tmp_path, inside, monkeypatch
):
    arguments = ("--budget", 8000, "--trials", 1, "--jobs", 1, *DIGITS, "--select-on", "val")
    status, out, _ = inside(tmp_path, *arguments)
    assert (status, "held-out training images (stratified)\n" in out) == (0, True)
    before = decided(tmp_path, "digits-8000")
    known = replace(DATASETS["digits"], writers=lambda _root, labels: torch.arange(len(labels)) // 10)
    monkeypatch.setitem(DATASETS, "digits", known)
    status, _, err = inside(tmp_path, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "held_out stratified there, stratified and writer-disjoint now; choose another --study name" in err
    assert decided(tmp_path, "digits-8000") == before
